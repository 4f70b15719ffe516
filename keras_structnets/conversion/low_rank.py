"""Convolutions of low rank: spatial SVD and channel SVD."""

import math

import keras
import numpy as np

from keras_structnets.conversion.convolution import Convolution, convolution_of, in_two
from keras_structnets.conversion.registry import Options, Replacement, register


@register("low_rank")
def low_rank(layer: keras.layers.Layer, options: Options) -> Replacement | None:
    """Two convolutions through fewer channels, as many as `options.budget` of the parameters allows.

    Channel SVD: a convolution to r channels and a 1x1 one. Spatial SVD, in 2-D: a column and a row,
    with r channels in between. The one that is closer to the kernel is taken. With images the second
    convolution is the least-squares fit.
    """
    whole = convolution_of(layer, options)
    if whole is None:
        return None
    pairs = [_by_channels(whole, options.budget)]
    if whole.rank == 2 and min(whole.kernel_size) > 1:
        pairs.append(_by_space(whole, options.budget))
    possible = [pair for pair in pairs if pair is not None]
    if not possible:
        return None
    _, first, last, names = min(possible, key=lambda pair: pair[0])
    return in_two(layer, whole, first, last, names)


def _by_channels(whole, budget):
    channels, filters = whole.channels
    matrix = whole.kernel.reshape(-1, filters)
    rank = int(budget * whole.kernel.size / sum(matrix.shape))
    if not 0 < rank < min(matrix.shape):
        return None
    error, left, right = _factors(matrix, rank)
    ones = (1,) * whole.rank
    window = (whole.strides, whole.padding, whole.dilation_rate)
    first = Convolution(left.reshape(*whole.kernel_size, channels, rank), *window)
    last = Convolution(right.reshape(*ones, rank, filters), ones, "valid", ones)
    return error, first, last, ("narrow", "wide")


def _by_space(whole, budget):
    (height, width), (channels, filters) = whole.kernel_size, whole.channels
    matrix = whole.kernel.transpose(0, 2, 1, 3).reshape(height * channels, width * filters)
    rank = int(budget * whole.kernel.size / sum(matrix.shape))
    if not 0 < rank < min(matrix.shape):
        return None
    error, left, right = _factors(matrix, rank)
    (down, across), (tall, wide) = whole.strides, whole.dilation_rate
    columns = left.reshape(height, 1, channels, rank)
    lines = right.reshape(rank, 1, width, filters).transpose(1, 2, 0, 3)
    first = Convolution(columns, (down, 1), whole.padding, (tall, 1))
    last = Convolution(lines, (1, across), whole.padding, (1, wide))
    return error, first, last, ("column", "row")


def _factors(matrix, rank):
    """(squared error, left, right) of the best product through `rank` numbers."""
    left, values, right = np.linalg.svd(matrix, full_matrices=False)
    scale = np.sqrt(values[:rank])
    error = math.fsum(values[rank:] ** 2)
    return error, left[:, :rank] * scale, scale[:, None] * right[:rank]
