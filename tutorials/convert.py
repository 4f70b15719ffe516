# %% [markdown]
# # Convert a network of your own
#
# You have a trained network. This tutorial replaces its convolutions by cheaper ones, fits the new weights
# to the old outputs, trains the new network for a short time, and exports it.
#
# Paper: *Low-cost parameterizations of deep convolutional neural networks*, section 3.1. Nothing is
# downloaded: the images are scikit-learn's handwritten digits. Set `DATASET` to a folder with one sub-folder
# of images per class to see the same with photographs.

# %%
# On Colab, remove the first "# " of the next line.
# %pip install "keras_structnets[jax,train]"
import pathlib
import tempfile

import keras
import matplotlib.pyplot as plt
import numpy as np
from keras import layers as kl

import keras_structnets as ksn

DATASET, EPOCHS, BATCH, WIDTHS = "digits", 8, 64, (16, 32)  # small: under a minute

keras.utils.set_random_seed(0)
data = ksn.training.load(DATASET)
print(data)

# %% [markdown]
# ## The network you have
#
# Any functional or Sequential Keras model will do. This is a small residual network of plain Keras layers.


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
# Without images, `convert` takes the closest $K + M$ to each kernel: it keeps the diagonal and the center.
# The report says what became of each layer. The error of a layer is the norm of the difference of both
# outputs over that of the old one.

# %%
projected, report = ksn.convert(teacher, to="linear_mix")
print(report)

# %% [markdown]
# With images it solves a least-squares problem for each layer: the weights whose outputs are closest to the
# old ones on what reaches the layer. Batch normalization takes its means and variances from the images
# again. That needs no labels and no training.

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
# The conversion alone costs accuracy: each layer is only close to the old one, and the errors add up. A
# converted network has to be trained again; half of the epochs that the old one took are enough here. The
# old network can also be a teacher: the new one then learns its outputs beside the labels (Hinton et al.,
# 2015). For files `structnets train CONVERTED --teacher OLD` does the same.

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
# The new network is an ordinary Keras model: it saves and loads. `structnets export converted.keras
# converted.onnx`, or `ksn.inference.export`, writes it for a device.

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
# ## One thing to try
#
# `low_rank` keeps a share of the parameters that you choose, `separable` and `circulant` have none to choose.

# %%
for options in ({"to": "separable"}, {"to": "low_rank", "budget": 0.25}, {"to": "circulant"}):
    other, _ = ksn.convert(teacher, **options)
    print(
        f"{options}: {other.count_params():,} parameters, {ksn.zoo.flops(other).total:,} operations"
    )

# %% [markdown]
# ## What this tutorial claims, checked

# %%
assert fitted.count_params() < teacher.count_params() / 3
assert all(errors["fitted"][name] < errors["projected"][name] for name in errors["fitted"])
assert difference < 1e-5
assert size < before
if DATASET == "digits":
    assert recovered["labels"] > accuracy(teacher) - 0.03
print("all claims hold on", keras.backend.backend())
