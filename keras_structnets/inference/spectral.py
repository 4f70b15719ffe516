"""Filters of the frequencies of images as products of float32 matrices, on tensors of three axes."""

import numpy as np
from keras import ops

from keras_structnets.ops.fourier import dft_matrices


def spectral_filter(x, response, sizes, axes):
    """Multiply each frequency of real images [b, *sizes] by the real `response` to it.

    Shapes: x [b, *n, c]; response [*n, n_last // 2 + 1, c] as of `numpy.fft.rfftn` over the axes
    1..len(axes), without c where these take in the channels -> [b, *n, c].
    """
    matrices = [matrix.astype("float32") for matrix in dft_matrices([sizes[a - 1] for a in axes])]
    inner = 1 if len(axes) == len(sizes) else sizes[-1]
    for matrix in reversed(matrices):  # each product leaves (re, im) next to the axis before it
        x = _product(matrix, ops.reshape(x, (-1, matrix.shape[1], inner)), inner)
        inner *= matrix.shape[0] // 2
    half = ops.reshape(response, (1, 1, inner))
    x = ops.reshape(x, (-1, 2, inner)) * half
    for matrix in matrices:
        inner //= matrix.shape[0] // 2
        inverse = np.ascontiguousarray(matrix.T)
        x = _product(inverse, ops.reshape(x, (-1, matrix.shape[0], inner)), inner)
    return ops.reshape(x, (-1, *sizes))


def _product(matrix, x, inner):
    """`matrix @ x` over the middle axis of [outer, n, inner]."""
    if inner == 1:  # one large product rather than many with a vector
        product = ops.matmul(ops.reshape(x, (-1, matrix.shape[1])), ops.convert_to_tensor(matrix.T))
        return ops.reshape(product, (-1, matrix.shape[0], 1))
    return ops.matmul(ops.convert_to_tensor(matrix), x)
