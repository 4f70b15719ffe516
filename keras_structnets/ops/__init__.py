"""The maths of the three papers, as pure functions of tensors."""

from keras_structnets.ops.gconv import generalized_conv
from keras_structnets.ops.linear_mix import linear_mix_conv
from keras_structnets.ops.lowcost import (
    circulant_conv,
    circulant_diffusion,
    circulant_spectrum,
    depthwise_adjoint,
    depthwise_conv,
    explicit_diffusion,
    implicit_diffusion,
    stencil_spectrum,
)
from keras_structnets.ops.mex import global_mex_pool, mex, mex_pool
from keras_structnets.ops.similarity import linear_similarity, lp_similarity

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
