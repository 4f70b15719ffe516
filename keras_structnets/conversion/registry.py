"""The conversions: registered functions of one layer."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np

from keras_structnets import checks


@dataclasses.dataclass(frozen=True)
class Options:
    """The options of a conversion.

    Attributes:
        min_channels: layers with fewer channels, in or out, are kept.
        budget: of `low_rank`, the share of a layer's parameters that it keeps.
        beta: of `mex_pooling`, the initial beta of maximum pooling.

    Example:
        >>> ksn.conversion.Options().budget
        0.5
    """

    min_channels: int = 8
    budget: float = 0.5
    beta: float = 1e6


@dataclasses.dataclass(frozen=True)
class Replacement:
    """A layer that replaces another one.

    Attributes:
        layer: of the same input and output shapes and the same name; not built yet.
        weights: for `layer.set_weights`.
        fit: None, or an object that finds better weights, with `add(x)`, for each batch of inputs of
            the old layer, and `weights()`.

    Example:
        >>> ksn.conversion.Replacement(keras.layers.ReLU(name="relu"), []).fit is None
        True
    """

    layer: keras.layers.Layer
    weights: Sequence[np.ndarray]
    fit: Any = None


Conversion = Callable[[keras.layers.Layer, Options], Replacement | None]
_CONVERSIONS: dict[str, Conversion] = {}
SAVING: set[str] = set()  # those that replace a layer only where parameters or FLOPs fall


def register(name: str, *, saves: bool = True) -> Callable[[Conversion], Conversion]:
    """Register a conversion: a function of a built layer and `Options`.

    It returns the `Replacement` of the layer, or None to keep it.

    Args:
        name: what `convert` knows it by.
        saves: whether `convert` drops replacements that save neither parameters nor FLOPs.

    Raises:
        ValueError: for a name that is taken.

    Example:
        >>> @ksn.conversion.register("relu_to_gelu", saves=False)
        ... def relu_to_gelu(layer, options):
        ...     if not isinstance(layer, keras.layers.ReLU):
        ...         return None
        ...     gelu = keras.layers.Activation("gelu", name=layer.name)
        ...     return ksn.conversion.Replacement(gelu, [])
        >>> model = keras.Sequential([keras.Input((4,)), keras.layers.ReLU(name="relu")])
        >>> converted, report = ksn.convert(model, to="relu_to_gelu")
        >>> converted.layers[0].activation.__name__
        'gelu'
    """

    def add(conversion: Conversion) -> Conversion:
        known = _CONVERSIONS.get(name)
        if known is not None and known.__qualname__ != conversion.__qualname__:
            raise ValueError(
                f"register: the conversion {name!r} exists already. Use another `name`; those taken "
                f"are {', '.join(list_conversions())}."
            )
        _CONVERSIONS[name] = conversion
        if saves:
            SAVING.add(name)
        return conversion

    return add


def list_conversions() -> list[str]:
    """The names of all conversions.

    Example:
        >>> "linear_mix" in ksn.conversion.list_conversions()
        True
    """
    return sorted(_CONVERSIONS)


def conversion_of(name: str) -> Conversion:
    """The conversion of that name."""
    return _CONVERSIONS[checks.one_of("convert", "to", name, list_conversions())]
