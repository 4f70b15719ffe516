"""Networks of Deep SimNets, and the networks it compares them with."""

import math
from typing import Any

import keras
from keras import initializers

from keras_structnets import checks, layers
from keras_structnets.blocks import mex_classifier, mlp_conv, normalization, whitened_similarity
from keras_structnets.layers import MEX, Similarity
from keras_structnets.ranks import of_rank, rank_of
from keras_structnets.zoo.registry import RANKS, register

PAPER = "Deep SimNets"
MAXIMUM, MEAN = float("inf"), 0.0  # beta of a fixed pooling
ONE_LAYER: dict[str, Any] = {
    "channels": (None,),
    "templates": 50,
    "kernel_size": 5,
    "padding": "valid",
}
THREE_LAYERS: dict[str, Any] = {
    "channels": (192, 192, 192),
    "kernel_size": (5, 5, 3),
    "local_beta": (MAXIMUM, MEAN),
}
SMALLEST_UNPADDED = 28  # height and width down to which convolutions do without padding


def _pooling(x, beta, padding="same", name=None, trainable=False):
    """Fixed pooling, size 3 and stride 2; the mean is the same on all backends, which Keras' is not."""
    if trainable and math.isinf(beta):
        raise ValueError(
            f"build: `local_beta` {beta} cannot be learned: its gradient is 0. Use for example "
            "local_beta=1.0, or trainable_local_beta=False."
        )
    pooling = of_rank(layers, "MEXPooling", rank_of(x))
    return pooling(3, 2, padding, beta=beta, trainable_beta=trainable, name=name)(x)


def _padding(x, padding):
    """None is "valid" where the image is large enough for it; a border of zeros costs accuracy."""
    if padding is not None:
        return padding
    return "valid" if min(x.shape[1:-1]) >= SMALLEST_UNPADDED else "same"


def _mex_head(x, num_classes, *, offset_stddev=4.0):
    offsets = initializers.RandomNormal(stddev=offset_stddev)
    return MEX(num_classes, offsets_initializer=offsets, name="logits")(x)


@register(
    "simnet_mlp",
    paper=PAPER,
    ranks=RANKS,
    summary="similarity and MEX on whole images (Figure 1a)",
    head=_mex_head,
)
def simnet_mlp(x, *, units=100, p=2.0, scale=8.0):
    """The similarity of all pixels to `units` templates: [b, *spatial, c] -> [b, units]."""
    x = keras.layers.Flatten(name="flatten")(x)
    return Similarity(
        units,
        p=p,
        templates_initializer=initializers.RandomNormal(stddev=1.0),
        similarity_weights_initializer=initializers.Constant(scale / x.shape[-1]),
        name="similarity",
    )(x)


@register(
    "simnet_mlpconv",
    paper=PAPER,
    ranks=RANKS,
    summary="similarity of patches without whitening, and MEX (Figure 1c)",
    head=mex_classifier,
    channels=(100,),
    kernel_size=5,
    whitening=False,
)
@register(
    "simnet_1layer_l1",
    paper=PAPER,
    ranks=RANKS,
    summary="one layer of whitened l1 similarity (Figure 2b)",
    head=mex_classifier,
    **ONE_LAYER,
    p=1.0,
)
@register(
    "simnet_1layer_l2",
    paper=PAPER,
    ranks=RANKS,
    summary="one layer of whitened l2 similarity (Figure 2b)",
    head=mex_classifier,
    **ONE_LAYER,
)
@register(
    "simnet_2layer",
    paper=PAPER,
    ranks=RANKS,
    summary="two layers of whitened l2 similarity (Table 1)",
    printed={10: "64.6K", 100: "70.3K"},
    printed_flops={10: "14.2M", 100: "14.6M"},
    printed_accuracy={"cifar10": 85.5, "cifar100": 54.6, "svhn": 93.8},
    head=mex_classifier,
    kernel_size=5,
    strides={"same": (1, 2), "valid": 1},  # 32-16-8, or without padding 28-13-9
)
@register(
    "simnet_3layer_compact",
    paper=PAPER,
    ranks=RANKS,
    summary="three layers of whitened l2 similarity, 10 channels each (section 6.4)",
    printed={10: "5K"},
    printed_flops={10: "3.5M"},
    printed_accuracy={"cifar10": 76.8},
    head=mex_classifier,
    **THREE_LAYERS | {"channels": (10, 10, 10)},
)
@register(
    "simnet_3layer",
    paper=PAPER,
    ranks=RANKS,
    summary="three layers of whitened l2 similarity (Table 2)",
    printed_accuracy={"cifar10": 92.18},
    head=mex_classifier,
    **THREE_LAYERS | {"noise": 0.5},
)
@register(
    "simnet",
    paper=PAPER,
    ranks=RANKS,
    summary="any number of layers of similarity, separated by MEX pooling (Figure 1d)",
    head=mex_classifier,
)
def simnet(
    x,
    *,
    channels=(32, 64),
    templates=None,
    kernel_size=3,
    strides=1,
    padding=None,
    similarity="lp",
    p=2.0,
    trainable_p=False,
    whitening=True,
    local_beta=MAXIMUM,
    trainable_local_beta=False,
    normalize=True,
    scale=4.0,
    selected=4,
    noise=0.0,
):
    """A layer of similarity for each of the `channels`, and MEX pooling between two (section 4.3).

    `templates`, `kernel_size`, `strides` and `p` are one value for all layers, or a sequence of one for
    each; `strides` also a dictionary of these for "same" and "valid". `local_beta` is one for all
    poolings, or one for each, None for no pooling. Channels of None are as many as a patch has entries,
    templates of None as many as channels. The other arguments are those of `whitened_similarity`.
    """
    padding = _padding(x, padding)
    layers_ = _settings(channels, templates, kernel_size, strides, p, padding)
    betas = [*_per_layer("local_beta", local_beta, len(layers_) - 1), None]
    options = {"padding": padding, "similarity": similarity, "trainable_p": trainable_p}
    options |= {"whitening": whitening, "normalize": normalize, "scale": scale}
    options |= {"selected": selected, "noise": noise}
    for i, (layer, beta) in enumerate(zip(layers_, betas, strict=True), 1):
        suffix = f"_{i}" if len(layers_) > 1 else ""
        if layer["filters"] is None:
            layer["filters"] = _entries(x, layer["kernel_size"])
        x = whitened_similarity(x, **layer, **options, name=f"similarity{suffix}")
        if beta is not None:
            x = _pooling(x, beta, padding, f"pooling{suffix}", trainable_local_beta)
        between = i < len(layers_) and (beta is not None or not whitening)
        if normalize and between:  # the next convolution can absorb it
            what = "pooling" if beta is not None else "similarity"
            x = normalization(f"{what}{suffix}_normalization")(x)
    return x


def _settings(channels, templates, kernel_size, strides, p, padding):
    """A dictionary of arguments for each layer."""
    if not isinstance(channels, (tuple, list)) or not channels:
        raise ValueError(
            f"build: `channels` must be a sequence of one number for each layer, got {channels!r}. "
            "Use for example channels=(32, 64)."
        )
    if isinstance(strides, dict):
        strides = strides[checks.one_of("build", "padding", padding, tuple(strides))]
    values = {"templates": templates, "kernel_size": kernel_size, "strides": strides, "p": p}
    columns = [_per_layer(name, value, len(channels)) for name, value in values.items()]
    rows = zip(channels, *columns, strict=True)
    return [dict(zip(("filters", *values), row, strict=True)) for row in rows]


def _per_layer(name, value, count):
    """One value for each of `count` layers."""
    values = list(value) if isinstance(value, (tuple, list)) else [value] * count
    if len(values) != count:
        raise ValueError(
            f"build: `{name}` must be one value or {count}, one for each layer or what lies between "
            f"two, got {value!r}. Use for example {name}={values[0] if values else 3!r}."
        )
    return values


def _entries(x, kernel_size):
    """Numbers in a patch, which the whitening does not reduce."""
    rank = rank_of(x)
    return math.prod(checks.integers("build", "kernel_size", kernel_size, rank)) * x.shape[-1]


def _flat_head(x, num_classes):
    x = keras.layers.Flatten(name="flatten")(x)
    return keras.layers.Dense(num_classes, name="logits")(x)


@register(
    "convnet_1layer",
    paper=PAPER,
    ranks=RANKS,
    summary="ConvNet with one layer, a baseline of SimNets (Figure 2a)",
    head=_flat_head,
)
def convnet_1layer(x, *, filters=50):
    """A convolution of size 5, and the maximum of each half: [b, h, w, c] -> [b, 2, 2, filters]."""
    rank = rank_of(x)
    x = of_rank(keras.layers, "Conv", rank)(filters, 5, activation="relu", name="convolution")(x)
    quadrant = [-(-n // 2) for n in x.shape[1:-1]]
    return of_rank(keras.layers, "MaxPooling", rank)(quadrant, padding="same", name="quadrants")(x)


def _caffe_head(x, num_classes):
    x = keras.layers.Flatten(name="flatten")(x)
    x = keras.layers.Dense(64, activation="relu", name="dense")(x)
    return keras.layers.Dense(num_classes, name="logits")(x)


@register(
    "caffe_convnet",
    paper=PAPER,
    ranks=RANKS,
    summary="Caffe's ConvNet for CIFAR-10 (Table 1)",
    printed={10: "145.6K", 100: "151.4K"},
    printed_flops={10: "24.8M", 100: "24.8M"},
    printed_accuracy={"cifar10": 81.1, "cifar100": 52.4, "svhn": 94.0},
    head=_caffe_head,
)
def caffe_convnet(x, *, filters=(32, 32, 64)):
    """Three 5x5 convolutions, each pooled by 3x3 with stride 2: 32x32 pixels -> 4x4."""
    conv = of_rank(keras.layers, "Conv", rank_of(x))
    for i, (width, beta) in enumerate(
        zip(_per_layer("filters", filters, 3), (MAXIMUM, MEAN, MEAN), strict=True), 1
    ):
        x = conv(width, 5, padding="same", activation="relu", name=f"convolution_{i}")(x)
        x = _pooling(x, beta, name=f"pooling_{i}")
    return x


def _nin_head(x, num_classes):
    rank = rank_of(x)
    x = of_rank(keras.layers, "Conv", rank)(num_classes, 1, name="scores")(x)
    return of_rank(keras.layers, "GlobalAveragePooling", rank)(name="logits")(x)


@register(
    "nin_compact",
    paper=PAPER,
    ranks=RANKS,
    summary="Network in Network, 10 channels each, no dropout (section 6.4)",
    printed={10: "5K"},
    printed_flops={10: "3.5M"},
    printed_accuracy={"cifar10": 72.3},
    head=_nin_head,
    widths=((10, 10, 10), (10, 10, 10), (10, 10)),
    dropout=0.0,
)
@register(
    "nin",
    paper=PAPER,
    ranks=RANKS,
    summary="Network in Network (Table 2)",
    printed_accuracy={"cifar10": 91.19},
    head=_nin_head,
)
def nin(x, *, widths=((192, 160, 96), (192, 192, 192), (192, 192)), dropout=0.5):
    """Three MLP convolutions; the last layer, to the classes, is linear and in the head."""
    first, second, third = _per_layer("widths", widths, 3)
    x = mlp_conv(x, first, 5, "mlp_1")
    x = _pooling(x, MAXIMUM, name="pooling_1")
    x = keras.layers.Dropout(dropout, name="dropout_1")(x) if dropout else x
    x = mlp_conv(x, second, 5, "mlp_2")
    x = _pooling(x, MEAN, name="pooling_2")
    x = keras.layers.Dropout(dropout, name="dropout_2")(x) if dropout else x
    return mlp_conv(x, third, 3, "mlp_3")
