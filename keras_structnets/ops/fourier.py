"""Fourier transforms of real images as products with real matrices.

A transform is a chain of matrices, one per axis. It is an isometry: its inverse is its transpose.
Products of real matrices run in every precision and export to every format, where FFT operations do not.
Above 32 pixels along an axis a kernel of each backend uses its FFT.
"""

import math

import numpy as np
from keras import ops


def dft_matrices(shape):
    """Matrices of the isometric transform of real images with the axes `shape`.

    The last axis keeps the frequencies 0..n//2 only: the others follow, as the image is real, and
    count in the weights of these.
    """
    *others, last = shape
    return [
        *(_complex_matrix(n, np.arange(n)) / math.sqrt(n) for n in others),
        _real_matrix(last, np.arange(last)) * _half_weights(last)[:, None] / math.sqrt(last),
    ]


def stencil_matrices(stencil_shape, shape, centers):
    """Matrices that take a stencil to its unscaled spectrum on images with the axes `shape`.

    Entry `o` of a stencil stands at pixel `o - center`; where that is outside the image it wraps.
    """
    positions = [np.arange(k) - center for k, center in zip(stencil_shape, centers, strict=True)]
    return [
        *(_complex_matrix(n, p) for n, p in zip(shape[:-1], positions[:-1], strict=True)),
        _real_matrix(shape[-1], positions[-1]),
    ]


def transform(x, matrices):
    """Real images to spectra: [b, *positions, c] -> [b, 2, *frequencies, c], real part first."""
    channels = inner = x.shape[-1]
    for matrix in reversed(matrices):  # each product leaves (re, im) next to the axis before it
        x = ops.reshape(x, (-1, matrix.shape[1], inner))
        x = _product(matrix, x)  # [outer, 2 frequencies, inner]
        inner *= matrix.shape[0] // 2
    return ops.reshape(x, (-1, 2, *(m.shape[0] // 2 for m in matrices), channels))


def inverse(spectrum, matrices):
    """The transpose of `transform`: [b, 2, *frequencies, c] -> [b, *positions, c]."""
    channels = spectrum.shape[-1]
    inner, x = channels * math.prod(m.shape[0] // 2 for m in matrices), spectrum
    for matrix in matrices:
        inner //= matrix.shape[0] // 2
        x = ops.reshape(x, (-1, matrix.shape[0], inner))
        x = _product(matrix.T, x)  # [outer, positions, inner]
    positions = [*(m.shape[1] // 2 for m in matrices[:-1]), matrices[-1].shape[1]]
    return ops.reshape(x, (-1, *positions, channels))


def _product(matrix, x):
    """`matrix @ x` over the middle axis of [outer, n, inner]."""
    if x.shape[-1] == 1:  # one large product rather than many with a vector
        product = ops.matmul(ops.squeeze(x, -1), ops.convert_to_tensor(matrix.T, x.dtype))
        return ops.expand_dims(product, -1)
    return ops.matmul(ops.convert_to_tensor(matrix, x.dtype), x)


def _angles(n_frequencies, positions, size):
    """2 pi u p / size, reduced below 2 pi while still whole numbers: [n_frequencies, positions]."""
    return 2 * np.pi / size * (np.outer(np.arange(n_frequencies), positions) % size)


def _real_matrix(size, positions):
    """e^(-i angle) on real entries: rows (re, im) x frequencies, columns positions."""
    angles = _angles(size // 2 + 1, positions, size)
    return np.concatenate([np.cos(angles), -np.sin(angles)])


def _complex_matrix(size, positions):
    """e^(-i angle) on complex entries: rows 2 x frequencies, columns positions x 2."""
    angles = _angles(size, positions, size)
    cos, sin = np.cos(angles), np.sin(angles)
    blocks = [np.stack([cos, sin], -1), np.stack([-sin, cos], -1)]
    return np.concatenate(blocks).reshape(2 * size, 2 * len(positions))


def _half_weights(size):
    """Square root of how many frequencies each of 0..size//2 stands for; re, then im."""
    counts = np.full(size // 2 + 1, 2.0)
    counts[0] = 1
    if size % 2 == 0:
        counts[-1] = 1
    return np.sqrt(np.concatenate([counts, counts]))
