"""GConvNets: A generalized convolutional neural network for small dataset classification."""

from keras_structnets import blocks, checks, layers
from keras_structnets.ranks import rank_of
from keras_structnets.zoo.heads import dense_head
from keras_structnets.zoo.papers import table_2
from keras_structnets.zoo.registry import RANKS, register


def _head(x, num_classes, *, head="dense", structure=(9, 9)):
    """A dense layer on the mean over positions, or a tensor for each class."""
    if checks.one_of("build", "head", head, ("dense", "structured")) == "dense":
        return dense_head(x, num_classes)
    last = structure[-1] if _is_one_each(structure) else structure
    rank = rank_of(x)
    x = layers.Structure(last, name="restructure")(x)
    return blocks.structured_classifier(x, num_classes, rank)


@register(
    "g_conv_net",
    paper="GConvNets",
    summary="four skip blocks of neurons that are 9x9 tensors",
    head=_head,
    ranks=RANKS,
    **table_2("g_conv_net"),
)
def g_conv_net(x, *, structure=(9, 9), channels=4, skips=(3, 4, 3, 4)):
    """Table 1: Block#1, Block#2, Block#1, Block#2, then a generalized convolution, to be pooled.

    The image enters as one channel of structure (3, 1): [b, *spatial, 3] -> [b, *spatial / 16, 324].
    `structure` is that of all blocks, or a sequence of one for each block and the last convolution.
    """
    *inner, last = _structures(structure, len(skips) + 1)
    rank = rank_of(x)
    x = layers.Structure((x.shape[-1], 1), name="structure")(x)
    for i, (n, inside) in enumerate(zip(skips, inner, strict=True), 1):
        x = blocks.gconv_skip_block(x, n, structure=inside, name=f"block{i}", rank=rank)
    x = blocks.gconv_prelu(x, channels, last, kernel_size=3, name="convolution", rank=rank)
    return layers.Destructure(rank, name="destructure")(x)


def _is_one_each(structure):
    """Whether `structure` is a sequence of structures."""
    return isinstance(structure, (tuple, list)) and any(
        isinstance(part, (tuple, list)) for part in structure
    )


def _structures(structure, count):
    """`count` structures."""
    if not _is_one_each(structure):
        return [structure] * count
    if len(structure) != count:
        raise ValueError(
            f"build: `structure` must be one structure, or {count} of them for {count - 1} blocks and "
            f"the last convolution, got {len(structure)}: {structure!r}. Use for example structure=(9, 9)."
        )
    return [checks.structure("build", "structure", part) for part in structure]
