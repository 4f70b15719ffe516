"""Kernels for TensorFlow."""

import functools

import tensorflow as tf
from keras import ops

from keras_structnets.ops.kernels import generic


def batch_normalization(x, gamma, beta, epsilon):
    """`x` normalized over all axes but the last; its mean and biased variance, float32 [c].

    TensorFlow's fused operation takes [b, h, w, c] and returns the unbiased variance.
    """
    images = x if len(x.shape) == 4 else tf.reshape(x, (-1, 1, 1, x.shape[-1]))
    y, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
        x=images,
        scale=gamma,
        offset=beta,
        mean=tf.zeros(0),
        variance=tf.zeros(0),
        epsilon=epsilon,
        is_training=True,
    )
    n = tf.cast(tf.size(x) // x.shape[-1], variance.dtype)
    return tf.reshape(y, tf.shape(x)), mean, variance * ((n - 1) / n)


def custom_gradient(f):
    """`keras.ops.custom_gradient`, which keeps the graph of each call for ever: here one per input size.

    TensorFlow registers a gradient, and with it the graph, for each call that it traces.
    """
    with_gradient = tf.custom_gradient(f)
    graphs = tf.function(with_gradient, autograph=False)

    @functools.wraps(f)
    def call(*args):
        if tf.executing_eagerly():
            return with_gradient(*args)
        args = [tf.convert_to_tensor(x) for x in args]
        return graphs.get_concrete_function(*(tf.TensorSpec(x.shape, x.dtype) for x in args))(*args)

    return call


def spectral_filter(x, response, axes):
    """The FFT for large images with one or two axes: that over three axes has no gradient."""
    over_channels = axes[-1] == len(x.shape) - 1
    if over_channels or len(axes) > 2 or not generic.fft_pays(x, axes):
        return generic.spectral_filter(x, response, axes)
    x, *response = (
        part if part is None else ops.moveaxis(part, -1, -1 - len(axes)) for part in (x, *response)
    )
    axes = [axis + 1 for axis in axes]  # TensorFlow transforms the last axes
    re, im = response
    response = tf.complex(re, tf.zeros_like(re) if im is None else im), None
    return ops.moveaxis(generic.fft_filter(x, response, axes, _rfftn, _irfftn, tf.complex), 1, -1)


constant_filter = functools.partial(generic.constant_filter, operation=spectral_filter)


def _rfftn(x, sizes, axes):
    return (tf.signal.rfft if len(axes) == 1 else tf.signal.rfft2d)(x, sizes)


def _irfftn(spectrum, sizes, axes):
    return (tf.signal.irfft if len(axes) == 1 else tf.signal.irfft2d)(spectrum, sizes)


def compiled(f, inputs=None):
    """`f` as one graph; traced once for `inputs`, if given."""
    signature = inputs and [tf.TensorSpec(x.shape, x.dtype) for x in inputs]
    return tf.function(f, signature, autograph=False)


def inference(f, constants, x):
    """`f(constants, ...)` of a tensor like the KerasTensor `x`, as one graph of any number of images."""
    return compiled(functools.partial(f, constants), inputs=[x])
