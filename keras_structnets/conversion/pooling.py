"""Pooling as MEX pooling, which learns how soft its maximum is."""

import re

import keras
import numpy as np

from keras_structnets import layers
from keras_structnets.conversion.graph import input_shape_of
from keras_structnets.conversion.registry import Options, Replacement, register

_POOLING = re.compile(r"(Global)?(Max|Average)Pooling([123])D")


@register("mex_pooling", saves=False)
def mex_pooling(layer: keras.layers.Layer, options: Options) -> Replacement | None:
    """MEX pooling with a learned beta, which starts at 0 for a mean and at `options.beta` for a maximum.

    The largest terms of a window differ from its MEX by at most log(n) / beta, n its size.
    """
    found = _POOLING.fullmatch(type(layer).__name__)
    if found is None or layer.data_format != "channels_last":
        return None
    is_global, kind, rank = found.groups()
    shape = input_shape_of(layer)
    if is_global and (shape is None or None in shape[1:-1]):
        return None  # of no known size
    if is_global:
        window = {"keepdims": layer.keepdims}
    else:
        names = ("pool_size", "strides", "padding")
        window = {name: getattr(layer, name) for name in names}
    make = getattr(layers, f"{'Global' if is_global else ''}MEXPooling{rank}D")
    beta = 0.0 if kind == "Average" else options.beta
    settings = {"name": layer.name, "dtype": layer.dtype_policy, "trainable": layer.trainable}
    return Replacement(make(beta=beta, **window, **settings), [np.array(beta)])
