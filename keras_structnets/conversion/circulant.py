"""Convolutions that are circulant in the channels (Low-cost parameterizations, eq. 12)."""

import math

import keras
import numpy as np

from keras_structnets import layers
from keras_structnets.conversion.convolution import bias_of, convolution_of, settings_of
from keras_structnets.conversion.graph import input_shape_of
from keras_structnets.conversion.registry import Options, Replacement, register


@register("circulant")
def circulant(layer: keras.layers.Layer, options: Options) -> Replacement | None:
    """`CirculantConv` for a convolution that keeps the shape of its images.

    The weights are the orthogonal projection: the mean kernel of each difference of channels.
    """
    whole = convolution_of(layer, options)
    shape = input_shape_of(layer)
    if whole is None or shape is None or None in shape[1:] or not _keeps_the_shape(whole):
        return None
    channels = np.arange(whole.channels[0])
    of_difference = np.stack([(channels + d) % len(channels) for d in channels])  # [d, filters]
    stencils = whole.kernel[..., of_difference, channels].mean(axis=-1)
    make = getattr(layers, f"CirculantConv{whole.rank}D")
    regularizer = {"kernel_regularizer": getattr(layer, "kernel_regularizer", None)}
    new = make(whole.kernel_size, name=layer.name, **settings_of(layer) | regularizer)
    return Replacement(new, [stencils, *bias_of(layer)])


def _keeps_the_shape(whole):
    same = whole.padding == "same" or math.prod(whole.kernel_size) == 1
    return same and max(*whole.strides, *whole.dilation_rate) == 1 == len(set(whole.channels))
