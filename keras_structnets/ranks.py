"""Layers by the number of spatial axes: 1 for series, 2 for images, 3 for volumes."""

from types import ModuleType
from typing import Any

from keras_structnets.signatures import Tensor


def rank_of(x: Tensor) -> int:
    """Number of spatial axes of [b, *spatial, c]."""
    return len(x.shape) - 2


def of_rank(layers: ModuleType, name: str, rank: int) -> Any:
    """The class `name` of `layers` for `rank` spatial axes: "Conv" and 2 give Conv2D."""
    return getattr(layers, f"{name}{rank}D")
