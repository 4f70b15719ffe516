"""Draw the pictures of the API page of layers: `python -m tests.pictures` writes docs/pictures/."""

import hashlib
import json
import pathlib

import keras
import matplotlib as mpl
import numpy as np
from matplotlib import pyplot as plt
from sklearn.datasets import load_digits

import keras_structnets as ksn

PICTURES = pathlib.Path(__file__).parent.parent / "docs" / "pictures"
INDEX = PICTURES / "pictures.json"


def similarity():
    """A template, and how similar each patch of a digit is to it."""
    digit = _digit()
    template = digit[4:10, 4:10]
    maps = {"digit": digit, "template": template}
    for p in (2.0, 1.0):
        layer = ksn.layers.Similarity2D(1, 6, p=p, similarity_weights_initializer="ones")
        layer.build((None, 16, 16, 1))
        layer.templates.assign(template.reshape(layer.templates.shape))
        maps[f"Similarity2D, p = {p:g}"] = _apply(layer, digit)
    layer = ksn.layers.LinearSimilarity2D(1, 6, similarity_weights_initializer="ones")
    layer.build((None, 16, 16, 1))
    layer.templates.assign(template.reshape(layer.templates.shape))
    maps["LinearSimilarity2D"] = _apply(layer, digit)
    return _row(maps)


def mex():
    """MEX of three numbers between their minimum, mean and maximum."""
    inputs = np.array([[-1.0, 0.5, 2.0]], "float32")
    betas = np.linspace(-8, 8, 81)
    layer = ksn.layers.MEX(1, use_offsets=False)
    layer.build(inputs.shape)
    values = []
    for beta in betas:
        layer.beta.assign(beta)
        values.append(keras.ops.convert_to_numpy(layer(inputs))[0, 0])
    figure, axes = plt.subplots(figsize=(6, 3))
    for name, value in (("minimum", -1.0), ("mean", 0.5), ("maximum", 2.0)):
        axes.axhline(value, color="0.7", linewidth=1)
        axes.text(8.2, value, name, va="center")
    axes.plot(betas, values)
    axes.set(xlabel="beta", ylabel="MEX of -1, 0.5 and 2")
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def mex_pooling():
    """A digit, pooled with three values of beta."""
    digit = _digit()
    maps = {"digit": digit}
    for beta in (-float("inf"), 0.0, 2.0, float("inf")):
        layer = ksn.layers.MEXPooling2D(4, beta=beta)
        maps[f"beta = {beta:g}"] = _apply(layer, digit)
    return _row(maps)


def diffusion():
    """A noisy digit, and one step of each diffusion with a difference stencil."""
    noisy = _digit() + 0.3 * np.random.default_rng(0).normal(size=(16, 16))
    stencil = np.array([[0, 0, 0], [0, 1, -1], [0, 0, 0]], "float32").reshape(3, 3, 1)
    maps = {"input": noisy}
    for name, h in (("Explicit", 0.25), ("Implicit", 0.25), ("Implicit", 4.0), ("Circulant", 0.25)):
        layer = getattr(ksn.layers, f"{name}Diffusion2D")(step_size=h)
        layer.build((None, 16, 16, 1))
        layer.kernel.assign(stencil.reshape(layer.kernel.shape))
        maps[f"{name}Diffusion2D,\nh = {h:g}"] = _apply(layer, noisy)
    return _row(maps)


def linear_mix():
    """Convolution, stencil and LinearMix as matrices over positions and channels."""
    size, channels = 6, 4
    stencil = np.eye(size * channels, dtype=bool)
    for shift in (-1, 1):
        stencil |= np.kron(np.eye(channels, dtype=bool), np.eye(size, k=shift, dtype=bool))
    mix = np.kron(np.ones((channels, channels), bool), np.eye(size, dtype=bool))
    band = np.eye(size, dtype=bool) | np.eye(size, k=1, dtype=bool) | np.eye(size, k=-1, dtype=bool)
    full = np.kron(np.ones((channels, channels), bool), band)
    maps = {
        "Conv1D": full,
        "StencilConv1D, K": stencil,
        "1x1, M": mix,
        "LinearMixConv1D, K + M": stencil | mix,
    }
    return _row(maps)


def contraction():
    """The axes of the input, the neuron and the output."""
    figure, axes = plt.subplots(figsize=(7, 2.2))
    boxes = (
        (0, "input U", "a  b  c  d"),
        (3, "neuron W", "d  c  e  f"),
        (6, "output V", "a  b  e  f"),
    )
    for x, title, letters in boxes:
        axes.add_patch(plt.Rectangle((x, 0), 2, 1, fill=False))
        axes.text(x + 1, 0.5, letters, ha="center", va="center", fontsize=14)
        axes.text(x + 1, 1.1, title, ha="center")
    for x, sign in ((2.5, "x"), (5.5, "=")):
        axes.text(x, 0.5, sign, ha="center", va="center", fontsize=14)
    axes.annotate(
        "",
        (3.3, 0.3),
        (1.65, 0.3),
        arrowprops={"arrowstyle": "-", "connectionstyle": "arc3,rad=.35"},
    )
    axes.annotate(
        "",
        (3.7, 0.3),
        (1.2, 0.3),
        arrowprops={"arrowstyle": "-", "connectionstyle": "arc3,rad=.45"},
    )
    axes.text(2.5, -0.75, "contracted, the nearest pair first", ha="center")
    axes.set(xlim=(-0.2, 8.2), ylim=(-0.9, 1.4))
    axes.axis("off")
    return figure


def structure():
    """Twelve channels become two channels of structure (2, 3), and channels again."""
    figure, axes = plt.subplots(1, 2, figsize=(6, 2), width_ratios=(2, 1.2))
    numbers = np.arange(12)
    _cells(axes[0], numbers[None], "12 channels at one position")
    parts = numbers.reshape(2, 2, 3)
    gap = np.full((2, 1), -1)
    _cells(axes[1], np.hstack([parts[0], gap, parts[1]]), "2 channels of structure (2, 3)")
    return figure


def normalization():
    """The values of three channels before and after batch normalization."""
    channels = np.random.default_rng(0).normal((0, 3, 6), (0.5, 1, 2), (4000, 3)).astype("float32")
    after = keras.ops.convert_to_numpy(ksn.layers.BatchNormalization()(channels, training=True))
    figure, axes = plt.subplots(1, 2, figsize=(6, 2.2), sharey=True)
    for axis, values, title in zip(axes, (channels, after), ("inputs", "outputs"), strict=True):
        axis.hist(values, bins=60, histtype="step", density=True)
        axis.set(title=title, yticks=[])
        axis.spines[["top", "right", "left"]].set_visible(False)
    return figure


DRAWINGS = {
    "similarity": (
        similarity,
        "Similarity",
        "Similarity2D",
        "LinearSimilarity",
        "LinearSimilarity2D",
    ),
    "mex": (mex, "MEX"),
    "mex_pooling": (mex_pooling, "MEXPooling2D", "GlobalMEXPooling2D"),
    "diffusion": (diffusion, "ExplicitDiffusion2D", "ImplicitDiffusion2D", "CirculantDiffusion2D"),
    "linear_mix": (linear_mix, "StencilConv2D", "LinearMixConv2D", "CirculantConv2D"),
    "contraction": (contraction, "GConv2D"),
    "structure": (structure, "Structure", "Destructure"),
    "normalization": (normalization, "BatchNormalization"),
}  # name of the file: what draws it, and the layers that it is for


def checksum():
    """The checksum of this file, from which the pictures were drawn."""
    return hashlib.sha256(pathlib.Path(__file__).read_bytes()).hexdigest()


def _digit():
    """A handwritten digit, 16x16, 0..1."""
    return np.kron(load_digits().images[3] / 16, np.ones((2, 2)))


def _apply(layer, image):
    outputs = layer(np.asarray(image, "float32")[None, ..., None])
    return keras.ops.convert_to_numpy(outputs)[0, ..., 0]


def _row(maps):
    figure, axes = plt.subplots(1, len(maps), figsize=(1.9 * len(maps), 2.3), layout="constrained")
    for axis, (title, values) in zip(axes, maps.items(), strict=True):
        axis.imshow(values, cmap="gray_r")
        axis.set_title(title, fontsize=9)
        axis.set(xticks=[], yticks=[])
    return figure


def _cells(axes, numbers, title):
    for i, j in np.argwhere(numbers >= 0):
        axes.text(j, -i, str(numbers[i, j]), ha="center", va="center")
        axes.add_patch(plt.Rectangle((j - 0.5, -i - 0.5), 1, 1, fill=False))
    axes.set(xlim=(-0.7, numbers.shape[1] - 0.3), ylim=(-1.7, 0.7), title=title)
    axes.set_aspect("equal")
    axes.axis("off")


def main():
    """Draw all pictures."""
    mpl.use("agg")
    PICTURES.mkdir(exist_ok=True)
    for name, (draw, *_) in DRAWINGS.items():
        draw().savefig(PICTURES / f"{name}.png", dpi=110, bbox_inches="tight")
    layers = {layer: f"{name}.png" for name, (_, *layers) in DRAWINGS.items() for layer in layers}
    text = json.dumps({"source": checksum(), "layers": layers}, indent=1)
    INDEX.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
