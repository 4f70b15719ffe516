"""Each operation in `keras.ops`, for every backend. Images have their channels last."""

import functools
import itertools

import numpy as np
from keras import ops

from keras_structnets.ops.fourier import dft_matrices, inverse, transform

# Keras' own operations, whatever `keras.config.image_data_format()` is
conv = functools.partial(ops.conv, data_format="channels_last")
average_pool = functools.partial(ops.average_pool, data_format="channels_last")
max_pool = functools.partial(ops.max_pool, data_format="channels_last")
custom_gradient = ops.custom_gradient
LARGEST_DFT = 32  # the largest axis that products with matrices transform; above it, an FFT
_UNROLLED = 16  # the largest number of iterations of a loop that is unrolled


def native_depthwise(x, kernel, padding, data_format="channels_last", strides=1, dilation_rate=1):
    """Depthwise correlation by `keras.ops.depthwise_conv`, which has it in 1-D and 2-D."""
    kernel = ops.expand_dims(kernel, -1)
    return ops.depthwise_conv(x, kernel, strides, padding, data_format, dilation_rate)


def depthwise(x, kernel, border=None, native=native_depthwise):
    """Depthwise correlation of images with a border of zeros; a sum of shifted images in 3-D.

    Args:
        x: [b, *n, c].
        kernel: [*k, c].
        border: zeros (before, after) each spatial axis; None for none.
        native: the operation in 1-D and 2-D.

    Returns:
        [b, *(n + before + after - k + 1), c].
    """
    in_3d = len(kernel.shape) > 3
    same = [((k - 1) // 2, (k - 1) // 2) for k in kernel.shape[:-1] if k % 2]
    if border == same and not in_3d:
        return native(x, kernel, "same")
    if border is not None:
        x = ops.pad(x, [(0, 0), *border, (0, 0)])
    return shifted_depthwise(x, kernel) if in_3d else native(x, kernel, "valid")


def strided_depthwise(x, kernel, strides, dilation_rate, native=native_depthwise):
    """`depthwise` without a border, with strides or dilation, one of each for each spatial axis.

    TensorFlow has no such operation with unequal strides, and no backend has it in 3-D.
    """
    if len(kernel.shape) > 3 or len(set(strides)) > 1:
        return shifted_depthwise(x, kernel, strides, dilation_rate)
    return native(x, kernel, "valid", strides=strides[0], dilation_rate=dilation_rate)


def shifted_depthwise(x, kernel, strides=None, dilation_rate=None):
    """`depthwise` without a border as a sum over the entries of the stencil, in any dimension."""
    entries = shifts(x, kernel.shape[:-1], strides, dilation_rate)
    return sum(image * kernel[offsets] for offsets, image in entries)


def shifts(x, window, strides=None, dilation_rate=None):
    """Pairs (offsets of an entry of the stencil, the images as that entry sees them)."""
    for offsets in itertools.product(*map(range, window)):
        yield offsets, shift(x, offsets, window, strides, dilation_rate)


def shift(x, offsets, window, strides=None, dilation_rate=None):
    """The images [b, *n, c] as the entry at `offsets` of a `window` without a border sees them."""
    ones = (1,) * len(window)
    axes = [
        slice(i * d, ((i - k + 1) * d) or None, s)
        for i, k, s, d in zip(offsets, window, strides or ones, dilation_rate or ones, strict=True)
    ]
    return x[(slice(None), *axes)]


def pointwise(x, matrix):
    """`x @ matrix` at each position, [..., c] with [c, c'] -> [..., c'], as one product."""
    rows = ops.matmul(ops.reshape(x, (-1, x.shape[-1])), matrix)
    return ops.reshape(rows, (*ops.shape(x)[:-1], matrix.shape[-1]))


def spectral_filter(x, response, axes):
    """Multiply each frequency of real images by the `response` to it, by products with real matrices.

    Args:
        x: [b, *n, ...], of known size.
        response: (real part, imaginary part or None), as of `numpy.fft.rfftn` over `axes`, without the
            batch axis.
        axes: those of the image, from 1 on.

    Returns:
        The shape of `x`.
    """
    matrices = dft_matrices([x.shape[axis] for axis in axes])
    over_channels = axes[-1] == len(x.shape) - 1
    if over_channels:
        x, response = x[..., None], [part if part is None else part[..., None] for part in response]
    re, im = response
    spectrum = transform(x, matrices)  # [b, 2, *frequencies, c]
    y = spectrum * re
    if im is not None:
        rotated = spectrum * im
        y = y + ops.stack([-rotated[:, 1], rotated[:, 0]], axis=1)
    y = inverse(y, matrices)
    return y[..., 0] if over_channels else y


def fft_pays(x, axes):
    """Whether an FFT over `axes` is faster than matrices, whose products grow with the image."""
    return max(x.shape[axis] for axis in axes) > LARGEST_DFT


def fft_filter(x, response, axes, rfftn, irfftn, to_complex):
    """`spectral_filter` by the FFT of a backend, its inverse, and its constructor of complex numbers.

    Keras has no FFT of real images over several axes.
    """
    sizes, axes = [x.shape[axis] for axis in axes], tuple(axes)
    re, im = response
    response = re if im is None else to_complex(re, im)
    return irfftn(response * rfftn(x, sizes, axes), sizes, axes)


def cond(predicate, if_true, if_false, *operands):
    """`if_true(*operands)` or `if_false(*operands)`."""
    return ops.cond(predicate, lambda: if_true(*operands), lambda: if_false(*operands))


def loop(f, xs):
    """`f` of each entry along the first axis of `xs`, a tensor or a tuple of them, stacked."""
    if (xs[0] if isinstance(xs, tuple) else xs).shape[0] > _UNROLLED:
        return ops.map(f, xs)
    return unrolled(f, xs)


def unrolled(f, xs):
    """`loop` without a loop in the graph."""
    several = isinstance(xs, tuple)
    n = (xs[0] if several else xs).shape[0]
    results = [f(tuple(x[i] for x in xs) if several else xs[i]) for i in range(n)]
    if not isinstance(results[0], tuple):
        return ops.stack(results)
    return tuple(ops.stack(parts) for parts in zip(*results, strict=True))


def stop_fusion(y):
    """`y`. On JAX XLA computes it once, not again in each operation that takes it."""
    return y


def is_double_backward():
    """True inside a double backward, where a custom gradient computes its intermediates again.

    PyTorch cuts off what the function computed on its way to the value; other backends do not.
    """
    return False


def zero_padding(x, border):
    """Images with zeros around them, (before, after) each spatial axis."""
    return ops.pad(x, [(0, 0), *border, (0, 0)])


def constant_conv(sizes, kernel, bias, strides, padding, dilation_rate, groups):
    """A convolution of images of known `sizes` with constant weights, or a product of vectors.

    Args:
        sizes: those of the images, `n`.
        kernel: [*k, c / groups, c'], in NumPy; [c, c'] for vectors.
        bias: a number, or [c'].
        strides: one for each axis, as the `dilation_rate`.
        padding: "valid" or "same".
        dilation_rate: see `strides`.
        groups: of channels.

    Returns:
        (a function of [b, *n, c] and the constants, the constants).
    """
    if kernel.ndim == 2:
        return _with_bias(pointwise, kernel, bias)
    options = {"strides": strides, "padding": padding, "dilation_rate": dilation_rate}
    return _with_bias(functools.partial(conv, **options), kernel, bias)


def constant_depthwise(sizes, kernel, bias, padding, operation=depthwise):
    """`constant_conv` for a depthwise correlation by `operation`, with a kernel [*k, c]."""
    border = None
    if padding == "same":
        border = [((k - 1) // 2, k // 2) for k in kernel.shape[:-1]]
    return _with_bias(functools.partial(operation, border=border), kernel, bias)


def _with_bias(operation, kernel, bias):
    """(`operation(x, kernel) + bias`, its constants); a bias of zeros is left out."""
    if np.any(bias):
        return lambda x, kernel, bias: operation(x, kernel) + bias, [kernel, bias]
    return operation, [kernel]


def constant_filter(sizes, response, axes, operation=spectral_filter):
    """`spectral_filter` by `operation`, of images of known `sizes` by a real response, as `constant_conv`."""
    return lambda x, response: operation(x, (response, None), axes), [response]


def constant_prelu(slopes):
    """`x` where it is positive, else `slopes` times `x`, as `constant_conv`."""
    return lambda x, slopes: ops.maximum(x, 0.0) + slopes * ops.minimum(x, 0.0), [slopes]


def affine(x, scale, offset, may_overwrite=False):
    """`x * scale + offset`; it may write into `x` if `may_overwrite`."""
    return x * scale + offset


def add(x, y, may_overwrite=(False, False)):
    """`x + y`; it may write into one of them if `may_overwrite`."""
    return x + y


def relu(x, may_overwrite=False):
    """`max(x, 0)`; it may write into `x` if `may_overwrite`."""
    return ops.relu(x)


def compiled(f, inputs=None):
    """`f` as one graph of the backend, where single operations are slow to start.

    Args:
        f: a function of tensors.
        inputs: a KerasTensor for each argument, with None for sizes that vary, so that TensorFlow
            traces once; None to trace for each size.
    """
    return f
