"""Convolutions as the sum of a depthwise and a 1x1 one (Low-cost parameterizations, section 3.1)."""

import dataclasses
import math
from typing import Any

import keras
import numpy as np

from keras_structnets import layers
from keras_structnets.conversion.convolution import (
    Convolution,
    bias_of,
    chunks,
    convolution_of,
    in_two,
    rows,
    settings_of,
)
from keras_structnets.conversion.least_squares import Fit
from keras_structnets.conversion.registry import Options, Replacement, register


@register("linear_mix")
def linear_mix(layer: keras.layers.Layer, options: Options) -> Replacement | None:
    """`LinearMixConv` for a convolution with as many filters as channels, else a 1x1 and a depthwise one.

    The weights are the orthogonal projection of the kernel: its diagonal and its center; or, for other
    numbers of filters, the best matrix of rank 1 between the entries and the channels of each filter.
    With images they are the least-squares fit; of the pair, for the depthwise convolution.
    """
    whole = convolution_of(layer, options)
    if whole is None or math.prod(whole.kernel_size) == 1:
        return None
    if whole.channels[0] == whole.channels[1]:
        return _mixed(layer, whole)
    if whole.rank > 2 or len(set(whole.strides)) > 1:
        return None  # Keras has no such depthwise convolution
    return _in_two(layer, whole)


def _mixed(layer, whole):
    make = getattr(layers, f"LinearMixConv{whole.rank}D")
    window = (whole.kernel_size, whole.strides, whole.padding, whole.dilation_rate)
    regularizer = getattr(layer, "kernel_regularizer", None)
    regularizers = {"depthwise_regularizer": regularizer, "pointwise_regularizer": regularizer}
    new = make(whole.channels[1], *window, name=layer.name, **settings_of(layer) | regularizers)
    stencils, matrix = projection(whole.kernel, whole.center)
    bias = bias_of(layer)

    return Replacement(new, [stencils, matrix, *bias], _fit(whole, stencils, matrix, bias))


def projection(kernel: np.ndarray, center: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """The depthwise and the 1x1 kernel whose sum is closest; they share what both could hold."""
    stencils = np.einsum("...ii->...i", kernel).copy()
    matrix = kernel[center].copy()
    stencils[center] /= 2
    np.fill_diagonal(matrix, stencils[center])
    return stencils, matrix


def _fit(whole, stencils, matrix, bias):
    """Least squares for what the projection leaves; the centers of the stencils stay as they are."""
    masked = np.einsum("...i,ij->...ij", stencils, np.eye(len(matrix)))
    masked[whole.center] += matrix
    residual = dataclasses.replace(whole, kernel=whole.kernel - masked)
    middle = np.ravel_multi_index(whole.center, whole.kernel_size)

    def samples(x: np.ndarray) -> Any:
        for part in chunks(x, whole):
            seen = whole.windows(part)  # [entries, n, c]
            ones = np.ones((seen.shape[1], len(bias)))
            shared = np.concatenate([seen[middle], ones], axis=1)
            yield shared, np.delete(seen, middle, axis=0), rows(residual(part))

    def corrected(shared: np.ndarray, own: np.ndarray) -> list[np.ndarray]:
        step = np.insert(own, middle, 0.0, axis=0).reshape(stencils.shape)
        return [stencils + step, matrix + shared[: len(matrix)], *(b + shared[-1] for b in bias)]

    return Fit(samples, corrected)


def _in_two(layer, whole):
    size, (channels, filters) = whole.kernel_size, whole.channels
    of_filter = np.moveaxis(whole.kernel.reshape(-1, channels, filters), -1, 0)
    left, values, right = np.linalg.svd(of_filter, full_matrices=False)
    scale = np.sqrt(values[:, :1])  # [filters, 1]
    ones = (1,) * whole.rank
    pointwise = (right[:, 0] * scale).T.reshape(*ones, channels, filters)
    stencils = (left[:, :, 0] * scale).T.reshape(*size, filters)
    first = Convolution(pointwise, ones, "valid", ones)
    last = dataclasses.replace(whole, kernel=stencils, depthwise=True)
    return in_two(layer, whole, first, last, ("pointwise", "depthwise"))
