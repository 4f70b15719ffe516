"""The catalogue: every public layer, in the settings that the tests run it with."""

import dataclasses
import zlib
from collections.abc import Callable

import keras
import numpy as np

import keras_structnets as ksn

LAYERS = [name for name in ksn.layers.__all__ if issubclass(vars(ksn.layers)[name], keras.Layer)]


@dataclasses.dataclass(frozen=True)
class Case:
    """One layer in one setting, and the reference that judges it.

    `reference(x, **weights)` takes the input and the layer's weights by name, all float64, and gives
    the output. `ranges` bounds the uniform values of "x" or of a weight; the default is (-1, 1).
    """

    name: str
    layer: str  # the class in keras_structnets.layers
    config: dict
    input_shape: tuple  # with the batch axis
    reference: Callable
    ranges: dict = dataclasses.field(default_factory=dict)
    missing: bool = False  # whether a third of the input is NaN

    def values(self, name, shape):
        """Values for "x", "cotangent" or a weight, representable in float32, the same in each process."""
        rng = np.random.default_rng(zlib.crc32(f"{self.name}/{name}".encode()))
        low, high = self.ranges.get(name, (-1.0, 1.0))
        values = rng.uniform(low, high, shape).astype("float32")
        if name == "x" and self.missing:
            values[rng.random(shape) < 1 / 3] = np.nan
        return values

    def __str__(self):
        return self.name


def catalogue():
    """Every case."""
    from tests.cases import gconv, lowcost, normalization, simnets

    cases = [*gconv.CASES, *lowcost.CASES, *normalization.CASES, *simnets.CASES]
    names = [case.name for case in cases]
    assert len(names) == len(set(names)), "two cases share a name"
    return cases
