"""Convert trained models: cheaper layers replace convolutions, and MEX pooling replaces pooling."""

from keras_structnets.conversion import circulant, linear_mix, low_rank, pooling, separable  # noqa: F401
from keras_structnets.conversion.model import convert
from keras_structnets.conversion.registry import (
    Options,
    Replacement,
    list_conversions,
    register,
)
from keras_structnets.conversion.report import ConvertedLayer, Report

__all__ = [
    "ConvertedLayer",
    "Options",
    "Replacement",
    "Report",
    "convert",
    "list_conversions",
    "register",
]
