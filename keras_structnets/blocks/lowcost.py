"""Steps of the low-cost networks, [b, h, w, c] -> [b, h, w, c], and the layer that connects them.

Throughout, `N` is batch normalization without scale and offset, which the paper's parameter counts
need, and no convolution has a bias. The moving averages of `N` follow at the rate of 0.1 a step.
"""

from keras import layers as keras_layers

from keras_structnets import layers
from keras_structnets.signatures import Sizes, Tensor


def normalize(x: Tensor) -> Tensor:
    """`N x`."""
    return layers.BatchNormalization(momentum=0.9, center=False, scale=False)(x)


def reaction(y: Tensor) -> Tensor:
    """`relu(N(M y))`, `M` a 1x1 convolution: the second term of eq. 8."""
    return keras_layers.ReLU()(normalize(_conv(y, 1)))


def resnet_step(y: Tensor, kernel_size: Sizes = 3) -> Tensor:
    """`y + K_2^T relu(N(K_1 y))`, eq. 1 and 3, `K_1` and `K_2` fully coupled.

    The adjoint of a convolution is one with the mirrored kernel: `K_2^T` is a convolution too.

    Shapes: [b, h, w, c] -> [b, h, w, c]. `kernel_size` is an integer or two.

    Example:
        >>> y = keras.Input((32, 32, 16))
        >>> model = keras.Model(y, ksn.blocks.resnet_step(y))
        >>> model.output_shape, [tuple(w.shape) for w in model.trainable_weights]
        ((None, 32, 32, 16), [(3, 3, 16, 16), (3, 3, 16, 16)])
    """
    x = keras_layers.ReLU()(normalize(_conv(y, kernel_size)))
    return y + _conv(x, kernel_size)


def mobilenet_step(y: Tensor, kernel_size: Sizes = 3) -> Tensor:
    """`relu(N(M relu(N(K y))))`, eq. 13, `K` depthwise.

    Shapes: [b, h, w, c] -> [b, h, w, c]. `kernel_size` is an integer or two.

    Example:
        >>> y = keras.Input((32, 32, 16))
        >>> model = keras.Model(y, ksn.blocks.mobilenet_step(y))
        >>> model.output_shape, [tuple(w.shape) for w in model.trainable_weights]
        ((None, 32, 32, 16), [(3, 3, 16), (1, 1, 16, 16)])
    """
    x = layers.StencilConv2D(kernel_size)(y)
    return reaction(keras_layers.ReLU()(normalize(x)))


def linear_mix_step(y: Tensor, kernel_size: Sizes = 3) -> Tensor:
    """`resnet_step` with the operators `K + M` of eq. 7.

    Shapes: [b, h, w, c] -> [b, h, w, c]. `kernel_size` is an integer or two.

    Example:
        >>> y = keras.Input((32, 32, 16))
        >>> model = keras.Model(y, ksn.blocks.linear_mix_step(y))
        >>> model.output_shape, [tuple(w.shape) for w in model.trainable_weights]
        ((None, 32, 32, 16), [(3, 3, 16), (16, 16), (3, 3, 16), (16, 16)])
    """
    x = keras_layers.ReLU()(normalize(layers.LinearMixConv2D(kernel_size)(y)))
    return y + layers.LinearMixConv2D(kernel_size)(x)


def explicit_rd_step(y: Tensor, kernel_size: Sizes = 3, step_size: float = 0.5) -> Tensor:
    """`y + h (-K^T K y + relu(N(M y)))`, eq. 9, `K` depthwise.

    Shapes: [b, h, w, c] -> [b, h, w, c]. `kernel_size` is an integer or two, `step_size` is `h`, above 0.

    Example:
        >>> y = keras.Input((32, 32, 16))
        >>> model = keras.Model(y, ksn.blocks.explicit_rd_step(y))
        >>> model.output_shape, [tuple(w.shape) for w in model.trainable_weights]
        ((None, 32, 32, 16), [(1, 1, 16, 16), (3, 3, 16)])
    """
    diffused = layers.ExplicitDiffusion2D(kernel_size, step_size)(y)
    return diffused + step_size * reaction(y)


def implicit_rd_step(y: Tensor, kernel_size: Sizes = 3, step_size: float = 0.5) -> Tensor:
    """`(I + h K^T K)^-1 (y + h relu(N(M y)))`, eq. 11, `K` depthwise and periodic.

    Shapes: [b, h, w, c] -> [b, h, w, c]. `kernel_size` is an integer or two, `step_size` is `h`, above 0.

    Example:
        >>> y = keras.Input((32, 32, 16))
        >>> model = keras.Model(y, ksn.blocks.implicit_rd_step(y))
        >>> model.output_shape, [tuple(w.shape) for w in model.trainable_weights]
        ((None, 32, 32, 16), [(1, 1, 16, 16), (3, 3, 16)])
    """
    return layers.ImplicitDiffusion2D(kernel_size, step_size)(y + step_size * reaction(y))


def circulant_rd_step(y: Tensor, kernel_size: Sizes = 3, step_size: float = 0.5) -> Tensor:
    """`y + h (-K^T K y + relu(N(M y)))`, eq. 9 with the block circulant `K` of eq. 12.

    Our addition is to keep `h K^T K` at most 1: without, networks at Adam's rate of 0.01 diverge.

    Shapes: [b, h, w, c] -> [b, h, w, c]. `kernel_size` is an integer or two, `step_size` is `h`, above 0.

    Example:
        >>> y = keras.Input((32, 32, 16))
        >>> model = keras.Model(y, ksn.blocks.circulant_rd_step(y))
        >>> model.output_shape, [tuple(w.shape) for w in model.trainable_weights]
        ((None, 32, 32, 16), [(1, 1, 16, 16), (3, 3, 16)])
    """
    stable = layers.StableCirculant(step_size, y.shape[1:-1])
    diffused = layers.CirculantDiffusion2D(kernel_size, step_size, kernel_constraint=stable)(y)
    return diffused + step_size * reaction(y)


def connecting_layer(x: Tensor, kernel_size: Sizes = 3) -> Tensor:
    """`N([x; K x])`, `K` depthwise, then 2x2 average pooling.

    Shapes: [b, h, w, c] -> [b, ceil(h/2), ceil(w/2), 2c].

    Example:
        >>> ksn.blocks.connecting_layer(keras.Input((32, 32, 16))).shape
        (None, 16, 16, 32)
    """
    x = keras_layers.Concatenate()([x, layers.StencilConv2D(kernel_size)(x)])
    mean = layers.MEXPooling2D(2, padding="same", beta=0.0, trainable_beta=False)
    return mean(normalize(x))


def opening_layer(x: Tensor, filters: int) -> Tensor:
    """`relu(N(K x))`, `K` a 5x5 convolution.

    Shapes: [b, h, w, c] -> [b, h, w, filters].

    Example:
        >>> ksn.blocks.opening_layer(keras.Input((32, 32, 3)), filters=16).shape
        (None, 32, 32, 16)
    """
    return keras_layers.ReLU()(normalize(_conv(x, 5, filters)))


def _conv(x, kernel_size, filters=None):
    filters = filters or x.shape[-1]
    conv = layers.GConv2D(
        filters, (), kernel_size, padding="same", use_bias=False, kernel_initializer="he_uniform"
    )
    return conv(x)
