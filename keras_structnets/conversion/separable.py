"""Convolutions as a depthwise one and a 1x1 one after it."""

import dataclasses
import math

import keras
import numpy as np

from keras_structnets.conversion.convolution import Convolution, convolution_of, in_two
from keras_structnets.conversion.registry import Options, Replacement, register


@register("separable")
def separable(layer: keras.layers.Layer, options: Options) -> Replacement | None:
    """A depthwise convolution and a 1x1 one: the best matrix of rank 1 for each input channel.

    With images the 1x1 convolution is the least-squares fit.
    """
    whole = convolution_of(layer, options)
    if whole is None or math.prod(whole.kernel_size) == 1:
        return None
    if whole.rank > 2 or len(set(whole.strides)) > 1:
        return None  # Keras has no such depthwise convolution
    channels, filters = whole.channels
    of_channel = np.moveaxis(whole.kernel.reshape(-1, channels, filters), 1, 0)
    left, values, right = np.linalg.svd(of_channel, full_matrices=False)
    scale = np.sqrt(values[:, :1])  # [channels, 1]
    ones = (1,) * whole.rank
    stencils = (left[:, :, 0] * scale).T.reshape(*whole.kernel_size, channels)
    matrix = (right[:, 0] * scale).reshape(*ones, channels, filters)
    first = dataclasses.replace(whole, kernel=stencils, depthwise=True)
    last = Convolution(matrix, ones, "valid", ones)
    return in_two(layer, whole, first, last, ("depthwise", "pointwise"))
