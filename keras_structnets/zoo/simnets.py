"""Networks of Deep SimNets, and the networks it compares them with."""

import keras
from keras import initializers

from keras_structnets import layers
from keras_structnets.blocks import mex_classifier, mlp_conv, normalization, whitened_similarity
from keras_structnets.layers import MEX, Similarity
from keras_structnets.ranks import of_rank, rank_of
from keras_structnets.zoo.registry import RANKS, register

PAPER = "Deep SimNets"
MAXIMUM, MEAN = float("inf"), 0.0  # beta of a fixed pooling
SMALLEST_UNPADDED = 28  # height and width down to which convolutions do without padding


def _pooling(x, beta, padding="same", name=None):
    """Fixed pooling, size 3 and stride 2; the mean is the same on all backends, which Keras' is not."""
    pooling = of_rank(layers, "MEXPooling", rank_of(x))
    return pooling(3, 2, padding, beta=beta, trainable_beta=False, name=name)(x)


def _pooled_similarity(x, beta, padding, normalize, name):
    """Pooled maps; normalized without parameters, which the next convolution can absorb."""
    x = _pooling(x, beta, padding, name=name)
    return normalization(f"{name}_normalization")(x) if normalize else x


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
    "simnet_1layer_l1",
    paper=PAPER,
    ranks=RANKS,
    summary="one layer of whitened l1 similarity (Figure 2b)",
    head=mex_classifier,
    p=1.0,
)
@register(
    "simnet_1layer_l2",
    paper=PAPER,
    ranks=RANKS,
    summary="one layer of whitened l2 similarity (Figure 2b)",
    head=mex_classifier,
)
def simnet_1layer(x, *, templates=50, p=2.0, normalize=True, scale=4.0, selected=4):
    """Whitened similarity of patches of size 5: [b, *spatial, c] -> [b, *spatial - 4, templates]."""
    patch = 5 ** rank_of(x) * x.shape[-1]  # not reduced by the whitening
    options = {"normalize": normalize, "scale": scale, "selected": selected}
    return whitened_similarity(x, patch, 5, templates=templates, padding="valid", p=p, **options)


def _flat_head(x, num_classes):
    x = keras.layers.Flatten(name="flatten")(x)
    return keras.layers.Dense(num_classes, name="logits")(x)


@register(
    "convnet_1layer",
    paper=PAPER,
    ranks=RANKS,
    summary="the one-layer ConvNet that it compares with (Figure 2a)",
    head=_flat_head,
)
def convnet_1layer(x, *, filters=50):
    """A convolution of size 5, and the maximum of each half: [b, h, w, c] -> [b, 2, 2, filters]."""
    rank = rank_of(x)
    x = of_rank(keras.layers, "Conv", rank)(filters, 5, activation="relu", name="convolution")(x)
    quadrant = [-(-n // 2) for n in x.shape[1:-1]]
    return of_rank(keras.layers, "MaxPooling", rank)(quadrant, padding="same", name="quadrants")(x)


@register(
    "simnet_2layer",
    paper=PAPER,
    ranks=RANKS,
    summary="two layers of whitened l2 similarity (Table 1)",
    printed={10: "64.6K", 100: "70.3K"},
    printed_accuracy={"cifar10": 85.5, "cifar100": 54.6, "svhn": 93.8},
    head=mex_classifier,
)
def simnet_2layer(
    x, *, channels=(32, 64), padding=None, normalize=True, scale=4.0, selected=4, noise=0.0
):
    """Whitened similarity, 3x3 maxima, whitened similarity: 32x32 pixels -> 9x9."""
    padding = _padding(x, padding)
    options = {"padding": padding, "normalize": normalize, "scale": scale}
    options |= {"selected": selected, "noise": noise}
    x = whitened_similarity(x, channels[0], 5, name="similarity_1", **options)
    x = _pooled_similarity(x, MAXIMUM, padding, normalize, "pooling_1")
    strides = 2 if padding == "same" else 1  # 32-16-8, or without padding 28-13-9
    return whitened_similarity(x, channels[1], 5, strides=strides, name="similarity_2", **options)


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
    printed_accuracy={"cifar10": 81.1, "cifar100": 52.4, "svhn": 94.0},
    head=_caffe_head,
)
def caffe_convnet(x, *, filters=(32, 32, 64)):
    """Three 5x5 convolutions, each pooled by 3x3 with stride 2: 32x32 pixels -> 4x4."""
    conv = of_rank(keras.layers, "Conv", rank_of(x))
    for i, (width, beta) in enumerate(zip(filters, (MAXIMUM, MEAN, MEAN), strict=True), 1):
        x = conv(width, 5, padding="same", activation="relu", name=f"convolution_{i}")(x)
        x = _pooling(x, beta, name=f"pooling_{i}")
    return x


@register(
    "simnet_3layer_compact",
    paper=PAPER,
    ranks=RANKS,
    summary="three layers of whitened l2 similarity, 10 channels each (section 6.4)",
    printed={10: "5K"},
    printed_accuracy={"cifar10": 76.8},
    head=mex_classifier,
    channels=(10, 10, 10),
)
@register(
    "simnet_3layer",
    paper=PAPER,
    ranks=RANKS,
    summary="three layers of whitened l2 similarity (Table 2)",
    printed_accuracy={"cifar10": 92.18},
    head=mex_classifier,
)
def simnet_3layer(
    x, *, channels=(192, 192, 192), padding=None, normalize=True, scale=4.0, selected=4, noise=0.0
):
    """Three whitened similarities, the first pooled by maxima, the second by means."""
    padding = _padding(x, padding)
    options = {"padding": padding, "normalize": normalize, "scale": scale}
    options |= {"selected": selected, "noise": noise}
    for i, (width, size, beta) in enumerate(
        zip(channels, (5, 5, 3), (MAXIMUM, MEAN, None), strict=True), 1
    ):
        x = whitened_similarity(x, width, size, name=f"similarity_{i}", **options)
        if beta is not None:
            x = _pooled_similarity(x, beta, padding, normalize, f"pooling_{i}")
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
    x = mlp_conv(x, widths[0], 5, "mlp_1")
    x = _pooling(x, MAXIMUM, name="pooling_1")
    x = keras.layers.Dropout(dropout, name="dropout_1")(x) if dropout else x
    x = mlp_conv(x, widths[1], 5, "mlp_2")
    x = _pooling(x, MEAN, name="pooling_2")
    x = keras.layers.Dropout(dropout, name="dropout_2")(x) if dropout else x
    return mlp_conv(x, widths[2], 3, "mlp_3")
