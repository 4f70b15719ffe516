# %% [markdown]
# # Convert your own network
#
# This tutorial takes a trained network, replaces its convolutions by cheaper ones, fits the new weights to
# the old outputs, trains the new network for a few epochs, and exports it.
#
# Paper: *Low-cost parameterizations of deep convolutional neural networks*, section 3.1. The images are
# scikit-learn's handwritten digits, so nothing is downloaded. To use your own images, set `DATASET` to a
# folder with one sub-folder per class.

# %%
# On Colab, remove the first "# " of the next line.
# %pip install "keras_structnets[jax,train]"
import pathlib
import tempfile

import keras_structnets as ksn  # before Keras: it selects a backend that is installed
import keras
import matplotlib.pyplot as plt
import numpy as np
from keras import layers as kl

DATASET, EPOCHS, BATCH, WIDTHS = "digits", 8, 64, (16, 32)  # small: for a short run

keras.utils.set_random_seed(0)
data = ksn.training.load(DATASET)
print(data)

# %% [markdown]
# ## The network
#
# `convert` takes any functional or Sequential Keras model. This one is a small residual network.


# %%
def residual_step(x):
    y = kl.Conv2D(x.shape[-1], 3, padding="same", use_bias=False)(x)
    y = kl.ReLU()(kl.BatchNormalization(momentum=0.9)(y))
    y = kl.Conv2D(x.shape[-1], 3, padding="same", use_bias=False)(y)
    return kl.Add()([x, kl.BatchNormalization(momentum=0.9)(y)])


def resnet():
    inputs = keras.Input(data.x_train.shape[1:])
    x = kl.Rescaling(1 / 128, offset=-1)(inputs)
    for stage, width in enumerate(WIDTHS):
        x = kl.Conv2D(width, 3, strides=1 + (stage > 0), padding="same", use_bias=False)(x)
        for _ in range(2):
            x = residual_step(x)
    return keras.Model(inputs, kl.Dense(len(data.class_names))(kl.GlobalAveragePooling2D()(x)))


def fit(model, epochs):
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(3e-3), loss, metrics=["accuracy"])
    model.fit(data.x_train, data.y_train, batch_size=BATCH, epochs=epochs, verbose=0)


def accuracy(model):
    return float(np.mean(np.argmax(model.predict(data.x_val, verbose=0), axis=-1) == data.y_val))


teacher = resnet()
fit(teacher, EPOCHS)
print(f"{teacher.count_params():,} parameters, accuracy {accuracy(teacher):.1%}")

# %% [markdown]
# ## Convert
#
# A convolution with $c$ channels has $k^2 c^2$ weights. `LinearMixConv2D` keeps one stencil for each channel
# and one matrix between the channels of a pixel (eq. 7), $k^2 c + c^2$ weights:
#
# $$ K_\mathrm{lm} = K + M \tag{7} $$
#
# Without images, `convert` replaces each kernel by the closest $K + M$: it keeps the stencil of each channel
# and the matrix at the center of the kernel. The report has a line for each layer. The error of a layer is
# the norm of the difference between its new and old outputs, divided by the norm of the old ones.

# %%
projected, report = ksn.convert(teacher, to="linear_mix")
print(report)

# %% [markdown]
# With images, `convert` solves a least-squares problem for each layer: it finds the weights whose outputs are
# closest to the old ones, on the inputs that the layer gets from these images. It also estimates the
# statistics of batch normalization again. This needs no labels and no training.

# %%
fitted, _ = ksn.convert(teacher, to="linear_mix", images=data.x_train)
converted = {"projected": accuracy(projected), "fitted": accuracy(fitted)}
print(f"the teacher {accuracy(teacher):.1%}, converted: {converted}")


def errors_of(network):
    """The error of each replaced layer on the validation images, with the old inputs."""
    found = {}
    for row in report.layers:
        inputs = keras.Model(teacher.inputs, teacher.get_layer(row.name).input)
        x = inputs.predict(data.x_val, verbose=0)
        old, new = (
            keras.ops.convert_to_numpy(m.get_layer(row.name)(x)) for m in (teacher, network)
        )
        found[row.name] = float(np.linalg.norm(new - old) / np.linalg.norm(old))
    return found


errors = {"projected": errors_of(projected), "fitted": errors_of(fitted)}
figure, axes = plt.subplots(figsize=(8, 3), layout="constrained")
places = np.arange(len(report.layers))
for i, (name, by_layer) in enumerate(errors.items()):
    axes.bar(places + 0.4 * i - 0.2, by_layer.values(), 0.4, label=name)
axes.set(xticks=places, ylabel="relative error", title="each converted layer, on validation images")
axes.set_xticklabels([row.name for row in report.layers], rotation=30, ha="right")
axes.legend()
plt.show()

# %% [markdown]
# ## Recover the accuracy
#
# The conversion alone costs accuracy, because the errors of the layers add up. So the converted network is
# trained again, here for half of the epochs of the old one. The old network can be the teacher: then the new
# one learns from the teacher's outputs as well as from the labels (Hinton et al., 2015). On the command line,
# `structnets train CONVERTED --teacher OLD` does the same.

# %%
distilled, _ = ksn.convert(teacher, to="linear_mix", images=data.x_train)
fit(fitted, EPOCHS // 2)
loss = keras.distillation.LogitsDistillation(3.0, keras.losses.KLDivergence())
fit(keras.distillation.Distiller(teacher, distilled, loss), EPOCHS // 2)
recovered = {"labels": accuracy(fitted), "labels and teacher": accuracy(distilled)}
print(
    f"{teacher.count_params():,} to {fitted.count_params():,} parameters, "
    f"{ksn.zoo.flops(teacher).total:,} to {ksn.zoo.flops(fitted).total:,} operations, "
    f"accuracy {accuracy(teacher):.1%}, converted and trained {recovered}"
)

# %% [markdown]
# ## Export
#
# The new network is an ordinary Keras model, which you can save and load. `ksn.inference.export`, or
# `structnets export converted.keras converted.onnx`, writes it for a device.

# %%
with tempfile.TemporaryDirectory() as folder:
    path = pathlib.Path(folder, "converted.keras")
    fitted.save(path)
    again = keras.saving.load_model(path)
    outputs = [network.predict(data.x_val, verbose=0) for network in (again, fitted)]
    difference = float(np.abs(outputs[0] - outputs[1]).max())
    size = path.stat().st_size
    teacher.save(pathlib.Path(folder, "teacher.keras"))
    before = pathlib.Path(folder, "teacher.keras").stat().st_size
print(f"{before:,} to {size:,} bytes; the loaded model differs by {difference:.1e}")

# %% [markdown]
# ## Exercise
#
# Try the other conversions. For `low_rank` you choose which share of the parameters to keep.

# %%
for options in ({"to": "separable"}, {"to": "low_rank", "budget": 0.25}, {"to": "circulant"}):
    other, _ = ksn.convert(teacher, **options)
    print(
        f"{options}: {other.count_params():,} parameters, {ksn.zoo.flops(other).total:,} operations"
    )

# %% [markdown]
# ## Checks of this tutorial's claims

# %%
assert fitted.count_params() < teacher.count_params() / 3
assert all(errors["fitted"][name] < errors["projected"][name] for name in errors["fitted"])
assert difference < 1e-5
assert size < before
if DATASET == "digits":
    assert recovered["labels"] > accuracy(teacher) - 0.03
print("all claims hold on", keras.backend.backend())
