"""Diagrams of the papers' networks, drawn from the models: `python -m tests.diagrams` writes docs/pictures/.

A box for each layer from top to bottom, with the shape of its output; an arc where a layer takes what
another than the one above it made.
"""

import re

import keras
import matplotlib as mpl
from matplotlib import pyplot as plt

import keras_structnets as ksn
from tests.pictures import PICTURES

HIDDEN = ("Structure", "Destructure", "BatchNormalization", "PReLU", "Activation", "Rescaling")
WORDS = {
    "InputLayer": "input",
    "GConv": "generalized convolution",
    "Conv": "convolution",
    "Similarity": "similarity",
    "MEX": "MEX with offsets",
    "MEXPooling": "MEX pooling",
    "GlobalMEXPooling": "global MEX pooling",
    "MaxPooling": "maximum pooling",
    "Dense": "dense",
    "Flatten": "vector",
    "Add": "sum",
}


def gconv_blocks():
    """GConvNets, Figure 3: blocks of three and of four skips, as the library reads them."""
    panels = {}
    for skips in (3, 4):
        x = keras.Input((32, 32, 1, 3, 1))
        y = ksn.blocks.gconv_skip_block(x, skips)
        panels[f"Block#{skips - 2}: {skips} skips"] = keras.Model(x, y)
    return _figure(panels)


def simnets_figure1():
    """Deep SimNets, Figure 1: a SimNet MLP, a whitened similarity, a SimNet MLPConv, and L layers."""
    x = keras.Input((32, 32, 3))
    whitened = keras.Model(x, ksn.blocks.whitened_similarity(x, 50, 5, templates=100))
    panels = {
        "(a) SimNet MLP": ksn.zoo.build("simnet_mlp"),
        "(b) whitened similarity": whitened,
        "(c) SimNet MLPConv": ksn.zoo.build("simnet_mlpconv"),
        "(d) L = 2 layers": ksn.zoo.build("simnet", channels=(32, 64)),
    }
    return _figure(panels)


def simnets_figure2():
    """Deep SimNets, Figure 2 (a) and (c): the ConvNets that it compares with."""
    names = {"(a) one layer, n = 50": "convnet_1layer", "(c) Caffe's": "caffe_convnet"}
    return _figure({title: ksn.zoo.build(name) for title, name in names.items()})


DIAGRAMS = (gconv_blocks, simnets_figure1, simnets_figure2)


def boxes_of(model):
    """The layers that are shown, and (from, to) of what is passed between them, by number."""
    shown = [layer for layer in model.layers if type(layer).__name__ not in HIDDEN]
    made_by = {id(layer.output): layer for layer in model.layers}
    edges = [
        (shown.index(source), i)
        for i, layer in enumerate(shown)
        for tensor in keras.tree.flatten(layer.input)
        for source in [_shown_source(tensor, made_by, shown)]
        if source is not layer
    ]
    return shown, edges


def _shown_source(tensor, made_by, shown):
    layer = made_by[id(tensor)]
    while layer not in shown:
        layer = made_by[id(layer.input)]
    return layer


def text_of(layer):
    """What a layer does, and the shape of what it makes."""
    kind = re.sub(r"\dD$", "", type(layer).__name__)
    words = WORDS.get(kind, kind)
    size = getattr(layer, "kernel_size", None) or getattr(layer, "pool_size", None)
    if size and set(size) != {1}:
        words += f" {'x'.join(map(str, size))}"
    strides = set(getattr(layer, "strides", (1,)))
    words += f" / {max(strides)}" if max(strides) > 1 else ""
    if not getattr(layer, "trainable_beta", True):
        words += f", beta = {layer.initial_beta:g}"
    return f"{words}\n{' x '.join(map(str, layer.output.shape[1:]))}"


def _figure(panels):
    models = {title: boxes_of(model) for title, model in panels.items()}
    longest = max(len(shown) for shown, _ in models.values())
    size = (3 * len(panels), 0.75 * longest + 0.5)
    figure, axes = plt.subplots(1, len(panels), figsize=size, layout="constrained")
    for axis, (title, (shown, edges)) in zip(axes, models.items(), strict=True):
        box = {"boxstyle": "round", "facecolor": "white", "edgecolor": "0.4"}
        for i, layer in enumerate(shown):
            axis.text(0, -i, text_of(layer), ha="center", va="center", fontsize=8, bbox=box)
        for start, end in edges:
            _arrow(axis, start, end)
        axis.set(title=title, xlim=(-1, 1.5), ylim=(0.5 - longest, 0.5))
        axis.axis("off")
    return figure


def _arrow(axis, start, end):
    """Straight down to the next box, and around the boxes between to another."""
    style = {"arrowstyle": "->", "color": "0.4"}
    if end == start + 1:
        axis.annotate("", (0, -end + 0.28), (0, -start - 0.28), arrowprops=style)
        return
    style["connectionstyle"] = "arc3,rad=-0.4"
    axis.annotate("", (0.75, -end), (0.75, -start), arrowprops=style)


def main():
    """Draw all diagrams."""
    mpl.use("agg")
    for draw in DIAGRAMS:
        draw().savefig(PICTURES / f"{draw.__name__}.png", dpi=110)


if __name__ == "__main__":
    main()
