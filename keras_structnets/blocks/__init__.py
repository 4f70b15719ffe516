"""Parts of networks, KerasTensor -> KerasTensor, composed of layers."""

from keras_structnets.blocks.gconv import (
    gconv_norm,
    gconv_prelu,
    gconv_skip_block,
    structured_classifier,
    structured_prelu,
)
from keras_structnets.blocks.lowcost import (
    circulant_rd_step,
    connecting_layer,
    explicit_rd_step,
    implicit_rd_step,
    linear_mix_step,
    mobilenet_step,
    opening_layer,
    resnet_step,
)
from keras_structnets.blocks.simnets import (
    mex_classifier,
    mlp_conv,
    normalization,
    whitened_similarity,
)

__all__ = [
    "circulant_rd_step",
    "connecting_layer",
    "explicit_rd_step",
    "gconv_norm",
    "gconv_prelu",
    "gconv_skip_block",
    "implicit_rd_step",
    "linear_mix_step",
    "mex_classifier",
    "mlp_conv",
    "mobilenet_step",
    "normalization",
    "opening_layer",
    "resnet_step",
    "structured_classifier",
    "structured_prelu",
    "whitened_similarity",
]
