"""Networks of Deep SimNets, and the networks it compares them with."""

from keras import initializers, layers

from keras_structnets.blocks import mex_classifier, mlp_conv, normalization, whitened_similarity
from keras_structnets.layers import MEX, MEXPooling2D, Similarity
from keras_structnets.zoo.registry import register

PAPER = "Deep SimNets"
MAXIMUM, MEAN = float("inf"), 0.0  # beta of a fixed pooling
SMALLEST_UNPADDED = 28  # height and width down to which convolutions do without padding


def _pooling(beta, padding="same", name=None):
    """Fixed 3x3 pooling with stride 2; the mean is the same on all backends, which Keras' is not."""
    return MEXPooling2D(3, 2, padding, beta=beta, trainable_beta=False, name=name)


def _pooled_similarity(x, beta, padding, normalize, name):
    """Pooled maps; normalized without parameters, which the next convolution can absorb."""
    x = _pooling(beta, padding, name=name)(x)
    return normalization(f"{name}_normalization")(x) if normalize else x


def _padding(x, padding):
    """None is "valid" where the image is large enough for it; a border of zeros costs accuracy."""
    if padding is not None:
        return padding
    return "valid" if min(x.shape[1:3]) >= SMALLEST_UNPADDED else "same"


def _mex_head(x, num_classes, *, offset_stddev=4.0):
    offsets = initializers.RandomNormal(stddev=offset_stddev)
    return MEX(num_classes, offsets_initializer=offsets, name="logits")(x)


@register(
    "simnet_mlp",
    paper=PAPER,
    summary="similarity and MEX on whole images (Figure 1a)",
    head=_mex_head,
)
def simnet_mlp(x, *, units=100, p=2.0, scale=8.0):
    """The similarity of all pixels to `units` templates: [b, h, w, c] -> [b, units]."""
    x = layers.Flatten(name="flatten")(x)
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
    summary="one layer of whitened l1 similarity (Figure 2b)",
    head=mex_classifier,
    p=1.0,
)
@register(
    "simnet_1layer_l2",
    paper=PAPER,
    summary="one layer of whitened l2 similarity (Figure 2b)",
    head=mex_classifier,
)
def simnet_1layer(x, *, templates=50, p=2.0, normalize=True, scale=4.0, selected=4):
    """Whitened similarity of 5x5 patches: [b, h, w, c] -> [b, h - 4, w - 4, templates]."""
    patch = 25 * x.shape[-1]  # not reduced by the whitening
    options = {"normalize": normalize, "scale": scale, "selected": selected}
    return whitened_similarity(x, patch, 5, templates=templates, padding="valid", p=p, **options)


def _flat_head(x, num_classes):
    x = layers.Flatten(name="flatten")(x)
    return layers.Dense(num_classes, name="logits")(x)


@register(
    "convnet_1layer",
    paper=PAPER,
    summary="the one-layer ConvNet that it compares with (Figure 2a)",
    head=_flat_head,
)
def convnet_1layer(x, *, filters=50):
    """A 5x5 convolution, and the maximum of each quadrant: [b, h, w, c] -> [b, 2, 2, filters]."""
    x = layers.Conv2D(filters, 5, activation="relu", name="convolution")(x)
    quadrant = [-(-n // 2) for n in x.shape[1:3]]
    return layers.MaxPooling2D(quadrant, padding="same", name="quadrants")(x)


@register(
    "simnet_2layer",
    paper=PAPER,
    summary="two layers of whitened l2 similarity (Table 1)",
    printed={10: "64.6K", 100: "70.3K"},
    printed_accuracy={"cifar10": 85.5, "cifar100": 54.6, "svhn": 93.8},
    head=mex_classifier,
)
def simnet_2layer(
    x, *, channels=(32, 64), padding=None, normalize=True, scale=4.0, selected=4, noise=0.0
):
    """Whitened similarity, 3x3 maxima, whitened similarity: [b, 32, 32, c] -> [b, 9, 9, 64]."""
    padding = _padding(x, padding)
    options = {"padding": padding, "normalize": normalize, "scale": scale}
    options |= {"selected": selected, "noise": noise}
    x = whitened_similarity(x, channels[0], 5, name="similarity_1", **options)
    x = _pooled_similarity(x, MAXIMUM, padding, normalize, "pooling_1")
    strides = 2 if padding == "same" else 1  # 32-16-8, or without padding 28-13-9
    return whitened_similarity(x, channels[1], 5, strides=strides, name="similarity_2", **options)


def _caffe_head(x, num_classes):
    x = layers.Flatten(name="flatten")(x)
    x = layers.Dense(64, activation="relu", name="dense")(x)
    return layers.Dense(num_classes, name="logits")(x)


@register(
    "caffe_convnet",
    paper=PAPER,
    summary="Caffe's ConvNet for CIFAR-10 (Table 1)",
    printed={10: "145.6K", 100: "151.4K"},
    printed_accuracy={"cifar10": 81.1, "cifar100": 52.4, "svhn": 94.0},
    head=_caffe_head,
)
def caffe_convnet(x, *, filters=(32, 32, 64)):
    """Three 5x5 convolutions, each pooled by 3x3 with stride 2: 32x32 pixels -> 4x4."""
    for i, (width, beta) in enumerate(zip(filters, (MAXIMUM, MEAN, MEAN), strict=True), 1):
        x = layers.Conv2D(width, 5, padding="same", activation="relu", name=f"convolution_{i}")(x)
        x = _pooling(beta, name=f"pooling_{i}")(x)
    return x


@register(
    "simnet_3layer_compact",
    paper=PAPER,
    summary="three layers of whitened l2 similarity, 10 channels each (section 6.4)",
    printed={10: "5K"},
    printed_accuracy={"cifar10": 76.8},
    head=mex_classifier,
    channels=(10, 10, 10),
)
@register(
    "simnet_3layer",
    paper=PAPER,
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
    x = layers.Conv2D(num_classes, 1, name="scores")(x)
    return layers.GlobalAveragePooling2D(name="logits")(x)


@register(
    "nin_compact",
    paper=PAPER,
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
    summary="Network in Network (Table 2)",
    printed_accuracy={"cifar10": 91.19},
    head=_nin_head,
)
def nin(x, *, widths=((192, 160, 96), (192, 192, 192), (192, 192)), dropout=0.5):
    """Three MLP convolutions; the last layer, to the classes, is linear and in the head."""
    x = mlp_conv(x, widths[0], 5, "mlp_1")
    x = _pooling(MAXIMUM, name="pooling_1")(x)
    x = layers.Dropout(dropout, name="dropout_1")(x) if dropout else x
    x = mlp_conv(x, widths[1], 5, "mlp_2")
    x = _pooling(MEAN, name="pooling_2")(x)
    x = layers.Dropout(dropout, name="dropout_2")(x) if dropout else x
    return mlp_conv(x, widths[2], 3, "mlp_3")
