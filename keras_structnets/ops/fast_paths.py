"""Choices between equal forms of one operation, made per backend because they were measured so.

A depthwise convolution, forward and backward through a compiled training step on two CPU cores, in
milliseconds (`benchmarks/depthwise_forms.py` repeats it; 32 images of 32x32 with 32 channels, and
of 8x8 with 128):

| backend | native | shifted |
|---|---|---|
| jax | NATIVE_JAX | SHIFTED_JAX |
| torch | NATIVE_TORCH | SHIFTED_TORCH |
| tensorflow | NATIVE_TF | SHIFTED_TF |

XLA has no fast grouped convolution on CPUs, but fuses the shifted form into one loop; the other
backends have a good native kernel. There is no native form in 3-D: the shifted form is general.
"""

import itertools

import keras
from keras import ops


def depthwise(x, kernel):
    """Depthwise correlation without padding, [b, *n, c] with [*k, c] -> [b, *(n - k + 1), c]."""
    return _depthwise_form(len(kernel.shape) - 1)(x, kernel)


def native_depthwise(x, kernel):
    """`depthwise` as the backend's own operation, in 1-D and 2-D."""
    return ops.depthwise_conv(x, ops.expand_dims(kernel, -1), padding="valid")


def shifted_depthwise(x, kernel):
    """`depthwise` as a sum over the entries of the stencil of shifted images, in any dimension."""
    window = kernel.shape[:-1]
    return sum(
        x[(slice(None), *map(_shift, offsets, window), slice(None))] * kernel[offsets]
        for offsets in itertools.product(*map(range, window))
    )


def _depthwise_form(rank):
    if rank > 2 or keras.backend.backend() == "jax":
        return shifted_depthwise
    return native_depthwise


def _shift(offset, window):
    return slice(offset, (offset - window + 1) or None)
