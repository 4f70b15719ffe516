"""Kernels for PyTorch.

Keras copies images with the channels last twice before a convolution and once before a pooling, and
copies nothing where the channels are first. `_channels_first` moves them there in a view.
"""

import itertools

import numpy as np
import torch
from keras import ops
from torch.nn import functional

from keras_structnets.ops.fourier import dft_matrices
from keras_structnets.ops.kernels import generic
from keras_structnets.ops.windows import same_padding

_CONVS = functional.conv1d, functional.conv2d, functional.conv3d
_LAYOUTS = torch.contiguous_format, torch.channels_last, torch.channels_last_3d


def _channels_first(operation):
    """`operation` of [b, *n, c] on a view [b, c, *n], for which Keras copies nothing."""

    def operate(x, *args, **options):
        y = operation(ops.moveaxis(x, -1, 1), *args, data_format="channels_first", **options)
        return ops.moveaxis(y, 1, -1)

    return operate


conv = _channels_first(ops.conv)
average_pool = _channels_first(ops.average_pool)
max_pool = _channels_first(ops.max_pool)
native_depthwise = _channels_first(generic.native_depthwise)


def depthwise(x, kernel, border=None):
    """Depthwise correlation with the channels first."""
    return generic.depthwise(x, kernel, border, native_depthwise)


def strided_depthwise(x, kernel, strides, dilation_rate):
    """Depthwise correlation with strides or dilation, with the channels first."""
    return generic.strided_depthwise(x, kernel, strides, dilation_rate, native_depthwise)


def pointwise(x, matrix):
    """A product at each pixel as a 1x1 convolution with the channels first."""
    if len(x.shape) not in (3, 4, 5):
        return generic.pointwise(x, matrix)
    return conv(x, ops.reshape(matrix, (*[1] * (len(x.shape) - 2), *matrix.shape)))


def spectral_filter(x, response, axes):
    """The FFT over the channels too and for large images; products of matrices are faster elsewhere."""
    if not x.shape[0]:  # the FFT refuses an empty batch
        return x
    if axes[-1] < len(x.shape) - 1 and not generic.fft_pays(x, axes):
        return generic.spectral_filter(x, response, axes)
    return generic.fft_filter(x, response, axes, torch.fft.rfftn, torch.fft.irfftn, torch.complex)


def cond(predicate, if_true, if_false, *operands):
    """A graph that is exported holds both branches; Keras would follow the one of the example."""
    if torch.compiler.is_exporting():
        return torch.ops.higher_order.cond(predicate, if_true, if_false, operands)
    return generic.cond(predicate, if_true, if_false, *operands)


def loop(f, xs):
    """PyTorch runs one operation at a time: the loop is always unrolled."""
    return generic.unrolled(f, xs)


def is_double_backward():
    """PyTorch records gradients inside a backward only if they are to be differentiated again."""
    return torch.is_grad_enabled()


def batch_normalization(x, gamma, beta, epsilon):
    """`x` normalized over all axes but the last; its mean and biased variance, float32 [c].

    With a momentum of 1 PyTorch writes the mean and the unbiased variance into its running statistics.
    """
    n = x[..., 0].numel()
    mean, variance = torch.zeros_like(gamma), torch.zeros_like(gamma)
    y = torch.nn.functional.batch_norm(
        x.movedim(-1, 1), mean, variance, gamma, beta, training=True, momentum=1.0, eps=epsilon
    )
    return y.movedim(1, -1), mean, variance * ((n - 1) / n)


def inference(f, constants, x):
    """`f(constants, ...)` of a tensor, without what gradients need."""
    constants = [[ops.convert_to_tensor(value) for value in values] for values in constants]

    def call(x):
        with torch.inference_mode():
            return f(constants, x)

    return call


def constant_conv(sizes, kernel, bias, strides, padding, dilation_rate, groups):
    """`generic.constant_conv` with the kernel in PyTorch's order, in the layout of the images."""
    rank = kernel.ndim - 2
    if rank and padding == "same" and None in sizes:
        return generic.constant_conv(sizes, kernel, bias, strides, padding, dilation_rate, groups)
    weights = torch.from_numpy(np.ascontiguousarray(kernel)).float().movedim((-1, -2), (0, 1))
    constants = [weights.contiguous(memory_format=_LAYOUTS[max(rank - 1, 0)])]
    if np.any(bias):
        constants.append(np.broadcast_to(bias, kernel.shape[-1:]).astype("float32"))
    if not rank:
        return functional.linear, constants
    convolve, border, zeros = _CONVS[rank - 1], (0,) * rank, None
    if padding == "same":
        reach = [(k - 1) * d + 1 for k, d in zip(kernel.shape, dilation_rate, strict=False)]
        sides = [same_padding(*axis) for axis in zip(sizes, reach, strides, strict=True)]
        if all(before == after for before, after in sides):
            border = [before for before, _ in sides]
        else:
            zeros = [*itertools.chain(*reversed(sides))]

    def function(x, kernel, bias=None):
        x = x.movedim(-1, 1)
        x = functional.pad(x, zeros) if zeros else x
        y = convolve(x, kernel, bias, strides, border, dilation_rate, groups)
        return y.movedim(1, -1)

    return function, constants


def constant_depthwise(sizes, kernel, bias, padding):
    """`constant_conv` with one group for each channel."""
    rank, channels = len(sizes), kernel.shape[-1]
    ones = (1,) * rank
    return constant_conv(sizes, kernel[..., None, :], bias, ones, padding, ones, channels)


def constant_filter(sizes, response, axes):
    """`generic.constant_filter` by products with matrices that are made once, where these are faster."""
    lengths = [sizes[axis - 1] for axis in axes]
    if len(axes) == len(sizes) or max(lengths) > generic.LARGEST_DFT:
        return generic.constant_filter(sizes, response, axes, spectral_filter)
    matrices = [matrix.astype("float32") for matrix in dft_matrices(lengths)]

    def function(x, response, *matrices):
        inner = sizes[-1]
        for matrix in reversed(matrices):  # each product leaves (re, im) next to the axis before it
            x = torch.matmul(matrix, x.reshape(-1, matrix.shape[1], inner))
            inner *= matrix.shape[0] // 2
        x = x.reshape(-1, 2, inner).mul_(response)
        for matrix in matrices:
            inner //= matrix.shape[0] // 2
            x = torch.matmul(matrix.T, x.reshape(-1, matrix.shape[0], inner))
        return x.reshape(-1, *sizes)

    return function, [response.reshape(-1), *matrices]


def constant_prelu(slopes):
    """`generic.constant_prelu` in two operations."""
    return lambda x, slopes: torch.lerp(torch.relu(x), x, slopes), [slopes]


def zero_padding(x, border):
    """`generic.zero_padding` without the object that Keras makes in each call."""
    return functional.pad(x, [0, 0, *itertools.chain(*reversed(border))])


def affine(x, scale, offset, may_overwrite=False):
    """`generic.affine` in one operation."""
    return torch.addcmul(offset, x, scale, out=x if may_overwrite else None)


def add(x, y, may_overwrite=(False, False)):
    """`generic.add`, in place where it may: new memory costs more than the sum."""
    if may_overwrite[0]:
        return x.add_(y)
    return y.add_(x) if may_overwrite[1] else x + y


def relu(x, may_overwrite=False):
    """`generic.relu`, in place where it may."""
    return torch.relu_(x) if may_overwrite else torch.relu(x)
