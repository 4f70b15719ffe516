"""Steps of the low-cost networks, and the layer that connects them, for series, images and volumes.

Throughout, `N` is batch normalization without scale and offset, which the paper's parameter counts
need, and no convolution has a bias. The moving averages of `N` follow at the rate of 0.1 a step.
"""

from keras import layers as keras_layers

from keras_structnets import checks, layers
from keras_structnets.blocks._names import part
from keras_structnets.blocks.simnets import normalization
from keras_structnets.ranks import of_rank, rank_of
from keras_structnets.signatures import Sizes, Tensor

CONNECTIONS = ("depthwise", "pooled", "strided")


def reaction(y: Tensor, name: str | None = None) -> Tensor:
    """`relu(N(M y))`, `M` a 1x1 convolution: the second term of eq. 8."""
    return _norm_relu(_conv(y, 1, name), name)


def resnet_step(y: Tensor, kernel_size: Sizes = 3, name: str | None = None) -> Tensor:
    """`y + K_2^T relu(N(K_1 y))`, eq. 1 and 3, `K_1` and `K_2` fully coupled.

    The adjoint of a convolution is one with the mirrored kernel: `K_2^T` is a convolution too.

    Shapes: [b, *spatial, c] -> the same. `kernel_size` is an integer, or one for each spatial axis,
    `name` the prefix of the layers' names.

    Example:
        >>> y = keras.Input((32, 32, 16))
        >>> model = keras.Model(y, ksn.blocks.resnet_step(y))
        >>> model.output_shape, [tuple(w.shape) for w in model.trainable_weights]
        ((None, 32, 32, 16), [(3, 3, 16, 16), (3, 3, 16, 16)])
    """
    y = checks.image("resnet_step", "y", y)
    x = _norm_relu(_conv(y, kernel_size, part(name, "convolution1")), name)
    return y + _conv(x, kernel_size, part(name, "convolution2"))


def mobilenet_step(y: Tensor, kernel_size: Sizes = 3, name: str | None = None) -> Tensor:
    """`relu(N(M relu(N(K y))))`, eq. 13, `K` depthwise.

    Shapes: [b, *spatial, c] -> the same. `kernel_size` is an integer, or one for each spatial axis,
    `name` the prefix of the layers' names.

    Example:
        >>> y = keras.Input((32, 32, 16))
        >>> model = keras.Model(y, ksn.blocks.mobilenet_step(y))
        >>> model.output_shape, [tuple(w.shape) for w in model.trainable_weights]
        ((None, 32, 32, 16), [(3, 3, 16), (1, 1, 16, 16)])
    """
    y = checks.image("mobilenet_step", "y", y)
    depthwise = part(name, "depthwise")
    x = of_rank(layers, "StencilConv", rank_of(y))(kernel_size, name=depthwise)(y)
    return reaction(_norm_relu(x, depthwise), part(name, "pointwise"))


def linear_mix_step(y: Tensor, kernel_size: Sizes = 3, name: str | None = None) -> Tensor:
    """`resnet_step` with the operators `K + M` of eq. 7.

    Shapes: [b, *spatial, c] -> the same. `kernel_size` is an integer, or one for each spatial axis,
    `name` the prefix of the layers' names.

    Example:
        >>> y = keras.Input((32, 32, 16))
        >>> model = keras.Model(y, ksn.blocks.linear_mix_step(y))
        >>> model.output_shape, [tuple(w.shape) for w in model.trainable_weights]
        ((None, 32, 32, 16), [(3, 3, 16), (16, 16), (3, 3, 16), (16, 16)])
    """
    y = checks.image("linear_mix_step", "y", y)
    x = _norm_relu(_mix(y, kernel_size, part(name, "mix1")), name)
    return y + _mix(x, kernel_size, part(name, "mix2"))


def explicit_rd_step(
    y: Tensor,
    kernel_size: Sizes = 3,
    step_size: float = 0.5,
    name: str | None = None,
    bound: float | None = None,
) -> Tensor:
    """`y + h (-K^T K y + relu(N(M y)))`, eq. 9, `K` depthwise.

    Shapes: [b, *spatial, c] -> the same. `kernel_size` is an integer, or one for each spatial axis,
    `step_size` is `h`, above 0, `name` the prefix of the layers' names, `bound` as in `ExplicitDiffusion2D`.

    Example:
        >>> y = keras.Input((32, 32, 16))
        >>> model = keras.Model(y, ksn.blocks.explicit_rd_step(y))
        >>> model.output_shape, [tuple(w.shape) for w in model.trainable_weights]
        ((None, 32, 32, 16), [(1, 1, 16, 16), (3, 3, 16)])
    """
    y = checks.image("explicit_rd_step", "y", y)
    diffusion = of_rank(layers, "ExplicitDiffusion", rank_of(y))(
        kernel_size, step_size=step_size, bound=bound, name=part(name, "diffusion")
    )
    return diffusion(y) + step_size * reaction(y, part(name, "reaction"))


def implicit_rd_step(
    y: Tensor, kernel_size: Sizes = 3, step_size: float = 0.5, name: str | None = None
) -> Tensor:
    """`(I + h K^T K)^-1 (y + h relu(N(M y)))`, eq. 11, `K` depthwise and periodic.

    Shapes: [b, *spatial, c] -> the same. `kernel_size` is an integer, or one for each spatial axis,
    `step_size` is `h`, above 0, `name` the prefix of the layers' names.

    Example:
        >>> y = keras.Input((32, 32, 16))
        >>> model = keras.Model(y, ksn.blocks.implicit_rd_step(y))
        >>> model.output_shape, [tuple(w.shape) for w in model.trainable_weights]
        ((None, 32, 32, 16), [(1, 1, 16, 16), (3, 3, 16)])
    """
    y = checks.image("implicit_rd_step", "y", y)
    diffusion = of_rank(layers, "ImplicitDiffusion", rank_of(y))(
        kernel_size, step_size=step_size, name=part(name, "diffusion")
    )
    return diffusion(y + step_size * reaction(y, part(name, "reaction")))


def circulant_rd_step(
    y: Tensor,
    kernel_size: Sizes = 3,
    step_size: float = 0.5,
    name: str | None = None,
    bound: float | None = 1.0,
) -> Tensor:
    """`y + h (-K^T K y + relu(N(M y)))`, eq. 9 with the block circulant `K` of eq. 12.

    Not in the paper: the largest eigenvalue of `h K^T K` is bounded by 1. Without it, Adam at
    0.01 diverges.

    Shapes: [b, *spatial, c] -> the same. `kernel_size` is an integer, or one for each spatial axis,
    `step_size` is `h`, above 0, `name` the prefix of the layers' names, `bound` as in `CirculantDiffusion2D`.

    Example:
        >>> y = keras.Input((32, 32, 16))
        >>> model = keras.Model(y, ksn.blocks.circulant_rd_step(y))
        >>> model.output_shape, [tuple(w.shape) for w in model.trainable_weights]
        ((None, 32, 32, 16), [(1, 1, 16, 16), (3, 3, 16)])
    """
    y = checks.image("circulant_rd_step", "y", y)
    diffusion = of_rank(layers, "CirculantDiffusion", rank_of(y))(
        kernel_size, step_size=step_size, bound=bound, name=part(name, "diffusion")
    )
    return diffusion(y) + step_size * reaction(y, part(name, "reaction"))


def connecting_layer(
    x: Tensor, kernel_size: Sizes = 3, name: str | None = None, *, connection: str = "depthwise"
) -> Tensor:
    """Twice the channels on half the size, in one of three ways (section 4).

    "depthwise": `P N([x; K x])`, `K` depthwise, `P` average pooling of windows of size 2. "pooled":
    `P N(M x)`, `M` a 1x1 convolution. "strided": `N(M x)`, `M` with strides of 2.

    Shapes: [b, *spatial, c] -> [b, *ceil(spatial / 2), 2c].

    Args:
        x: feature maps.
        kernel_size: of `K`, an integer, or one for each spatial axis.
        name: prefix of the layers' names.
        connection: "depthwise", "pooled" or "strided".

    Raises:
        ValueError: for something else than feature maps, or an unknown connection.

    Example:
        >>> x = keras.Input((32, 32, 16))
        >>> ksn.blocks.connecting_layer(x).shape
        (None, 16, 16, 32)
        >>> model = keras.Model(x, ksn.blocks.connecting_layer(x, connection="strided"))
        >>> model.output_shape, [tuple(w.shape) for w in model.trainable_weights]
        ((None, 16, 16, 32), [(1, 1, 16, 32)])

    Reference: Low-cost parameterizations of deep convolutional neural networks, section 4.
    """
    x = checks.image("connecting_layer", "x", x)
    checks.one_of("connecting_layer", "connection", connection, CONNECTIONS)
    if connection == "depthwise":
        stencil = of_rank(layers, "StencilConv", rank_of(x))
        filtered = stencil(kernel_size, name=part(name, "depthwise"))(x)
        x = keras_layers.Concatenate(name=part(name, "concatenation"))([x, filtered])
    else:
        strides = 2 if connection == "strided" else 1
        x = _conv(x, 1, part(name, "pointwise"), 2 * x.shape[-1], strides)
    x = normalization(part(name, "normalization"))(x)
    if connection == "strided":
        return x
    pooling = of_rank(layers, "MEXPooling", rank_of(x))
    fixed_mean = {"beta": 0.0, "trainable_beta": False, "padding": "same"}
    return pooling(2, **fixed_mean, name=part(name, "pooling"))(x)


def opening_layer(x: Tensor, filters: int, name: str | None = None) -> Tensor:
    """`relu(N(K x))`, `K` a convolution of kernel size 5.

    Shapes: [b, *spatial, c] -> [b, *spatial, filters].

    Example:
        >>> ksn.blocks.opening_layer(keras.Input((32, 32, 3)), filters=16).shape
        (None, 32, 32, 16)
    """
    x = checks.image("opening_layer", "x", x)
    filters = checks.integer("opening_layer", "filters", filters)
    return _norm_relu(_conv(x, 5, name, filters), name)


def _norm_relu(x, name):
    x = normalization(part(name, "normalization"))(x)
    return keras_layers.ReLU(name=part(name, "relu"))(x)


def _mix(x, kernel_size, name):
    mix = of_rank(layers, "LinearMixConv", rank_of(x))(
        x.shape[-1], kernel_size, padding="same", use_bias=False, name=name
    )
    return mix(x)


def _conv(x, kernel_size, name, filters=None, strides=1):
    conv = of_rank(layers, "GConv", rank_of(x))(
        filters or x.shape[-1],
        (),
        kernel_size,
        strides,
        padding="same",
        use_bias=False,
        kernel_initializer="he_uniform",
        name=name,
    )
    return conv(x)
