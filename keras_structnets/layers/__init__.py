"""Keras layers of the three papers: weights and one call into `ops`."""

from keras_structnets.layers.circulant import (
    CirculantConv1D,
    CirculantConv2D,
    CirculantConv3D,
)
from keras_structnets.layers.diffusion import (
    CirculantDiffusion1D,
    CirculantDiffusion2D,
    CirculantDiffusion3D,
    ExplicitDiffusion1D,
    ExplicitDiffusion2D,
    ExplicitDiffusion3D,
    ImplicitDiffusion1D,
    ImplicitDiffusion2D,
    ImplicitDiffusion3D,
)
from keras_structnets.layers.gconv import (
    Destructure,
    GConv1D,
    GConv2D,
    GConv3D,
    Structure,
)
from keras_structnets.layers.lowcost import (
    LinearMixConv1D,
    LinearMixConv2D,
    LinearMixConv3D,
    StencilConv1D,
    StencilConv2D,
    StencilConv3D,
)
from keras_structnets.layers.mex import (
    MEX,
    GlobalMEXPooling1D,
    GlobalMEXPooling2D,
    GlobalMEXPooling3D,
    MEXPooling1D,
    MEXPooling2D,
    MEXPooling3D,
)
from keras_structnets.layers.normalization import (
    BatchNormalization,
)
from keras_structnets.layers.similarity import (
    LinearSimilarity,
    LinearSimilarity1D,
    LinearSimilarity2D,
    LinearSimilarity3D,
    Similarity,
    Similarity1D,
    Similarity2D,
    Similarity3D,
)

__all__ = [
    "MEX",
    "BatchNormalization",
    "CirculantConv1D",
    "CirculantConv2D",
    "CirculantConv3D",
    "CirculantDiffusion1D",
    "CirculantDiffusion2D",
    "CirculantDiffusion3D",
    "Destructure",
    "ExplicitDiffusion1D",
    "ExplicitDiffusion2D",
    "ExplicitDiffusion3D",
    "GConv1D",
    "GConv2D",
    "GConv3D",
    "GlobalMEXPooling1D",
    "GlobalMEXPooling2D",
    "GlobalMEXPooling3D",
    "ImplicitDiffusion1D",
    "ImplicitDiffusion2D",
    "ImplicitDiffusion3D",
    "LinearMixConv1D",
    "LinearMixConv2D",
    "LinearMixConv3D",
    "LinearSimilarity",
    "LinearSimilarity1D",
    "LinearSimilarity2D",
    "LinearSimilarity3D",
    "MEXPooling1D",
    "MEXPooling2D",
    "MEXPooling3D",
    "Similarity",
    "Similarity1D",
    "Similarity2D",
    "Similarity3D",
    "StencilConv1D",
    "StencilConv2D",
    "StencilConv3D",
    "Structure",
]
