# %% [markdown]
# # Low-cost parameterizations: networks as reaction-diffusion equations
#
# A step of a residual network, $y + F(y)$, is a time step of a differential equation. This tutorial takes an
# equation whose steps need few weights, computes the steps with matrices, shows their receptive fields and
# when they are stable, and trains a small network of such steps.
#
# Paper: *Low-cost parameterizations of deep convolutional neural networks*, sections 3 and 4, whose equation
# numbers we use. The images are scikit-learn's handwritten digits, so nothing is downloaded. To use your own
# images, set `DATASET` to a folder with one sub-folder per class.

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

DATASET, EPOCHS, BATCH, WIDTHS, N_STEPS = "digits", 6, 64, (8, 16), 2
TO_NUMPY = keras.ops.convert_to_numpy

keras.utils.set_random_seed(0)
data = ksn.training.load(DATASET)
print(data)

# %% [markdown]
# ## The idea
#
# A convolution that couples all channels has one stencil for each pair of an input and an output channel.
# Most weights of a network are in such convolutions. The paper replaces them by two operators with few
# weights: $K$ couples the pixels of each channel by one stencil, and $M$ couples the channels within each
# pixel. Their sum is the first proposal:
#
# $$ K_\mathrm{lm} = K + M \tag{7} $$
#
# The other proposals are time steps of a reaction-diffusion equation, where $N$ is batch normalization:
#
# $$ \partial_t y = -K^\top K\,y + \mathrm{relu}(N(M y)) \tag{8} $$
#
# The explicit step of size $h$ evaluates the right side at $y_j$. The implicit step evaluates the diffusion
# at $y_{j+1}$:
#
# $$ y_{j+1} = y_j + h\,\bigl(-K^\top K\,y_j + \mathrm{relu}(N(M y_j))\bigr) \tag{9} $$
#
# $$ y_{j+1} = (I + h K^\top K)^{-1}\,\bigl(y_j + h\,\mathrm{relu}(N(M y_j))\bigr) \tag{11} $$
#
# Last, a circulant $K$ couples all channels, and still has only one stencil per channel:
#
# $$ K_\mathrm{circ} = \begin{pmatrix}
# C_1 & C_2 & C_3 \\ C_3 & C_1 & C_2 \\ C_2 & C_3 & C_1
# \end{pmatrix} \tag{12} $$

# %% [markdown]
# ## With matrices, on 3x3 pixels
#
# An image of 3x3 pixels and 3 channels is a vector of 27 numbers, and each operator is a matrix. The boundary
# is periodic. The library gives the same result without these matrices.

# %%
SIDE, H = 3, 0.5
rng = np.random.default_rng(0)
image = rng.normal(size=(1, SIDE, SIDE, 3)).astype("float32")
stencils = rng.normal(size=(3, 3, 3)).astype("float32")  # the last axis is the channel
mixing = rng.normal(size=(3, 3)).astype("float32")  # from input to output channels


def periodic_matrix(stencil):
    """C of one channel: output pixel (i, j) reads pixel (i + a - 1, j + b - 1)."""
    matrix = np.zeros((SIDE, SIDE, SIDE, SIDE))
    for i, j, a, b in np.ndindex(SIDE, SIDE, 3, 3):
        matrix[i, j, (i + a - 1) % SIDE, (j + b - 1) % SIDE] += stencil[a, b]
    return matrix.reshape(SIDE**2, SIDE**2)


C = [periodic_matrix(stencils[..., c]) for c in range(3)]
zero, identity = np.zeros_like(C[0]), np.eye(3 * SIDE**2)
K = np.block([[C[i] if i == j else zero for j in range(3)] for i in range(3)])  # eq. 5
M = np.kron(mixing.T, np.eye(SIDE**2))  # eq. 6
K_circ = np.block([[C[(j - i) % 3] for j in range(3)] for i in range(3)])

y = np.moveaxis(image[0], -1, 0).reshape(-1)  # channel after channel
by_hand = {
    "LinearMix, eq. 7": (K + M) @ y,
    "explicit diffusion, eq. 9": y - H * K.T @ K @ y,
    "implicit diffusion, eq. 11": np.linalg.solve(identity + H * K.T @ K, y),
    "circulant, eq. 12": K_circ @ y,
}
by_library = {
    "LinearMix, eq. 7": ksn.ops.linear_mix_conv(image, stencils, mixing, "periodic"),
    "explicit diffusion, eq. 9": ksn.ops.explicit_diffusion(image, stencils, H, "periodic"),
    "implicit diffusion, eq. 11": ksn.ops.implicit_diffusion(image, stencils, H),
    "circulant, eq. 12": ksn.ops.circulant_conv(image, stencils),
}
for name, expected in by_hand.items():
    found = np.moveaxis(TO_NUMPY(by_library[name])[0], -1, 0).reshape(-1)
    print(f"{name}: largest difference {np.abs(found - expected).max():.1e}")
    assert np.allclose(found, expected, atol=1e-4)

# %% [markdown]
# The inverse of eq. 11 costs little, because a periodic convolution is a product in the Fourier domain. The
# library divides each frequency by $1 + h s^2$, where $s$ is the absolute value of the eigenvalue of $K$ at
# this frequency (eq. 10):


# %%
def squared_spectrum(kernel, shape):
    """s^2 at each frequency of each channel, the eigenvalues of K^T K."""
    re, im = (TO_NUMPY(part) for part in ksn.ops.stencil_spectrum(kernel, shape))
    return re**2 + im**2


largest = [np.linalg.eigvalsh(c.T @ c).max() for c in C]
found = squared_spectrum(stencils, (SIDE, SIDE)).max(axis=(0, 1))
print(
    "largest s^2 of each channel: by hand", np.round(largest, 3), "by the library", found.round(3)
)
assert np.allclose(found, largest, rtol=1e-4)

# %% [markdown]
# ## The receptive field of one layer
#
# The response to a single pixel (Green's function) shows which pixels one layer couples. Here the stencil of
# $K$ is the Laplacian. The response of an explicit step extends over two pixels, one by $K$ and one by
# $K^\top$, and is exactly zero beyond. The response of an implicit step extends over the whole image. It
# decays with the distance, more slowly for a larger $h$. An explicit step cannot use a large $h$, as the next
# section shows. Responses below one millionth are white.

# %%
laplacian = np.array([[0, 1, 0], [1, -4, 1], [0, 1, 0]], "float32")[..., None]
size = 33
pixel = np.zeros((1, size, size, 1), "float32")
pixel[0, size // 2, size // 2] = 1
unit = 1 / squared_spectrum(laplacian, (size, size)).max()  # the h with largest h s^2 = 1


def explicit_steps(x, kernel, h, n_steps=1):
    for _ in range(n_steps):
        x = ksn.ops.explicit_diffusion(x, kernel, h, "periodic")
    return x


responses = {
    "explicit, h s² ≤ 1.9": explicit_steps(pixel, laplacian, 1.9 * unit),
    "4 explicit, h s² ≤ 1.9": explicit_steps(pixel, laplacian, 1.9 * unit, n_steps=4),
    "implicit, h s² ≤ 1.9": ksn.ops.implicit_diffusion(pixel, laplacian, 1.9 * unit),
    "implicit, h s² ≤ 1000": ksn.ops.implicit_diffusion(pixel, laplacian, 1000 * unit),
}
responses = {name: TO_NUMPY(response)[0, ..., 0] for name, response in responses.items()}
FAINT = 1e-6
reached = {name: int((np.abs(r) > FAINT).sum()) for name, r in responses.items()}

figure, panels = plt.subplot_mosaic("abee;cdee", figsize=(11, 5.4), layout="constrained")
*images, through = map(panels.get, "abcde")
for axes, (name, response) in zip(images, responses.items(), strict=True):
    seen = np.where(np.abs(response) > FAINT, np.abs(response), np.nan)
    picture = axes.imshow(np.log10(seen), vmin=np.log10(FAINT), vmax=0)
    axes.set(title=name, xticks=[], yticks=[], xlabel=f"{reached[name]} of {size**2} pixels")
    through.semilogy(np.arange(size) - size // 2, seen[size // 2], marker=".", label=name)
figure.colorbar(picture, ax=images, label="log10 of |response|")
through.set(xlabel="pixels from the center", title="|response|, through the center")
through.set(ylim=(1e-9, 2))
through.legend(loc="lower center")
plt.show()

# %% [markdown]
# The Laplacian of a constant is zero, so diffusion preserves the sum of all pixels:

# %%
totals = {name: float(response.sum()) for name, response in responses.items()}
for name, total in totals.items():
    print(f"{name}: {reached[name]} pixels reached, sum of the response {total:.4f}")

# %% [markdown]
# ## Stability
#
# For an eigenvector of $K^\top K$ with the eigenvalue $s^2$, a step is a multiplication by a number:
#
# $$ \text{explicit: } |1 - h s^2| \qquad\qquad \text{implicit: } \frac{1}{1 + h s^2} $$
#
# The explicit step grows where $h s^2 > 2$. The implicit step never grows, whatever the weights. A
# checkerboard is an eigenvector of the Laplacian, so the steps of the library on it must follow these curves.
# Each dot is a channel with its own scale of the stencil.

# %%
strengths = np.linspace(0.05, 3, 40, dtype="float32")  # h s^2, with h = 1
checkerboard = (-1.0) ** np.add.outer(np.arange(8), np.arange(8))[None, ..., None]
checkerboard = np.repeat(checkerboard, len(strengths), axis=-1).astype("float32")
kernels = laplacian * np.sqrt(strengths / squared_spectrum(laplacian, (8, 8)).max())
N_APPLIED = 5


def growth(step):
    """Factor of one step, from the norms before and after N_APPLIED of them."""
    x = checkerboard
    for _ in range(N_APPLIED):
        x = step(x)
    ratio = np.linalg.norm(TO_NUMPY(x), axis=(1, 2)) / np.linalg.norm(checkerboard, axis=(1, 2))
    return ratio[0] ** (1 / N_APPLIED)


measured = {
    "explicit": growth(lambda x: ksn.ops.explicit_diffusion(x, kernels, 1.0, "periodic")),
    "implicit": growth(lambda x: ksn.ops.implicit_diffusion(x, kernels, 1.0)),
}
predicted = {"explicit": np.abs(1 - strengths), "implicit": 1 / (1 + strengths)}

# %% [markdown]
# The second experiment applies steps on both sides of the limit to an image. Most of the image is smooth,
# where $s$ is small, so the first steps look stable. But the finest pattern in the image grows at every step.

# %%
start = data.x_val[:1, ..., :1] / 255
power = squared_spectrum(laplacian, start.shape[1:3])
N_LONG = 30


def norms(op, strength, *options):
    x, found = start, [1.0]
    for _ in range(N_LONG):
        x = op(x, laplacian, strength / power.max(), *options)
        found.append(float(np.linalg.norm(TO_NUMPY(x)) / np.linalg.norm(start)))
    return found


curves = {
    "explicit, 1.9": norms(ksn.ops.explicit_diffusion, 1.9, "periodic"),
    "explicit, 2.5": norms(ksn.ops.explicit_diffusion, 2.5, "periodic"),
    "implicit, 2.5": norms(ksn.ops.implicit_diffusion, 2.5),
    "implicit, 1000": norms(ksn.ops.implicit_diffusion, 1000.0),
}

figure, (left, middle, right) = plt.subplots(1, 3, figsize=(12, 3.4), layout="constrained")
spectrum = left.imshow(power[..., 0] / power.max(), origin="lower", cmap="magma", aspect="auto")
figure.colorbar(spectrum, ax=left, label="s², largest = 1")
left.set(title="spectrum of the Laplacian", xlabel="frequency across", ylabel="frequency down")
for name, factors in measured.items():
    (line,) = middle.plot(strengths, predicted[name], label=name)
    middle.plot(strengths, factors, ".", color=line.get_color())
middle.axhline(1, color="0.7", linestyle=":")
middle.axvline(2, color="0.7", linestyle=":")
middle.text(1.95, 1.5, "explicit limit", rotation=90, ha="right", va="center")
middle.set(xlabel="h s²", ylabel="factor of one step", title="curve: formula, dots: library")
middle.legend()
for name, curve in curves.items():
    right.semilogy(curve, label=name)
right.set(xlabel="steps", ylabel="norm, start = 1", title="an image, by largest h s²")
right.legend()
plt.show()

# %% [markdown]
# ## The layers and their weights
#
# Each op has a layer. The reaction $M$ of the explicit and implicit steps is an ordinary 1x1 convolution.

# %%
CHANNELS, STENCIL = 64, 3
layers = {
    "Conv2D, fully coupled": keras.layers.Conv2D(CHANNELS, STENCIL, padding="same", use_bias=False),
    "LinearMixConv2D": ksn.layers.LinearMixConv2D(
        CHANNELS, STENCIL, padding="same", use_bias=False
    ),
    "ExplicitDiffusion2D": ksn.layers.ExplicitDiffusion2D(STENCIL, step_size=0.5),
    "ImplicitDiffusion2D": ksn.layers.ImplicitDiffusion2D(STENCIL, step_size=0.5),
    "CirculantDiffusion2D": ksn.layers.CirculantDiffusion2D(STENCIL, step_size=0.5),
    "Conv2D 1x1, the reaction": keras.layers.Conv2D(CHANNELS, 1, use_bias=False),
}
features = rng.normal(size=(1, 8, 8, CHANNELS)).astype("float32")
weights = {}
for name, layer in layers.items():
    assert layer(features).shape == features.shape
    weights[name] = layer.count_params()
coupled = weights["Conv2D, fully coupled"]
for name, count in weights.items():
    print(f"{name:26} {count:7,} weights, {count / coupled:6.2%} of fully coupled")

# %% [markdown]
# ## Train a small network
#
# The networks of the zoo start with a convolution, and go on with blocks of steps. After each block a
# connecting layer doubles the channels and halves the image. `implicit_rd_a` has steps of eq. 11. Here we
# build it with fewer steps.

# %%
SIZES = {"widths": WIDTHS, "n_steps": N_STEPS, "input_shape": data.x_train.shape[1:]}
n_classes = len(data.class_names)
model = ksn.zoo.build("implicit_rd_a", num_classes=n_classes, **SIZES)
print(f"{model.count_params():,} weights, {ksn.zoo.flops(model).total:,} operations for one image")

rate = keras.optimizers.schedules.CosineDecay(0.01, EPOCHS * -(-len(data.x_train) // BATCH))
model.compile(keras.optimizers.Adam(rate), "sparse_categorical_crossentropy", metrics=["accuracy"])
history = model.fit(
    data.x_train,
    data.y_train,
    batch_size=BATCH,
    epochs=EPOCHS,
    validation_data=(data.x_val, data.y_val),
)
trained = history.history["val_accuracy"][-1]

# %% [markdown]
# The upper row shows the stencils that the first diffusion learned, one per channel. The lower row shows how
# the step changes an image of a single pixel. The step is implicit, so it is stable for all stencils.

# %%
diffusions = [layer for layer in model.layers if isinstance(layer, ksn.layers.ImplicitDiffusion2D)]
learned = TO_NUMPY(diffusions[0].kernel)
shown = min(8, learned.shape[-1])
side = 9
middle_pixel = np.zeros((1, side, side, learned.shape[-1]), "float32")
middle_pixel[0, side // 2, side // 2] = 1
changes = TO_NUMPY(diffusions[0](middle_pixel))[0] - middle_pixel[0]

figure, panels = plt.subplots(2, shown, figsize=(10, 2.9), layout="constrained")
for row, maps, label in zip(panels, (learned, changes), ("stencil", "change"), strict=True):
    for channel, axes in enumerate(row):
        bound = np.abs(maps[..., channel]).max()
        axes.imshow(maps[..., channel], cmap="RdBu_r", vmin=-bound, vmax=bound)
        axes.set(xticks=[], yticks=[])
    row[0].set_ylabel(label)
figure.suptitle("the first diffusion after training")
plt.show()

for layer in diffusions:
    shape = layer.input.shape[1:-1]
    strength = layer.step_size * squared_spectrum(layer.kernel, shape).max()
    print(f"{layer.name}: largest h s^2 {strength:.2f}")

# %% [markdown]
# ## Results of the paper and of the records
#
# The paper trains for 300 epochs on CIFAR-10, with augmentation. The records of this package were trained for
# the numbers of epochs in the last column, so longer training would reach more. FLOPs are the multiplications
# and additions for one image.

# %%
infos = {
    name: ksn.zoo.info(name)
    for name in ksn.zoo.list_models("*_a")
    if ksn.zoo.info(name).paper == ksn.zoo.info("implicit_rd_a").paper
}
heads = ("network", "parameters", "in paper", "FLOPs", "paper")
print("{:15} {:>10} {:>8} {:>11} {:>6}  record: accuracy, epochs".format(*heads))
for name, info in infos.items():
    found = [
        f"{dataset} {np.mean([run['accuracy'] for run in record.runs]):.1%}, "
        f"{max(run['epochs'] for run in record.runs)}"
        for dataset, record in info.records.items()
    ]
    print(
        f"{name:15} {info.parameters:10,} {info.printed[10]:>8} {info.flops.total / 1e6:10.1f}M "
        f"{info.printed_accuracy['cifar10']:5.1f}%  {'; '.join(found) or '-'}"
    )

# %% [markdown]
# ## Save the model, and load it on another backend
#
# A `.keras` file does not depend on the backend. Here a second Python process loads the model on another
# backend, if one is installed. With `compile=False` Keras does not load the optimizer, which predictions do
# not need.

# %%
OPEN = """
import sys
import keras, numpy as np
import keras_structnets  # its layers are known to Keras from here on
model = keras.saving.load_model(sys.argv[1], compile=False)
np.save(sys.argv[3], model.predict(np.load(sys.argv[2]), verbose=0))
"""
here = keras.backend.backend()
others = [
    name
    for name in ("torch", "jax", "tensorflow")
    if name != here and importlib.util.find_spec(name)
]
images = data.x_val[:16]
backend_difference = 0.0
if others:
    with tempfile.TemporaryDirectory() as folder:
        paths = [str(pathlib.Path(folder, name)) for name in ("rd.keras", "in.npy", "out.npy")]
        model.save(paths[0])
        np.save(paths[1], images)
        environment = {**os.environ, "KERAS_BACKEND": others[0]}
        subprocess.run([sys.executable, "-c", OPEN, *paths], env=environment, check=True)
        there = np.load(paths[2])
    backend_difference = np.abs(there - model.predict(images, verbose=0)).max()
    print(f"{here} and {others[0]}: predictions differ by {backend_difference:.1e} at most")
else:
    print(f"no backend but {here} is installed: this step is skipped")

# %% [markdown]
# ## Exercise
#
# For small $h s^2$ the two steps are nearly equal, $1/(1 + h s^2) \approx 1 - h s^2$, and the explicit and
# the implicit network have weights of the same shapes. So the explicit network can use the trained weights of
# the implicit one, as the next cell shows. It loses accuracy where $h s^2$ above exceeds 2: there the
# explicit step amplifies what the implicit step smooths. Another part of the loss comes from the boundary,
# which is zero in the explicit network and periodic in the implicit one. Now train `explicit_rd_a` itself,
# and print its $h s^2$: does it stay below 2?

# %%
explicit = ksn.zoo.build("explicit_rd_a", num_classes=n_classes, **SIZES)
explicit.set_weights(model.get_weights())
predicted_classes = explicit.predict(data.x_val, verbose=0).argmax(axis=-1)
swapped = np.mean(predicted_classes == data.y_val)
print(f"implicit steps {trained:.1%}, explicit steps with the same weights {swapped:.1%}")

# %% [markdown]
# ## Checks of this tutorial's claims

# %%
assert reached["explicit, h s² ≤ 1.9"] <= 5 * 5
assert reached["4 explicit, h s² ≤ 1.9"] <= 17 * 17
assert reached["implicit, h s² ≤ 1000"] > 0.9 * size**2
assert np.allclose(list(totals.values()), 1, atol=1e-3)
for name, factors in measured.items():
    assert np.allclose(factors, predicted[name], atol=1e-2), name
assert np.all((measured["explicit"] > 1) == (strengths > 2))
assert measured["implicit"].max() < 1
assert curves["explicit, 1.9"][-1] <= 1 < curves["explicit, 2.5"][-1]
assert max(curves["implicit, 2.5"][1:] + curves["implicit, 1000"][1:]) <= 1
assert weights["Conv2D, fully coupled"] == STENCIL**2 * CHANNELS**2
assert weights["LinearMixConv2D"] == STENCIL**2 * CHANNELS + CHANNELS**2
for name in ("ExplicitDiffusion2D", "ImplicitDiffusion2D", "CirculantDiffusion2D"):
    assert weights[name] == STENCIL**2 * CHANNELS
for name in ("explicit_rd_a", "implicit_rd_a", "circulant_rd_a", "linear_mix_a"):
    assert f"{infos[name].parameters / 1e3:.0f}K" == infos[name].printed[10]
if DATASET == "digits":
    assert trained > 0.85
assert backend_difference < 1e-4
print("all claims hold on", here)
