"""Kernels for PyTorch.

Keras copies images with the channels last twice before a convolution and once before a pooling, and
copies nothing where the channels are first. `_channels_first` moves them there in a view.
"""

import torch
from keras import ops

from keras_structnets.ops.kernels import generic


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
