# %% [markdown]
# # GConvNets: neurons that are tensors
#
# In a ConvNet each channel holds one number per pixel. In a GConvNet each channel holds a tensor per pixel,
# and each neuron is a tensor. This tutorial computes a generalized convolution in NumPy, compares it with an
# ordinary convolution, counts its parameters, trains a small network, and loads it on another backend.
#
# Paper: *A generalized convolutional neural network for small dataset classification*, section 3.
# The images are scikit-learn's handwritten digits, so nothing is downloaded. To use your own images, set
# `DATASET` to a folder with one sub-folder per class.

# %%
# On Colab, remove the first "# " of the next line.
# %pip install "keras_structnets[jax,train]"
import importlib.util
import os
import pathlib
import subprocess
import sys
import tempfile

import keras_structnets as ksn  # before Keras: it selects a backend that is installed
import keras
import matplotlib.pyplot as plt
import numpy as np

DATASET, EPOCHS, BATCH = "digits", 5, 32
NET = {"structure": (3, 3), "channels": 2, "skips": (2,)}  # small: seconds on a laptop

data = ksn.training.load(DATASET)
print(data)

# %% [markdown]
# ## The idea
#
# A neuron holds one tensor $W_i$ for each kernel position and input channel. It multiplies $W_i$ with the
# tensor $U_i$ of the input there, and sums over some of their axes, as a matrix product does. These axes are
# contracted; the others are kept. The results of all positions and channels are added (eq. 3 and 4):
#
# $$ V_i = U_i \otimes W_i, \qquad V = \sum_i V_i, \qquad
# V_{abef} = \sum_i \sum_{cd} U_{i,abcd}\, W_{i,dcef} $$
#
# The last axis of U is contracted with the first axis of W, the last but one with the second, and so on. In
# the drawing a circle is a tensor and a line is one of its axes. Axes between two circles are contracted.
# Axes at the left are kept from the input, and axes at the right are new ones of the neuron. The sizes of the
# first example are the paper's.


# %%
def draw(axes, kept, contracted, made, title):
    """The tensors U and W of one kernel position: lines are axes, with their sizes."""

    def line(start, end, label, color):
        axes.plot(*zip(start, end, strict=True), color=color, linewidth=3, zorder=1)
        middle = np.mean([start, end], axis=0)
        axes.text(*middle, label, ha="center", va="center", bbox={"fc": "white", "ec": color})

    def spread(labels):
        return zip(labels, np.linspace(0.5, -0.5, len(labels)) * (len(labels) > 1), strict=True)

    for label, y in spread(kept):
        line((0, y * 0.3), (-1.6, y * 1.4), label, "C0")
    for label, y in spread(contracted):
        line((0, y), (2.4, y), label, "C1")
    for label, y in spread(made):
        line((2.4, y * 0.3), (4, y * 1.4), label, "C2")
    for x, name in ((0, "U"), (2.4, "W")):
        axes.add_patch(plt.matplotlib.patches.Ellipse((x, 0), 0.8, 1.5, fc="0.9", ec="k", zorder=2))
        axes.text(x, 0, name, ha="center", va="center", fontsize=16)
    axes.set(title=title, xlim=(-2.2, 4.6), ylim=(-1.1, 1.1))
    axes.axis("off")


figure, (left, right) = plt.subplots(1, 2, figsize=(11, 3), layout="constrained")
draw(left, ["a: 1", "b: 2"], ["c: 3", "d: 4"], ["e: 7", "f: 8"], "Some axes: the paper's example")
draw(right, [], ["c: 9", "d: 9"], ["e: 9", "f: 9"], "All axes: a layer of g_conv_net")
figure.legend(
    [plt.Line2D([], [], color=f"C{i}", linewidth=3) for i in range(3)],
    ["kept, shares the weights", "contracted, summed over", "new, of the neuron"],
    loc="outside lower center",
    ncols=3,
)
plt.show()

# %% [markdown]
# ## In NumPy, and by the library
#
# The image has 3x3 pixels and one channel, whose tensors have the shape of the first example. The kernel has
# 3x3 positions too, so it fits in one place and the output is one tensor.

# %%
to_numpy, rng = keras.ops.convert_to_numpy, np.random.default_rng(0)
u = rng.normal(size=(1, 3, 3, 1, 1, 2, 3, 4)).astype("float32")  # [b, h, w, m, a, b, c, d]
w = rng.normal(size=(3, 3, 1, 4, 3, 1, 7, 8)).astype("float32")  # [k, k, m, d, c, channels, e, f]

by_hand = np.zeros((1, 2, 7, 8))
for row in range(3):
    for column in range(3):
        tensor, neuron = u[0, row, column, 0], w[row, column, 0, :, :, 0]
        by_hand += np.einsum("abcd,dcef->abef", tensor, neuron)

by_library = to_numpy(ksn.ops.generalized_conv(u, w, contract=2))
print("shape", by_library.shape, "is [batch, height, width, channels, a, b, e, f]")
hand_difference = np.abs(by_library[0, 0, 0, 0] - by_hand).max()
print(f"NumPy and the library differ by {hand_difference:.1e} at most")

# %% [markdown]
# ## Structure 1 is an ordinary convolution
#
# If every tensor is a single number, the layer is Keras' `Conv2D`. If all axes are contracted, it is a
# `Conv2D` with as many channels as the tensors have elements; only the order of its weights differs.

# %%
images = rng.normal(size=(2, 8, 8, 5)).astype("float32")
ordinary = keras.layers.Conv2D(6, 3)
expected = to_numpy(ordinary(images))
scalar = ksn.layers.GConv2D(6, (1,), 3)
scalar.build((2, 8, 8, 5, 1))  # one more axis, of size 1
scalar.set_weights([ordinary.kernel.numpy()[..., None, :, None], ordinary.bias.numpy()[:, None]])
scalar_difference = np.abs(to_numpy(scalar(images[..., None]))[..., 0] - expected).max()
print(f"GConv2D with structure 1 and Conv2D differ by {scalar_difference:.1e} at most")

structured = rng.normal(size=(2, 8, 8, 1, 3, 4))  # one channel of structure (3, 4)
structured = structured.astype("float32")
full = ksn.layers.GConv2D(1, (5, 2), 3, use_bias=False)
found = to_numpy(full(structured)).reshape(2, 6, 6, 10)
kernel = np.moveaxis(full.kernel.numpy(), 3, 4)  # [k, k, m, d, c, ...] to the order of the input
flat = keras.layers.Conv2D(10, 3, use_bias=False)
flat.build((2, 8, 8, 12))
flat.set_weights([kernel.reshape(3, 3, 12, 10)])
full_difference = np.abs(found - to_numpy(flat(structured.reshape(2, 8, 8, 12)))).max()
print(f"a full contraction and Conv2D differ by {full_difference:.1e} at most")

# %% [markdown]
# ## Kept axes share the weights
#
# With `contract=1` only the last axis is contracted, and the axis before it is kept. The layer applies the
# same convolution to each slice along the kept axis, as it does to each image of a batch. The size of the
# kernel does not depend on the kept axis.

# %%
shared = ksn.layers.GConv2D(1, (5,), 3, contract=1, use_bias=False)
together = to_numpy(shared(structured))  # [2, 6, 6, 1, 3, 5]
one_by_one = [to_numpy(shared(structured[..., i : i + 1, :]))[..., 0, :] for i in range(3)]
kept_difference = np.abs(together - np.stack(one_by_one, axis=-2)).max()
print("kernel", tuple(shared.kernel.shape), "for slices of shape", structured.shape[-1:])
print(f"all slices at once and one by one differ by {kept_difference:.1e} at most")

# %% [markdown]
# ## Counting parameters
#
# A 9x9 tensor holds as many numbers per pixel as 81 channels. A layer that contracts both axes has exactly
# the weights of an ordinary convolution of 81 channels. `g_conv_net` contracts all axes: it is small because
# 81 channels are few, and not because its neurons need fewer weights. Each kept axis divides the number of
# weights by the square of its size, but its slices are no longer combined.


# %%
def kernel_size(layer, shape):
    """Number of weights of a layer with 81 numbers per pixel in its input and in its output."""
    layer.build((None, 8, 8, *shape))
    assert np.prod(layer.compute_output_shape((1, 8, 8, *shape))) == 8 * 8 * 81
    return int(np.prod(layer.kernel.shape))


same = {"padding": "same", "use_bias": False, "kernel_initializer": "zeros"}
weights = {
    "Conv2D": kernel_size(keras.layers.Conv2D(81, 3, **same), (81,)),
    "contract 2 of 2 axes": kernel_size(
        ksn.layers.GConv2D(1, (9, 9), 3, contract=2, **same), (1, 9, 9)
    ),
    "contract 1 of 2 axes": kernel_size(
        ksn.layers.GConv2D(1, (9,), 3, contract=1, **same), (1, 9, 9)
    ),
    "contract no axis": kernel_size(ksn.layers.GConv2D(1, (), 3, contract=0, **same), (1, 9, 9)),
}
figure, axes = plt.subplots(figsize=(7, 2.4), layout="constrained")
axes.bar_label(axes.barh(list(weights), list(weights.values())), fmt="{:,.0f}", padding=3)
axes.invert_yaxis()
axes.set(xscale="log", xlim=(1, 1e6), xlabel="weights of a 3x3 layer, 81 numbers per pixel")
plt.show()

# %% [markdown]
# ## The layer in a model
#
# `Structure` turns channels into tensors, and `Destructure` turns tensors back into channels.


# %%
def small(contract):
    """A network whose generalized convolution contracts two axes, or one."""
    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [
            keras.Input(data.x_train.shape[1:]),
            keras.layers.Rescaling(1 / 127.5, -1),
            keras.layers.Conv2D(16, 3, activation="relu"),
            ksn.layers.Structure((4, 4)),  # [b, h, w, 1, 4, 4]
            ksn.layers.GConv2D(2, (4, 4)[-contract:], 3, contract=contract, activation="relu"),
            ksn.layers.Destructure(),  # [b, h, w, 2 * 4 * 4]
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(len(data.class_names), activation="softmax"),
        ]
    )


candidates = {contract: small(contract) for contract in (2, 1)}
candidates[2].summary()

# %% [markdown]
# ## A small version of the paper's network
#
# `g_conv_net` has four blocks of generalized convolutions with skip connections. Batch normalization and
# PReLU follow each convolution. Two kinds of blocks are drawn below: the sizes are for a network of 9x9
# tensors.
#
# ![the blocks of GConvNets](../docs/pictures/gconv_blocks.png)
#
# The sizes of the network are arguments of `build`, which returns an ordinary Keras model.

# %%
keras.utils.set_random_seed(0)
model = ksn.zoo.build(
    "g_conv_net", input_shape=data.x_train.shape[1:], num_classes=len(data.class_names), **NET
)


def fit(model, **options):
    """Train on the data of this tutorial, and return the validation accuracy of each epoch."""
    model.compile(
        keras.optimizers.Adam(3e-3), "sparse_categorical_crossentropy", metrics=["accuracy"]
    )
    validation = (data.x_val, data.y_val)
    history = model.fit(
        data.x_train, data.y_train, BATCH, EPOCHS, validation_data=validation, **options
    )
    return history.history["val_accuracy"]


accuracy = fit(model)
figure, axes = plt.subplots(figsize=(5, 3), layout="constrained")
axes.plot(range(1, EPOCHS + 1), accuracy, marker=".")
axes.set(xlabel="epoch", ylabel="validation accuracy", ylim=(None, 1))
axes.set(title=f"g_conv_net with {model.count_params():,} parameters")
axes.xaxis.get_major_locator().set_params(integer=True)
plt.show()

# %% [markdown]
# ## Results of the paper and of the records
#
# On CIFAR-10 the paper reports an accuracy of 88.4% with augmentation and 78.4% without, with 1.43M
# parameters (Table 2). The package has trained weights: `ksn.zoo.build("g_conv_net", weights="cifar10")`
# loads them. The last row is the small network above. It was trained on other images, so it cannot be
# compared with the others.

# %%
info = ksn.zoo.info("g_conv_net")
print(f"{'':26}{'parameters':>12}{'epochs':>8}{'accuracy':>10}")
print(f"{'paper, CIFAR-10':26}{info.printed[10]:>12}{71:>8}{info.printed_accuracy['cifar10']:>9}%")
for name, record in info.records.items():
    for run in record.runs:
        label = f"record, {name}"
        print(f"{label:26}{info.parameters:>12,}{run['epochs']:>8}{run['accuracy']:>10.1%}")
print(f"{'this run, ' + DATASET:26}{model.count_params():>12,}{EPOCHS:>8}{accuracy[-1]:>10.1%}")

# %% [markdown]
# ## Save the model, and load it on another backend
#
# A `.keras` file does not depend on the backend. Import `keras_structnets` before you load it, since the
# import registers the layers. Here a second Python process loads the model on another backend, if one is
# installed. With `compile=False` Keras does not load the optimizer, which predictions do not need.

# %%
READ = """
import sys, keras_structnets, keras, numpy as np
model = keras.saving.load_model("model.keras", compile=False)
np.save("there.npy", model.predict(np.load("images.npy"), verbose=0))
"""
installed = [name for name in ("torch", "jax", "tensorflow") if importlib.util.find_spec(name)]
others = [name for name in installed if name != keras.backend.backend()]
there_difference = 0.0
if others:
    with tempfile.TemporaryDirectory() as folder:
        model.save(pathlib.Path(folder, "model.keras"))
        np.save(pathlib.Path(folder, "images.npy"), data.x_val[:50])
        environment = os.environ | {"KERAS_BACKEND": others[0]}
        subprocess.run([sys.executable, "-c", READ], cwd=folder, env=environment, check=True)
        there = np.load(pathlib.Path(folder, "there.npy"))
    there_difference = np.abs(model.predict(data.x_val[:50], verbose=0) - there).max()
    print(f"{keras.backend.backend()} and {others[0]} differ by {there_difference:.1e} at most")
else:
    print("no other backend is installed: this step is skipped")

# %% [markdown]
# ## Exercise
#
# How much accuracy do shared weights cost? Compare the small model above with the one that contracts only one
# axis. The answer depends on the images and on the structure.

# %%
for contract, candidate in candidates.items():
    result = fit(candidate, verbose=0)[-1]
    print(f"contract={contract}: {candidate.count_params():,} parameters, {result:.1%}")

# %% [markdown]
# ## Checks of this tutorial's claims

# %%
assert hand_difference < 1e-4
assert max(scalar_difference, full_difference, kept_difference) < 1e-5
assert weights["contract 2 of 2 axes"] == weights["Conv2D"]
assert weights["contract 1 of 2 axes"] * 9**2 == weights["Conv2D"]
assert weights["contract no axis"] * 9**4 == weights["Conv2D"]
assert (info.printed[10], info.printed_accuracy["cifar10"]) == ("1.43M", 88.4)
assert f"{info.parameters / 1e6:.2f}M" == info.printed[10]
assert there_difference < 1e-4
if DATASET == "digits":
    assert accuracy[-1] > 0.8
print("all claims hold on", keras.backend.backend())
