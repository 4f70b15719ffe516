"""The residual structures of GConvNets (Figure 3), on structured feature maps."""

import keras

from keras_structnets import checks, layers
from keras_structnets.signatures import Sizes, Tensor


def gconv_skip_block(
    x: Tensor,
    skips: int,
    channels: int = 1,
    structure: Sizes = (9, 9),
    kernel_size: Sizes = 3,
    strides: Sizes = 2,
) -> Tensor:
    """A chain of `skips + 1` generalized convolutions with a skip over every two of them.

    Skip `i` joins the input of convolution `i` to the output of convolution `i + 1`, after batch
    normalization and before PReLU. The first convolution and the projection of the first skip,
    whose input has another size, carry the strides. Block#1 of the paper has 3 skips and Block#2
    has 4. Its Figure 3 is known by its caption alone; this reading reproduces the printed numbers
    of parameters.

    Shapes: [b, h, w, m, *S] -> [b, ceil(h / strides), ceil(w / strides), channels, *structure].

    Args:
        x: a structured feature map.
        skips: number of skips, at least 1.
        channels: number of output channels of each convolution.
        structure: structure of each output.
        kernel_size: an integer, or two.
        strides: an integer, or two.

    Raises:
        ValueError: if a number is too small.

    Example:
        >>> x = ksn.layers.Structure((3, 1))(keras.Input((32, 32, 3)))
        >>> ksn.blocks.gconv_skip_block(x, skips=3, structure=(4, 4)).shape
        (None, 16, 16, 1, 4, 4)

    Reference: A generalized convolutional neural network for small dataset classification, Figure
    3.
    """
    checks.integer("gconv_skip_block", "skips", skips)
    size = (channels, structure, kernel_size)
    skip = gconv_prelu(x, *size, strides)
    x = gconv_prelu(x, *size, strides)
    for _ in range(skips):
        x, skip = structured_prelu(keras.layers.add([gconv_norm(x, *size), skip])), x
    return x


def gconv_prelu(
    x: Tensor, channels: int, structure: Sizes, kernel_size: Sizes, strides: Sizes = 1
) -> Tensor:
    """Generalized convolution, batch normalization, PReLU.

    Shapes: [b, h, w, m, *S] -> [b, h', w', channels, *structure].

    Args:
        x: a structured feature map.
        channels: number of output channels.
        structure: structure of the output.
        kernel_size: an integer, or two.
        strides: an integer, or two; the padding is "same".

    Example:
        >>> x = keras.Input((32, 32, 1, 3, 1))  # one channel of structure (3, 1)
        >>> ksn.blocks.gconv_prelu(x, channels=2, structure=(4, 4), kernel_size=3).shape
        (None, 32, 32, 2, 4, 4)
    """
    return structured_prelu(gconv_norm(x, channels, structure, kernel_size, strides))


def gconv_norm(
    x: Tensor, channels: int, structure: Sizes, kernel_size: Sizes, strides: Sizes = 1
) -> Tensor:
    """Generalized convolution without bias and batch normalization: `gconv_prelu` without PReLU.

    The normalization has one mean, variance, scale and offset for each structure element. Its
    moving averages forget at 0.1 a step: with Keras' 0.01 they lag behind in short runs.

    Shapes and arguments as in `gconv_prelu`.

    Example:
        >>> x = keras.Input((32, 32, 1, 3, 1))
        >>> ksn.blocks.gconv_norm(x, 2, structure=(4, 4), kernel_size=3, strides=2).shape
        (None, 16, 16, 2, 4, 4)
    """
    x = layers.GConv2D(
        channels, structure, kernel_size, strides=strides, padding="same", use_bias=False
    )(x)
    x = layers.Destructure()(x)
    x = layers.BatchNormalization(momentum=0.9)(x)
    return layers.Structure(structure)(x)


def structured_prelu(x: Tensor) -> Tensor:
    """PReLU with a slope for each structure element, 0.25 at first as in He et al. (2015).

    Shapes: [b, h, w, m, *S] -> the same; slopes [m, *S].

    Example:
        >>> y = ksn.blocks.structured_prelu(-np.ones((1, 8, 8, 2, 3, 3)))
        >>> keras.ops.convert_to_numpy(y).max().item()
        -0.25
    """
    slope = keras.initializers.Constant(0.25)
    return keras.layers.PReLU(slope, shared_axes=[1, 2])(x)
