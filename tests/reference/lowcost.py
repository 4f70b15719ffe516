"""Low-cost parameterizations in float64: every operator as a dense matrix."""

import functools
import itertools
import math

import numpy as np


def stencil_matrix(stencil, spatial, padding):
    """The matrix of one channel: row p has stencil[o] in the column of pixel p + o - center."""
    return np.tensordot(stencil, shifts(stencil.shape, spatial, padding), stencil.ndim)


@functools.cache
def shifts(size, spatial, padding):
    """[*size, pixels, pixels]: which pixel (column) each entry brings to which (row)."""
    matrices = np.zeros((*size, *spatial, *spatial))
    for entry, pixel in itertools.product(np.ndindex(*size), np.ndindex(*spatial)):
        source = [p + o - _center(k, padding) for p, o, k in zip(pixel, entry, size, strict=True)]
        if padding == "periodic":
            source = [s % n for s, n in zip(source, spatial, strict=True)]
        if all(0 <= s < n for s, n in zip(source, spatial, strict=True)):
            matrices[(*entry, *pixel, *source)] = 1
    return matrices.reshape(*size, math.prod(spatial), math.prod(spatial))


def depthwise_matrix(kernel, spatial, padding):
    """Eq. 5, block diagonal, on images with the channel as the slowest axis."""
    return _blocks(
        kernel.shape[-1],
        lambda i, j: stencil_matrix(kernel[..., i], spatial, padding) if i == j else None,
        math.prod(spatial),
    )


def circulant_matrix(kernel, spatial, padding="periodic"):
    """Eq. 12: block (i, j) is the convolution with stencil (j - i) mod c."""
    c = kernel.shape[-1]
    return _blocks(
        c,
        lambda i, j: stencil_matrix(kernel[..., (j - i) % c], spatial, padding),
        math.prod(spatial),
    )


def circulant_conv(x, kernel, bias, padding):
    """The operator of eq. 12, with a bias."""
    return _apply(circulant_matrix(kernel, x.shape[1:-1], padding), x) + bias


def stencil_conv(x, kernel, padding):
    return _apply(depthwise_matrix(kernel, x.shape[1:-1], padding), x)


def linear_mix(x, depthwise_kernel, pointwise_kernel, padding):
    """Eq. 7, with M the Kronecker product of eq. 6."""
    size = math.prod(x.shape[1:-1])
    coupling = np.kron(pointwise_kernel.T, np.eye(size))
    return _apply(depthwise_matrix(depthwise_kernel, x.shape[1:-1], padding) + coupling, x)


def linear_mix_conv(
    x, depthwise_kernel, pointwise_kernel, bias=0.0, *, strides, padding, dilation_rate
):
    """Eq. 7 with the options of a convolution, by loops over windows."""
    size, filters = depthwise_kernel.shape[:-1], len(pointwise_kernel[0])
    axes = [
        _windows(*axis, padding)
        for axis in zip(x.shape[1:-1], size, strides, dilation_rate, strict=True)
    ]
    y = np.zeros((len(x), *(len(windows) for windows in axes), filters))
    for pixel in np.ndindex(*y.shape[1:-1]):
        window = [windows[i] for windows, i in zip(axes, pixel, strict=True)]
        for entry in np.ndindex(*size):
            source = [pixels[e] for pixels, e in zip(window, entry, strict=True)]
            if None in source:
                continue
            seen = x[(slice(None), *source)]  # [b, c]
            for j in range(filters):
                y[(slice(None), *pixel, j)] += (
                    depthwise_kernel[(*entry, j)] * seen[:, j % len(seen[0])]
                )
            if all(e == _center(k, padding) for e, k in zip(entry, size, strict=True)):
                y[(slice(None), *pixel)] += seen @ pointwise_kernel
    return y + bias


def _windows(n, k, stride, dilation, padding):
    """The pixels of each window along one axis, None outside of the image."""
    reach = (k - 1) * dilation + 1
    first, count = 0, (n - reach) // stride + 1
    if padding != "valid":
        count = -(-n // stride)
    if padding == "same":
        first = -(max((count - 1) * stride + reach - n, 0) // 2)
    if padding == "periodic":
        first = -(k // 2) * dilation
    windows = [[first + i * stride + e * dilation for e in range(k)] for i in range(count)]
    if padding == "periodic":
        return [[pixel % n for pixel in window] for window in windows]
    return [[pixel if 0 <= pixel < n else None for pixel in window] for window in windows]


def explicit_diffusion(x, kernel, step_size, padding):
    """The diffusion of eq. 9."""
    K = depthwise_matrix(kernel, x.shape[1:-1], padding)
    return _apply(np.eye(len(K)) - step_size * K.T @ K, x)


def implicit_diffusion(x, kernel, step_size):
    """The diffusion of eq. 11, by a dense solve."""
    K = depthwise_matrix(kernel, x.shape[1:-1], "periodic")
    return _solve(np.eye(len(K)) + step_size * K.T @ K, x)


def circulant_diffusion(x, kernel, step_size):
    """The diffusion of eq. 9 with the operator of eq. 12."""
    K = circulant_matrix(kernel, x.shape[1:-1])
    return _apply(np.eye(len(K)) - step_size * K.T @ K, x)


def _center(k, padding):
    return k // 2 if padding == "periodic" else (k - 1) // 2


def _blocks(c, block, size):
    matrix = np.zeros((c * size, c * size))
    for i, j in itertools.product(range(c), range(c)):
        filled = block(i, j)
        if filled is not None:
            matrix[i * size : (i + 1) * size, j * size : (j + 1) * size] = filled
    return matrix


def _apply(matrix, x):
    return _from_columns(matrix @ _to_columns(x), x.shape)


def _solve(matrix, x):
    return _from_columns(np.linalg.solve(matrix, _to_columns(x)), x.shape)


def _to_columns(x):
    """[b, *spatial, c] -> [c * pixels, b]."""
    return np.moveaxis(x, -1, 1).reshape(len(x), -1).T


def _from_columns(columns, shape):
    return np.moveaxis(columns.T.reshape(shape[0], shape[-1], *shape[1:-1]), 1, -1)
