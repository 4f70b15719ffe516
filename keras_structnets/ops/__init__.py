"""The maths of the three papers, as pure functions of tensors."""

from keras_structnets.ops.gconv import generalized_conv
from keras_structnets.ops.lowcost import (
    circulant_conv,
    circulant_diffusion,
    circulant_spectrum,
    depthwise_adjoint,
    depthwise_conv,
    explicit_diffusion,
    implicit_diffusion,
    linear_mix_conv,
    stencil_spectrum,
)
from keras_structnets.ops.simnets import (
    global_mex_pool,
    linear_similarity,
    lp_similarity,
    mex,
    mex_pool,
)

__all__ = [
    "circulant_conv",
    "circulant_diffusion",
    "circulant_spectrum",
    "depthwise_adjoint",
    "depthwise_conv",
    "explicit_diffusion",
    "generalized_conv",
    "global_mex_pool",
    "implicit_diffusion",
    "linear_mix_conv",
    "linear_similarity",
    "lp_similarity",
    "mex",
    "mex_pool",
    "stencil_spectrum",
]
