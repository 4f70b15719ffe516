"""The residual structures of GConvNets (Figure 3), on structured feature maps."""

import keras

from keras_structnets import checks, layers
from keras_structnets.blocks._names import part
from keras_structnets.ranks import of_rank
from keras_structnets.signatures import Sizes, Tensor

SMALLEST = 1e-6  # squared length: a tensor of zeros has a finite logit


def gconv_skip_block(
    x: Tensor,
    skips: int,
    filters: int = 1,
    structure: Sizes = (9, 9),
    kernel_size: Sizes = 3,
    strides: Sizes = 2,
    name: str | None = None,
    rank: int = 2,
) -> Tensor:
    """A chain of `skips + 1` generalized convolutions with a skip over every two of them.

    Skip `i` joins the input of convolution `i` to the output of convolution `i + 1`, after batch
    normalization and before PReLU. The first convolution and the projection of the first skip,
    whose input has another size, carry the strides. Block#1 of the paper has 3 skips and Block#2
    has 4. Its Figure 3 is known by its caption alone; this reading reproduces the printed numbers
    of parameters.

    Shapes: [b, *spatial, m, *S] -> [b, *ceil(spatial / strides), filters, *structure].

    Args:
        x: a structured feature map.
        skips: number of skips, at least 1.
        filters: number of output channels of each convolution.
        structure: structure of each output.
        kernel_size: an integer, or one for each spatial axis.
        strides: an integer, or one for each spatial axis.
        name: prefix of the layers' names.
        rank: number of spatial axes, which the input's shape alone does not tell.

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
    size = (filters, structure, kernel_size)
    skip = gconv_prelu(x, *size, strides, part(name, "projection"), rank)
    x = gconv_prelu(x, *size, strides, part(name, "convolution1"), rank)
    for i in range(2, skips + 2):
        y = gconv_norm(x, *size, name=part(name, f"convolution{i}"), rank=rank)
        y = keras.layers.Add(name=part(name, f"sum{i}"))([y, skip])
        x, skip = structured_prelu(y, part(name, f"prelu{i}"), rank), x
    return x


def gconv_prelu(
    x: Tensor,
    filters: int,
    structure: Sizes,
    kernel_size: Sizes,
    strides: Sizes = 1,
    name: str | None = None,
    rank: int = 2,
) -> Tensor:
    """Generalized convolution, batch normalization, PReLU.

    Shapes: [b, *spatial, m, *S] -> [b, *spatial', filters, *structure].

    Args:
        x: a structured feature map.
        filters: number of output channels.
        structure: structure of the output.
        kernel_size: an integer, or one for each spatial axis.
        strides: an integer, or one for each spatial axis; the padding is "same".
        name: prefix of the layers' names.
        rank: number of spatial axes, which the input's shape alone does not tell.

    Example:
        >>> x = keras.Input((32, 32, 1, 3, 1))  # one channel of structure (3, 1)
        >>> ksn.blocks.gconv_prelu(x, filters=2, structure=(4, 4), kernel_size=3).shape
        (None, 32, 32, 2, 4, 4)
    """
    x = gconv_norm(x, filters, structure, kernel_size, strides, name, rank)
    return structured_prelu(x, part(name, "prelu"), rank)


def gconv_norm(
    x: Tensor,
    filters: int,
    structure: Sizes,
    kernel_size: Sizes,
    strides: Sizes = 1,
    name: str | None = None,
    rank: int = 2,
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
    x = checks.tensor("gconv_norm", "x", x)
    conv = of_rank(layers, "GConv", checks.one_of("gconv_norm", "rank", rank, (1, 2, 3)))
    x = conv(filters, structure, kernel_size, strides, "same", use_bias=False, name=name)(x)
    x = layers.Destructure(rank, name=part(name, "destructure"))(x)
    x = layers.BatchNormalization(momentum=0.9, name=part(name, "normalization"))(x)
    return layers.Structure(structure, name=part(name, "structure"))(x)


def structured_prelu(x: Tensor, name: str | None = None, rank: int = 2) -> Tensor:
    """PReLU with a slope for each structure element, 0.25 at first as in He et al. (2015).

    Shapes: [b, *spatial, m, *S] -> the same, with `rank` spatial axes; slopes [m, *S].

    Example:
        >>> y = ksn.blocks.structured_prelu(-np.ones((1, 8, 8, 2, 3, 3)))
        >>> keras.ops.convert_to_numpy(y).max().item()
        -0.25
    """
    rank = checks.one_of("structured_prelu", "rank", rank, (1, 2, 3))
    x = checks.tensor("structured_prelu", "x", x, (..., *[None] * (rank + 1)))
    slope = keras.initializers.Constant(0.25)
    return keras.layers.PReLU(slope, shared_axes=list(range(1, rank + 1)), name=name)(x)


def structured_classifier(x: Tensor, num_classes: int, rank: int = 2) -> Tensor:
    """A tensor for each class, and the logarithm of its squared length: `log |V_k|^2`.

    `V_k` is the mean over positions of `sum_m U_m (x) W_mk`, where the neurons `W_mk` contract the last
    axis of the structure and make another of its size. With a structure (n, n) these are as many
    weights as a dense layer has. The sigmoid of the logit, `|V_k|^2 / (1 + |V_k|^2)`, is the squashed
    length of capsules.

    The layers are called `class_tensors` and `logits`.

    Shapes: [b, *spatial, m, *S] -> [b, num_classes].

    Args:
        x: a structured feature map.
        num_classes: number of classes.
        rank: number of spatial axes, which the input's shape alone does not tell.

    Raises:
        ValueError: for a number out of range, or an input without structure.

    Example:
        >>> x = keras.Input((2, 2, 4, 9, 9))
        >>> model = keras.Model(x, ksn.blocks.structured_classifier(x, num_classes=10))
        >>> model.output_shape, [tuple(w.shape) for w in model.weights]
        ((None, 10), [(1, 1, 4, 9, 10, 9)])

    Reference: A generalized convolutional neural network for small dataset classification, section
    3.2, and Sabour, Frosst and Hinton, Dynamic Routing Between Capsules, 2017, eq. 1.
    """
    owner = "structured_classifier"
    rank = checks.one_of(owner, "rank", rank, (1, 2, 3))
    x = checks.tensor(owner, "x", x, (..., *[None] * (rank + 3)))
    num_classes = checks.integer(owner, "num_classes", num_classes)
    conv, mean = of_rank(layers, "GConv", rank), of_rank(keras.layers, "GlobalAveragePooling", rank)
    options = {"contract": 1, "use_bias": False, "name": "class_tensors"}
    y = conv(num_classes, x.shape[-1:], 1, **options)(x)
    y = mean(name="global_pooling")(layers.Destructure(rank, name="destructured_classes")(y))
    y = keras.layers.Reshape((num_classes, -1), name="classes")(y)
    squared_length = keras.ops.sum(keras.ops.square(y), axis=-1)
    return keras.layers.Identity(name="logits")(keras.ops.log(squared_length + SMALLEST))
