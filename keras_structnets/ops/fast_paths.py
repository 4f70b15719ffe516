"""Choices between equal forms of one operation, made per backend because they were measured so.

What a depthwise convolution adds to a compiled training step, forward and backward, on two shared
CPU cores (torch: one), in milliseconds: 32 images of 32x32 with 32 channels, and of 8x8 with 128.
`benchmarks/depthwise_forms.py` repeats it; a fully coupled convolution is there to compare.

| backend | native | shifted | written | fully coupled |
|---|---|---|---|---|
| jax | 105 and 38 | 23 and 2.7 | 7.8 and 1.9 | 18 and 15 |
| torch | 5.1 and 1.6 | 17 and 4.2 | - | 20 and 15 |
| tensorflow | 2.4 and 0.6 | 129 and 32 | - | 17 and 15 |

XLA has no fast grouped convolution on CPUs, but fuses the shifted form into one loop. Differentiated
by itself that form is slow again, in the sums over all pixels and where two follow each other, so
JAX has the gradients written out. There is no native form in 3-D: the shifted form is general.
"""

import itertools

import keras
from keras import ops


def depthwise(x, kernel):
    """Depthwise correlation without padding, [b, *n, c] with [*k, c] -> [b, *(n - k + 1), c]."""
    return _depthwise_form(x, kernel)(x, kernel)


def native_depthwise(x, kernel):
    """`depthwise` as the backend's own operation, in 1-D and 2-D."""
    return ops.depthwise_conv(x, ops.expand_dims(kernel, -1), padding="valid")


def shifted_depthwise(x, kernel):
    """`depthwise` as a sum over the entries of the stencil of shifted images, in any dimension."""
    terms = (shifted * kernel[offsets] for offsets, shifted in _shifts(x, kernel.shape[:-1]))
    return sum(terms)


@ops.custom_gradient
def written_depthwise(x, kernel):
    """`shifted_depthwise` with both gradients written out; it has no forward-mode derivative."""

    def gradients(upstream):
        reach = [(k - 1, k - 1) for k in kernel.shape[:-1]]
        padded = ops.pad(upstream, [(0, 0), *reach, (0, 0)])
        mirrored = ops.flip(kernel, tuple(range(len(reach))))
        return shifted_depthwise(padded, mirrored), _kernel_gradient(x, upstream, kernel.shape)

    return shifted_depthwise(x, kernel), gradients


def _kernel_gradient(x, upstream, shape):
    """Sum over images and pixels of each shifted image times `upstream`, image by image on a CPU."""

    def products(x, upstream):
        pixels = tuple(range(len(upstream.shape) - 1))
        shifts = _shifts(x, shape[:-1], batch=len(x.shape) == len(shape) + 1)
        return ops.stack([ops.sum(shifted * upstream, pixels) for _, shifted in shifts])

    if _on_cpu():  # one image fits into the cache
        sums = ops.sum(ops.map(lambda pair: products(*pair), (x, upstream)), axis=0)
    else:
        sums = products(x, upstream)
    return ops.reshape(sums, shape)


def _depthwise_form(x, kernel):
    jax = keras.backend.backend() == "jax"
    if jax and not keras.utils.is_keras_tensor(x):
        return written_depthwise
    return shifted_depthwise if jax or len(kernel.shape) > 3 else native_depthwise


def _on_cpu():
    return all(device.startswith("cpu") for device in keras.distribution.list_devices())


def _shifts(x, window, batch=True):
    """Pairs (offsets of an entry of the stencil, the image as that entry sees it)."""
    for offsets in itertools.product(*map(range, window)):
        view = (*map(_slice, offsets, window), slice(None))
        yield offsets, x[(slice(None), *view) if batch else view]


def _slice(offset, window):
    return slice(offset, (offset - window + 1) or None)
