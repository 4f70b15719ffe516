"""Convolution with 3x3 kernels by Winograd's minimal filtering: fewer products of matrices.

`Y = A' ((G K G') * (B' X B)) A` is 2x2 pixels of the output, `X` the 4x4 pixels of the input that they
see, `K` the kernel, and `*` a product of matrices over the channels for each of 4x4 entries: 16
products where the sum over the kernel has 36. Lavin and Gray, Fast algorithms for convolutional neural
networks, 2016, section 4.1.
"""

import math

from keras import ops

from keras_structnets.ops.patches import interleaved

_B = ((1, 0, -1, 0), (0, 1, 1, 0), (0, -1, 1, 0), (0, 1, 0, -1))
_G = ((1, 0, 0), (0.5, 0.5, 0.5), (0.5, -0.5, 0.5), (0, 0, 1))
_A = ((1, 1, 1, 0), (0, 1, -1, -1))
_PIXELS = 8192  # of a piece: what is made of them fits into the cache


def winograd_conv(x, kernel, padding):
    """Convolution of images of known size with a 3x3 kernel; it has no forward-mode derivative.

    NaN and infinity spread to all of the 2x2 pixels that are made at once.

    Args:
        x: [b, h, w, c].
        kernel: [3, 3, c, c'].
        padding: "same" or "valid".

    Returns:
        [b, h, w, c'], or [b, h - 2, w - 2, c'] for "valid".
    """
    border = int(padding == "same")

    @ops.custom_gradient
    def conv(x, kernel):
        def gradients(*args, upstream=None):
            g = args[-1] if upstream is None else upstream
            mirrored = ops.swapaxes(ops.flip(kernel, (0, 1)), 2, 3)
            return _conv(g, mirrored, 2 - border), _kernel_gradient(x, g, border)

        return _conv(x, kernel, border), gradients

    return conv(x, kernel)


def in_pieces(f, *images):
    """`f` of a few images at a time, [n, ...] -> what it returns, stacked along a new first axis."""
    n, *size, _ = images[0].shape
    few = max(
        d for d in range(1, n + 1) if n % d == 0 and (d == 1 or d * math.prod(size) <= _PIXELS)
    )
    pieces = tuple(ops.reshape(x, (n // few, few, *x.shape[1:])) for x in images)
    return ops.map(lambda piece: f(*piece), pieces)


def _conv(x, kernel, border):
    matrices = ops.einsum("ai,bj,ijck->abck", *_constants(_G, _G, like=kernel), kernel)
    size = [n + 2 * border - 2 for n in x.shape[1:3]]

    def products(x):
        seen = _both_axes(_B, _windows(x, 4, size, border))
        y = [[ops.matmul(seen[a][b], matrices[a, b]) for b in range(4)] for a in range(4)]
        return _joined(_both_axes(_A, y), size)

    return ops.reshape(in_pieces(products, x), (x.shape[0], *size, kernel.shape[-1]))


def _kernel_gradient(x, upstream, border):
    size = upstream.shape[1:3]

    def products(x, upstream):
        seen = _both_axes(_B, _windows(x, 4, size, border))
        given = _both_axes(tuple(zip(*_A, strict=True)), _windows(upstream, 2, size, 0))
        rows = [
            [ops.matmul(ops.transpose(_rows(seen[a][b])), _rows(given[a][b])) for b in range(4)]
            for a in range(4)
        ]
        return ops.stack([ops.stack(row) for row in rows])

    matrices = ops.sum(in_pieces(products, x, upstream), 0)
    return ops.einsum("ai,bj,abck->ijck", *_constants(_G, _G, like=x), matrices)


def _constants(*matrices, like):
    return [ops.convert_to_tensor(matrix, like.dtype) for matrix in matrices]


def _windows(x, side, size, border):
    """`side`x`side` lists of one pixel of each window, [n, h', w', c]; a window each 2x2 of `size`."""
    counts = [-(-n // 2) for n in size]
    missing = [2 * n + side - 2 - border - m for n, m in zip(counts, x.shape[1:3], strict=True)]
    x = ops.pad(x, [(0, 0), *[(border, after) for after in missing], (0, 0)])
    rows, columns = ([slice(i, i + 2 * n - 1, 2) for i in range(side)] for n in counts)
    return [[x[:, row, column] for column in columns] for row in rows]


def _both_axes(matrix, entries):
    """`matrix @ entries @ matrix.T`, where the entries are images."""
    half = [[_combined(row, column) for column in zip(*entries, strict=True)] for row in matrix]
    return [[_combined(row, line) for row in matrix] for line in half]


def _rows(x):
    return ops.reshape(x, (-1, x.shape[-1]))


def _combined(factors, images):
    return sum(factor * x for factor, x in zip(factors, images, strict=True) if factor)


def _joined(pixels, size):
    """2x2 lists of [n, h', w', c] -> [n, *size, c]."""
    return interleaved([*pixels[0], *pixels[1]], (2, 2))[:, : size[0], : size[1]]
