"""Kernels for JAX, whose XLA has no fast grouped convolution on CPUs and recomputes what it fuses."""

import functools
import itertools

import jax
from keras import ops

from keras_structnets.ops.kernels import generic
from keras_structnets.ops.windows import interleaved, padded, slices


def conv(x, kernel, strides=1, padding="valid", dilation_rate=1):
    """A 1x1 convolution without strides is faster as a product of two matrices."""
    if {*kernel.shape[:-2], *([strides] if isinstance(strides, int) else strides)} == {1}:
        return generic.pointwise(x, ops.reshape(kernel, kernel.shape[-2:]))
    return generic.conv(x, kernel, strides, padding, dilation_rate=dilation_rate)


def spectral_filter(x, response, axes):
    """The FFT over the channels too and for large images; products of matrices are faster elsewhere."""
    if axes[-1] < len(x.shape) - 1 and not generic.fft_pays(x, axes):
        return generic.spectral_filter(x, response, axes)
    return generic.fft_filter(
        x, response, axes, jax.numpy.fft.rfftn, jax.numpy.fft.irfftn, jax.lax.complex
    )


def constant_conv(sizes, kernel, bias, strides, padding, dilation_rate, groups):
    """`generic.constant_conv`, a 1x1 convolution without strides as a product of two matrices."""
    if groups == 1 and {*kernel.shape[:-2], *strides} <= {1}:
        kernel = kernel.reshape(kernel.shape[-2:])
    return generic.constant_conv(sizes, kernel, bias, strides, padding, dilation_rate, groups)


constant_filter = functools.partial(generic.constant_filter, operation=spectral_filter)


def compiled(f, inputs=None):
    """`f` compiled by XLA for each size of its arguments."""
    return jax.jit(f)


def inference(f, constants, x):
    """`f(constants, ...)` of a tensor, compiled for each number of images.

    Constants are arguments: of constants in the graph XLA of jaxlib 0.10 computes a wrong mean after a
    product on CPUs.
    """
    return functools.partial(jax.jit(f), jax.tree.map(jax.numpy.asarray, constants))


def stop_fusion(y):
    """`y`, behind a conditional whose other branch is never taken: XLA does not fuse conditionals.

    XLA fuses sums into all operations that take them, and so computes each residual step again within
    the later ones. The gradient of a conditional is one, too.
    """
    if not isinstance(y, jax.core.Tracer):
        return y
    never = ops.sum(y[(slice(1),) * len(y.shape)]) > float("inf")  # False for NaN too
    return ops.cond(never, lambda: -y, lambda: y)


def depthwise(x, kernel, border=None):
    """A sum of shifted images, which XLA fuses into one loop, with a custom gradient."""
    if border is not None:
        x = ops.pad(x, [(0, 0), *border, (0, 0)])
    return custom_depthwise(x, kernel)


constant_depthwise = functools.partial(generic.constant_depthwise, operation=depthwise)
strided_depthwise = generic.shifted_depthwise


@ops.custom_gradient
def custom_depthwise(x, kernel):
    """`generic.shifted_depthwise`; XLA differentiates its sums over pixels into slow code."""

    def gradients(upstream):
        reach = [(k - 1, k - 1) for k in kernel.shape[:-1]]
        wide = ops.pad(upstream, [(0, 0), *reach, (0, 0)])
        mirrored = ops.flip(kernel, tuple(range(len(reach))))
        return generic.shifted_depthwise(wide, mirrored), _kernel_gradient(
            x, upstream, kernel.shape
        )

    return generic.shifted_depthwise(x, kernel), gradients


def _kernel_gradient(x, upstream, shape):
    """Sum over images and pixels of each shifted image times `upstream`."""
    products = [image * upstream for _, image in generic.shifts(x, shape[:-1])]
    sums = _sums_over_pixels(*products)  # the sum over the images comes last: all cores share it
    return ops.reshape(ops.sum(sums, 1), shape)


@ops.custom_gradient
def _sums_over_pixels(*terms):
    """The sum of each of the `terms`, [b, *n, c], over its pixels, in one pass: [terms, b, c]."""
    zeros = (jax.numpy.zeros((), terms[0].dtype),) * len(terms)
    pixels = tuple(range(1, len(terms[0].shape) - 1))
    sums = jax.lax.reduce(terms, zeros, _add_each, pixels)

    def gradients(upstream):
        wide = ops.expand_dims(upstream, [pixel + 1 for pixel in pixels])
        return tuple(ops.broadcast_to(g, terms[0].shape) for g in wide)

    return ops.stack(sums), gradients


def _add_each(a, b):
    return tuple(x + y for x, y in zip(a, b, strict=True))


def max_pool(x, pool_size, strides, padding):
    """Maximum over windows, with a custom gradient, which goes to the first of equal pixels."""
    if padding == "same":
        x = padded(x, pool_size, strides, -float("inf"))
    sizes = x.shape[1:-1]

    @ops.custom_gradient
    def pool(x):
        entries = slices(x, pool_size, strides, "valid")
        y = functools.reduce(ops.maximum, entries)

        def gradient(upstream):
            winner = len(entries) - 1
            for i in reversed(range(winner)):
                winner = ops.where(entries[i] == y, i, winner)
            shares = [ops.where(winner == i, upstream, 0.0) for i in range(len(entries))]
            return _sum_of_windows(shares, sizes, pool_size, strides)

        return y, gradient

    return pool(x)


def _sum_of_windows(entries, sizes, pool_size, strides):
    """The transpose of `slices`: the image [b, *sizes, c] in which each of `entries` is added up.

    Entry `offset` of window `w` is pixel `strides * w + offset`. Pixels are summed in
    prod(strides) images, one for each remainder by `strides`.
    """
    batch, *windows, channels = entries[0].shape
    counts = [-(-n // s) for n, s in zip(sizes, strides, strict=True)]
    zeros = ops.zeros((batch, *counts, channels), entries[0].dtype)
    sums = dict.fromkeys(itertools.product(*map(range, strides)), zeros)
    for entry, offsets in zip(entries, itertools.product(*map(range, pool_size)), strict=True):
        remainder = tuple(offset % s for offset, s in zip(offsets, strides, strict=True))
        before = [offset // s for offset, s in zip(offsets, strides, strict=True)]
        border = [
            (first, n - first - n_windows)
            for first, n, n_windows in zip(before, counts, windows, strict=True)
        ]
        sums[remainder] = sums[remainder] + ops.pad(entry, [(0, 0), *border, (0, 0)])
    image = interleaved(list(sums.values()), strides)
    return image[(slice(None), *map(slice, sizes))]
