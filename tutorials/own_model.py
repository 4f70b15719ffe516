# %% [markdown]
# # Your own model
#
# The layers of this library are ordinary Keras layers. This tutorial uses them in a model together with
# layers of Keras, registers an architecture under a name, trains it, loads it on another backend, and
# fine-tunes a trained network of the zoo.
#
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
import warnings

import keras_structnets as ksn  # before Keras: it selects a backend that is installed
import keras
import matplotlib.pyplot as plt
import numpy as np

DATASET, EPOCHS, BATCH = "digits", 4, 32
WIDTH, STEPS = 24, 2  # of the network below: seconds on a laptop
FEW, HEAD_EPOCHS = 32, 6  # images of each class, and epochs, for the trained weights at the end

data = ksn.training.load(DATASET)
print(data)

# %% [markdown]
# ## A layer in a Sequential model
#
# `ImplicitDiffusion2D` computes one step of diffusion (Low-cost parameterizations, eq. 11):
#
# $$ y = (I + h K^\top K)^{-1} x $$
#
# It keeps the shape of its input, so it can follow any convolution. The receptive field of a convolution of
# size 3 is nine pixels; that of one implicit step is the whole image. An image of a single bright pixel shows
# both.

# %%
keras.utils.set_random_seed(0)
pixel = np.zeros((1, 7, 7, 1), "float32")
pixel[0, 3, 3] = 1
responses = {
    "one bright pixel": pixel,
    "StencilConv2D(3)": ksn.layers.StencilConv2D(3)(pixel),
    "ImplicitDiffusion2D(3)": ksn.layers.ImplicitDiffusion2D(3, step_size=100.0)(pixel),
}
responses = {name: keras.ops.convert_to_numpy(y)[0, :, :, 0] for name, y in responses.items()}

figure, panels = plt.subplots(1, 3, figsize=(9, 3), layout="constrained")
for axes, (name, response) in zip(panels, responses.items(), strict=True):
    size = np.log10(np.maximum(np.abs(response), 1e-6))
    image = axes.imshow(size, vmin=-6, vmax=0)
    axes.set(title=name, xticks=[], yticks=[])
figure.colorbar(image, ax=panels, label="log10 of the response")
plt.show()
reached = {name: int(np.sum(np.abs(response) > 1e-6)) for name, response in responses.items()}
print("pixels that respond, above rounding errors:", reached)

# %% [markdown]
# `MEXPooling2D` (Deep SimNets, section 4.3) replaces maximum or average pooling. It is the log-mean-exp of
# each window, which lies between the two, and its beta is learned. This `keras.Sequential` has both layers.

# %%
n_classes, image_shape = len(data.class_names), data.x_train.shape[1:]
mixed = keras.Sequential(
    [
        keras.Input(image_shape),
        keras.layers.Rescaling(1 / 127.5, -1),
        keras.layers.Conv2D(WIDTH, 3, padding="same", activation="relu"),
        ksn.layers.ImplicitDiffusion2D(3),
        ksn.layers.MEXPooling2D(2),
        keras.layers.Flatten(),
        keras.layers.Dense(n_classes, activation="softmax"),
    ]
)
mixed.summary()

# %% [markdown]
# ## Register an architecture
#
# To register an architecture, write a function from normalized pixels to features [b, h, w, c]. The zoo adds
# the normalization of the pixels and the classifier, and checks the arguments. Keyword arguments of the
# function become arguments of `ksn.zoo.build`. A name can be registered only once, so the condition lets you
# run this cell again.

# %%
NAME = "my_diffusion_net"

if NAME not in ksn.zoo.list_models():

    @ksn.zoo.register(NAME, paper="mine", summary="convolutions, and diffusion after each")
    def my_diffusion_net(x, *, width=WIDTH, steps=STEPS):
        """A convolution, then steps of reaction and diffusion with a skip: [b, h, w, width]."""
        x = keras.layers.Conv2D(width, 3, padding="same")(x)
        for _ in range(steps):
            y = keras.layers.BatchNormalization(momentum=0.9)(x)
            y = keras.layers.Activation("relu")(y)
            y = keras.layers.Conv2D(width, 3, padding="same")(y)
            x = ksn.layers.ImplicitDiffusion2D(3)(keras.layers.add([x, y]))
        return keras.layers.Activation("relu")(x)


keras.utils.set_random_seed(0)
model = ksn.zoo.build(NAME, input_shape=image_shape, num_classes=n_classes)
model.summary()
flops = ksn.zoo.flops(model)
print("operations for one image:", flops)
print("of these by layer:", {name: sum(counts) for name, counts in flops.by_layer.items()})

# %% [markdown]
# ## Train the model
#
# `build` returns a `keras.Model`, so `fit`, callbacks and the progress bar are those of Keras.


# %%
def fit(model, x, y, validation, epochs, learning_rate=3e-3, **options):
    """Train, and return the validation accuracy of each epoch."""
    optimizer = keras.optimizers.Adam(learning_rate)
    model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"])
    history = model.fit(x, y, BATCH, epochs, validation_data=validation, **options)
    return history.history["val_accuracy"]


validation = (data.x_val, data.y_val)
accuracy = {
    NAME: fit(model, data.x_train, data.y_train, validation, EPOCHS),
    "mixed": fit(mixed, data.x_train, data.y_train, validation, EPOCHS, verbose=0),
}
figure, axes = plt.subplots(figsize=(5, 3), layout="constrained")
for name, values in accuracy.items():
    axes.plot(range(1, EPOCHS + 1), values, marker=".", label=name)
    print(f"{name}: {values[-1]:.1%}")
axes.set(xlabel="epoch", ylabel="validation accuracy", ylim=(None, 1))
axes.xaxis.get_major_locator().set_params(integer=True)
axes.legend()
plt.show()

# %% [markdown]
# ## Save the model, and load it on another backend
#
# The `.keras` file holds the layers and their weights. To load it, Python needs `keras_structnets`, but
# neither the registered name nor the function. Here a second Python process loads it on another backend, if
# one is installed. With `compile=False` Keras does not load the optimizer, which predictions do not need.

# %%
READ = """
import keras_structnets, keras, numpy as np
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
# ## Fine-tune trained weights
#
# Some models of the zoo have trained weights, which are named after their training data. With another
# `num_classes` the head is initialized at random, and all other layers have the trained weights. A warning
# names the layers of the head.

# %%
RECORD = "mobilenet_a"
record = ksn.zoo.info(RECORD).records["cifar10"]
print(f"{record.name}: {record.class_names}, input {record.input_shape}")
print("validation accuracy of the record:", [run["accuracy"] for run in record.runs])

keras.utils.set_random_seed(0)
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    tuned = ksn.zoo.build(RECORD, weights="cifar10", num_classes=3)
said = [str(w.message) for w in caught if "start from random weights" in str(w.message)]
print("warning:", *said)

# %% [markdown]
# The new task has three classes and few images of each, which are resized to the input of the network. Only
# the head is trained; the other layers are frozen. The comparison is the same network with random weights in
# the frozen layers.


# %%
def few(images, labels, count):
    """The first `count` images of each of three classes, of the size of the record's."""
    chosen = np.concatenate([np.flatnonzero(labels == label)[:count] for label in range(3)])
    height, width, channels = record.input_shape
    large = keras.ops.image.resize(images[chosen].astype("float32"), (height, width))
    repeats = channels // images.shape[-1]
    return np.repeat(keras.ops.convert_to_numpy(large), repeats, axis=-1), labels[chosen]


def train_head(model):
    """Accuracy by epoch with everything frozen but the classifier."""
    for layer in model.layers:
        layer.trainable = layer.name == "logits"
    x, y = few(data.x_train, data.y_train, FEW)
    validation = few(data.x_val, data.y_val, FEW)
    return fit(model, x, y, validation, HEAD_EPOCHS, learning_rate=0.02, verbose=0)


def trunk_of(model):
    """All weights but those of the classifier, as one vector."""
    weights = [w for layer in model.layers if layer.name != "logits" for w in layer.get_weights()]
    return np.concatenate([w.ravel() for w in weights])


heads = {
    "trained trunk": train_head(tuned),
    "random trunk": train_head(ksn.zoo.build(RECORD, num_classes=3)),
}
for name, values in heads.items():
    print(f"{name}: {values[-1]:.1%} of three classes, {FEW} training images of each")
same_trunk = np.array_equal(trunk_of(tuned), trunk_of(ksn.zoo.build(RECORD, weights="cifar10")))
print("the trunk is still that of the record:", same_trunk)

# %% [markdown]
# ## Exercise
#
# The sizes of an architecture are arguments. How many parameters and FLOPs has a wider network, or one with
# more steps?

# %%
for sizes in ({}, {"width": 2 * WIDTH}, {"steps": 2 * STEPS}):
    candidate = ksn.zoo.build(NAME, input_shape=image_shape, num_classes=n_classes, **sizes)
    total = ksn.zoo.flops(candidate).total
    print(f"{sizes or 'as it is'}: {candidate.count_params():,} parameters, {total:,} operations")

# %% [markdown]
# ## Checks of this tutorial's claims

# %%
assert reached["StencilConv2D(3)"] == 3 * 3
assert reached["ImplicitDiffusion2D(3)"] == 7 * 7
assert NAME in ksn.zoo.list_models()
assert ksn.zoo.info(NAME).sizes == {"width": WIDTH, "steps": STEPS}
assert there_difference < 1e-4
assert tuned.output_shape == (None, 3)
assert len(said) == 1
assert same_trunk
if DATASET == "digits":
    assert min(values[-1] for values in accuracy.values()) > 0.85
    assert heads["trained trunk"][-1] > 0.8
print("all claims hold on", keras.backend.backend())
