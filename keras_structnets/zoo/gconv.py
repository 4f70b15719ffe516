"""GConvNets: A generalized convolutional neural network for small dataset classification."""

from keras_structnets import blocks, layers
from keras_structnets.ranks import rank_of
from keras_structnets.zoo.papers import table_2
from keras_structnets.zoo.registry import RANKS, register


@register(
    "g_conv_net",
    paper="GConvNets",
    summary="four skip blocks of neurons that are 9x9 tensors",
    ranks=RANKS,
    **table_2("g_conv_net"),
)
def g_conv_net(x, *, structure=(9, 9), channels=4, skips=(3, 4, 3, 4)):
    """Table 1: Block#1, Block#2, Block#1, Block#2, then a generalized convolution, to be pooled.

    The image enters as one channel of structure (3, 1): [b, *spatial, 3] -> [b, *spatial / 16, 324].
    """
    rank = rank_of(x)
    x = layers.Structure((x.shape[-1], 1), name="structure")(x)
    for i, n in enumerate(skips, 1):
        x = blocks.gconv_skip_block(x, n, structure=structure, name=f"block{i}", rank=rank)
    x = blocks.gconv_prelu(x, channels, structure, kernel_size=3, name="convolution", rank=rank)
    return layers.Destructure(rank, name="destructure")(x)
