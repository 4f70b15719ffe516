"""Choices between equal forms of one operation, made per backend because they were measured so.

Milliseconds of a training step, forward and backward, on two CPU cores: 128 images of 32x32 with 32
channels, and of 8x8 with 128. `benchmarks/forms.py` measures it.

| form | tensorflow | torch | jax |
|---|---|---|---|
| depthwise: native | 14.9 and 6.11 | 25.6 and 11.8 | 365 and 141 |
| depthwise: channels first | - | 18 and 8.62 | 357 and 141 |
| depthwise: shifted | 290 and 86.5 | 86.6 and 30.9 | 25.8 and 6.95 |
| depthwise: written | - | - | 13.4 and 5.25 |
| four steps of diffusion: as it comes | - | - | 168 and 53.8 |
| four steps of diffusion: each once | - | - | 120 and 35.3 |
| convolution 3x3: Keras | 41.8 and 36 | 55.9 and 36.4 | 97.7 and 46.6 |
| convolution 3x3: channels first | - | 47.7 and 35.9 | 97.6 and 51.2 |
| convolution 3x3: patches | 312 and 108 | 153 and 54.7 | 124 and 51.1 |
| convolution 3x3: fewer products | 407 and 127 | 354 and 64.6 | 92.6 and 31.1 |
| product at each pixel: Keras matmul | 15 and 7.44 | 18.3 and 8.49 | 26.8 and 10.6 |
| product at each pixel: rows | 14.9 and 7.97 | 18.4 and 9.8 | 17 and 7.67 |
| product at each pixel: Keras conv | 16.7 and 8.91 | 22.2 and 8.65 | 41.2 and 15.9 |
| product at each pixel: conv, channels first | - | 15.9 and 8.49 | 40.6 and 17.3 |
| filter of each channel: matrices | 43.3 and 12 | 45.8 and 10.9 | 100 and 12.2 |
| filter of each channel: matrices, in pieces | - | - | 83.1 and 14.7 |
| filter of each channel: FFT | - | 58.1 and 19 | 86.7 and 19.8 |
| filter over the channels too: matrices | 74.2 and 18.6 | 79.6 and 21 | 113 and 15.9 |
| filter over the channels too: matrices, in pieces | - | - | 162 and 16.5 |
| filter over the channels too: FFT | - | 49.2 and 16 | 53.3 and 14.8 |
| mean over 2x2: Keras | 15 and 4.3 | 29 and 6.89 | 9.15 and 1.53 |
| mean over 2x2: with the channels first | - | 11.2 and 3.32 | - |
| maximum over 3x3: Keras | 13.8 and 4.11 | 46 and 12.7 | 48 and 11 |
| maximum over 3x3: with the channels first | - | 15.1 and 4.36 | - |
| maximum over 3x3: written | - | - | 15.6 and 4.42 |
| similarity of order 1: loop | 215 and 107 | 210 and 108 | 108 and 43 |
| similarity of order 1: sums written out | 47.5 and 32.9 | - | 36.1 and 24.1 |
| similarity of order 1.5: loop | 302 and 181 | 449 and 372 | 101 and 48 |
| similarity of order 1.5: sums written out | 69.2 and 58.3 | - | 53.3 and 44 |

PyTorch: Keras copies an image with the channels last twice before each convolution and once before a
pooling, and none whose channels come first; a view does for that.

JAX: XLA has no fast grouped convolution on CPUs, but fuses the shifted form into one loop.
Differentiated by itself that form is slow again, in the sums over all pixels, so that its gradients
are written out, and so is that of a maximum over windows. The fusion goes on through the steps of a
network, each of which it computes again for each later one, so that it is ended after each product.
A 1x1 convolution is faster as a product of two matrices. So is a small one with patches; and a 3x3
one of many channels and pixels by fewer products: `benchmarks/results/speed.md` has that of GConv2D
with 81 channels.

A similarity of order p loops over its templates, on PyTorch with its results in the place of what is no
longer needed. XLA makes one loop over memory of a sum that is written out, so that on CPUs a graph of JAX
and a large similarity on TensorFlow take that form.

There is no native form in 3-D: the shifted form is general.

Keras has no FFT over several axes of real images, so that it is the backend's own. On TensorFlow there
is none over more than three axes, and that has no gradient.

Last comes prediction as one graph of the backend, with the weights as constants. No other module
imports a backend.
"""

import contextvars
import functools
import itertools
import math
import operator
import warnings

import keras
from keras import ops
from keras.backend import standardize_dtype

from keras_structnets.ops.patches import (
    interleaved,
    padded,
    patches,
    slices,
    window_output_size,
)
from keras_structnets.ops.spectral import dft_matrices, inverse, transform
from keras_structnets.ops.winograd import in_pieces, winograd_conv

_BY_XLA = contextvars.ContextVar("by_xla", default=False)  # whether TensorFlow traces for XLA
_CHANNELS, _PIXELS = 24, 8192  # from which on XLA is faster with other forms of a convolution
_ENTRIES = 2**23  # of a matrix of patches, at most
_WRITTEN_OUT = 16  # up to so many turns of a loop
_FACTORS = 1024  # from which on a sum is worth being compiled on TensorFlow


def depthwise(x, kernel, border=None):
    """Depthwise correlation of images with a border of zeros.

    Args:
        x: [b, *n, c].
        kernel: [*k, c].
        border: zeros (before, after) each spatial axis; None for none.

    Returns:
        [b, *(n + before + after - k + 1), c].
    """
    form = _depthwise_form(x, kernel)
    sides = [(k - 1) // 2 for k in kernel.shape[:-1] if k % 2]
    if form in _PADDING and border == [(side, side) for side in sides]:
        return once(form(x, kernel, padding="same"))
    if border is not None:
        x = ops.pad(x, [(0, 0), *border, (0, 0)])
    return once(form(x, kernel))


def native_depthwise(x, kernel, padding="valid"):
    """`depthwise` as the backend's own operation, in 1-D and 2-D."""
    return ops.depthwise_conv(x, ops.expand_dims(kernel, -1), padding=padding)


def transposed_depthwise(x, kernel, padding="valid"):
    """`native_depthwise` with the channels first, for which Keras copies nothing on PyTorch."""
    kernel = ops.expand_dims(kernel, -1)
    x = _channels_first(x)
    y = ops.depthwise_conv(x, kernel, padding=padding, data_format="channels_first")
    return _channels_last(y)


def cast(y, dtype):
    """`y` in `dtype`, clipped to its range; nothing is computed where it has that type already."""
    dtype = standardize_dtype(dtype)
    return y if standardize_dtype(y.dtype) == dtype else ops.saturate_cast(y, dtype)


def conv(x, kernel, strides, padding, dilation_rate):
    """Convolution of [b, *n, c] with [*k, c, c'], as `keras.ops.conv`."""
    backend = keras.backend.backend()
    if backend == "jax" and all(size == 1 for size in (*kernel.shape[:-2], *strides)):
        return pointwise(x, ops.reshape(kernel, kernel.shape[-2:]))
    if backend == "torch":
        return transposed_conv(x, kernel, strides, padding, dilation_rate)
    if set(dilation_rate) == {1} and standardize_dtype(x.dtype) == "float32" and _by_jax_on_cpu(x):
        if set(strides) == {1} and _worth_winograd(x.shape, kernel.shape):
            return winograd_conv(x, kernel, padding)
        if _worth_patches(x.shape, kernel.shape, strides, padding):
            return product_of_patches(x, kernel, strides, padding)
    return ops.conv(x, kernel, strides, padding, "channels_last", dilation_rate)


def _by_jax_on_cpu(x):
    known = all(isinstance(n, int) and n > 0 for n in x.shape)
    return known and _traced_by_jax(x) and _on_cpu()


def _worth_winograd(shape, kernel_shape):
    """Whether there are channels enough, and pixels enough for them."""
    (*window, c_in, c_out), (b, *size, _) = kernel_shape, shape
    pixels = math.prod(size)
    enough = min(c_in, c_out) >= _CHANNELS and b * pixels >= _PIXELS
    return window == [3, 3] and enough and max(c_in, c_out) < 2 * pixels


def _worth_patches(shape, kernel_shape, strides, padding):
    """Whether the patches are few, and the channels made of them many."""
    (*window, c_in, c_out), (b, *size, _) = kernel_shape, shape
    axes = zip(size, window, strides, strict=True)
    outputs = b * math.prod(window_output_size(n, k, s, padding) for n, k, s in axes)
    return c_out >= _CHANNELS and outputs * math.prod(window) * c_in <= _ENTRIES


def product_of_patches(x, kernel, strides, padding):
    """`conv` as a product of two matrices, the first with the pixels that each output sees."""
    seen = patches(x, kernel.shape[:-2], strides, padding)
    return product_of_rows(seen, ops.reshape(kernel, (-1, kernel.shape[-1])))


def transposed_conv(x, kernel, strides, padding, dilation_rate):
    """`conv` with the channels first, for which Keras copies nothing on PyTorch."""
    x = _channels_first(x)
    return _channels_last(ops.conv(x, kernel, strides, padding, "channels_first", dilation_rate))


def pointwise(x, matrix):
    """`x @ matrix` at each position, [..., c] with [c, c'] -> [..., c']."""
    torch = keras.backend.backend() == "torch" and len(x.shape) in (3, 4, 5)
    return transposed_pointwise(x, matrix) if torch else product_of_rows(x, matrix)


def transposed_pointwise(x, matrix):
    """`pointwise` as a convolution with the channels first."""
    kernel = ops.reshape(matrix, (*[1] * (len(x.shape) - 2), *matrix.shape))
    return transposed_conv(x, kernel, 1, "valid", 1)


def product_of_rows(x, matrix):
    """`pointwise` as one product of two matrices."""
    rows = ops.matmul(ops.reshape(x, (-1, x.shape[-1])), matrix)
    return ops.reshape(rows, (*ops.shape(x)[:-1], matrix.shape[-1]))


def average_pool(x, pool_size, strides):
    """Mean over windows inside the image, [b, *n, c] -> [b, *n', c]."""
    if keras.backend.backend() == "torch":
        return transposed_average_pool(x, pool_size, strides)
    return ops.average_pool(x, pool_size, strides)


def transposed_average_pool(x, pool_size, strides):
    """`average_pool` with the channels first."""
    y = ops.average_pool(_channels_first(x), pool_size, strides, data_format="channels_first")
    return _channels_last(y)


def max_pool(x, pool_size, strides, padding):
    """Maximum over windows, [b, *n, c] -> [b, *n', c]."""
    if keras.backend.backend() == "torch":
        return transposed_max_pool(x, pool_size, strides, padding)
    if keras.backend.is_float_dtype(standardize_dtype(x.dtype)) and _by_jax_on_cpu(x):
        return written_max_pool(x, pool_size, strides, padding)
    return ops.max_pool(x, pool_size, strides, padding)


def transposed_max_pool(x, pool_size, strides, padding):
    """`max_pool` with the channels first."""
    y = ops.max_pool(_channels_first(x), pool_size, strides, padding, "channels_first")
    return _channels_last(y)


def written_max_pool(x, pool_size, strides, padding):
    """`max_pool` with its gradient written out, which goes to the first of equal pixels."""
    if padding == "same":
        x = padded(x, pool_size, strides, -float("inf"))
    sizes = x.shape[1:-1]

    @ops.custom_gradient
    def pool(x):
        seen = slices(x, pool_size, strides, "valid")
        y = functools.reduce(ops.maximum, seen)

        def gradient(*args, upstream=None):
            g = args[-1] if upstream is None else upstream
            first = len(seen) - 1
            for i in reversed(range(first)):
                first = ops.where(seen[i] == y, i, first)
            counts = [-(-n // s) for n, s in zip(sizes, strides, strict=True)]
            nothing = ops.zeros((g.shape[0], *counts, g.shape[-1]), g.dtype)
            apart = dict.fromkeys(itertools.product(*map(range, strides)), nothing)
            for i, offsets in enumerate(itertools.product(*map(range, pool_size))):
                turns, places = zip(*map(divmod, offsets, strides), strict=True)
                rest = map(operator.sub, map(operator.sub, counts, g.shape[1:-1]), turns)
                border = [(0, 0), *zip(turns, rest, strict=True), (0, 0)]
                apart[places] = apart[places] + ops.pad(ops.where(first == i, g, 0.0), border)
            whole = interleaved(list(apart.values()), strides)
            return whole[(slice(None), *map(slice, sizes))]

        return y, gradient

    return pool(x)


def spectral_filter(x, response, axes):
    """Multiply each frequency of real images by the `response` to it.

    Args:
        x: [b, *n, ...], of known size.
        response: (real part, imaginary part or None), as of `numpy.fft.rfftn` over `axes`, without the
            axis of the batch.
        axes: those of the image, from 1 on.

    Returns:
        The shape of `x`.
    """
    form = _filter_form(x, axes)
    if form is filter_by_matrices and _by_jax_on_cpu(x):
        return filter_in_pieces(x, response, axes)
    return form(x, response, axes)


def filter_by_fft(x, response, axes):
    """`spectral_filter` as the FFT of PyTorch or JAX, a product, and the inverse."""
    forward, backward, complex_number = _real_transforms()
    sizes, axes = [x.shape[axis] for axis in axes], tuple(axes)
    re, im = response
    response = complex_number(re, ops.zeros_like(re) if im is None else im)
    return backward(response * forward(x, sizes, axes), sizes, axes)


def filter_in_pieces(x, response, axes):
    """`filter_by_matrices` for some of the images after others, in the order that XLA is fast in."""
    how = _matmul_each, _multiply_each
    filtered = in_pieces(lambda x: filter_by_matrices(x, response, axes, *how), x)
    return ops.reshape(filtered, x.shape)


def _matmul_each(matrix, x):
    """`matrix @ x` as a product for each of `x`; as one XLA would transpose them."""
    return ops.matmul(ops.broadcast_to(matrix, (x.shape[0], *matrix.shape)), x)


@ops.custom_gradient
def _multiply_each(x, factors):
    """`x * factors`, whose gradient adds the images up by halves; along the first axis XLA is slow."""

    def gradients(upstream):
        products = ops.reshape(upstream * x, (-1, *factors.shape))
        while (n := products.shape[0]) > 1:
            half = products[: n // 2] + products[n // 2 : n // 2 * 2]
            products = ops.concatenate([half, products[n - 1 :]]) if n % 2 else half
        return upstream * factors, products[0]

    return x * factors, gradients


def filter_by_matrices(x, response, axes, matmul=ops.matmul, multiply=ops.multiply):
    """`spectral_filter` as products with real matrices, for any number of axes."""
    matrices = dft_matrices([x.shape[axis] for axis in axes])
    if whole := axes[-1] == len(x.shape) - 1:
        x, response = x[..., None], [part if part is None else part[..., None] for part in response]
    re, im = response
    y = transform(x, matrices, matmul)  # [b, 2, *frequencies, c]
    if im is None:
        y = multiply(y, re)
    else:
        y, turned = multiply(y, re), multiply(y, im)
        y = y + ops.stack([-turned[:, 1], turned[:, 0]], axis=1)
    y = inverse(y, matrices, matmul)
    return y[..., 0] if whole else y


def _filter_form(x, axes):
    whole = axes[-1] == len(x.shape) - 1
    symbolic = keras.utils.is_keras_tensor(x)
    if whole and not symbolic and keras.backend.backend() != "tensorflow":
        return filter_by_fft
    return filter_by_matrices


def _real_transforms():
    """FFT of real images (x, sizes, axes), its inverse, and how complex numbers are made."""
    if keras.backend.backend() == "torch":
        import torch

        return torch.fft.rfftn, torch.fft.irfftn, torch.complex
    import jax

    return jax.numpy.fft.rfftn, jax.numpy.fft.irfftn, jax.lax.complex


def _channels_first(x):
    return ops.moveaxis(x, -1, 1)


def _channels_last(x):
    return ops.moveaxis(x, 1, -1)


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
    """Sum over images and pixels of each shifted image times `upstream`."""
    products = [y * upstream for _, y in _shifts(x, shape[:-1])]
    sums = _sums_over_pixels(*products)  # those over the images last: both cores share the work
    return ops.reshape(ops.sum(sums, 1), shape)


@ops.custom_gradient
def _sums_over_pixels(*terms):
    """The sum of each of the `terms`, [b, *n, c], over its pixels, by XLA in one pass: [terms, b, c]."""
    import jax

    zeros = (jax.numpy.zeros((), terms[0].dtype),) * len(terms)
    pixels = tuple(range(1, len(terms[0].shape) - 1))
    sums = jax.lax.reduce(terms, zeros, lambda a, b: tuple(map(operator.add, a, b)), pixels)

    def gradients(upstream):
        wide = ops.expand_dims(upstream, [pixel + 1 for pixel in pixels])
        return tuple(ops.broadcast_to(g, terms[0].shape) for g in wide)

    return ops.stack(sums), gradients


def _depthwise_form(x, kernel):
    backend = keras.backend.backend()
    if backend == "jax" and not keras.utils.is_keras_tensor(x):
        return written_depthwise
    if backend == "jax" or _BY_XLA.get() or len(kernel.shape) > 3:
        return shifted_depthwise
    return transposed_depthwise if backend == "torch" else native_depthwise


_PADDING = (native_depthwise, transposed_depthwise)  # the forms with a border of their own


def cond(predicate, yes, no, *operands):
    """`ops.cond` of `yes(*operands)` and `no(*operands)`; a graph of PyTorch holds both."""
    if keras.backend.backend() == "torch":
        import torch

        if torch.compiler.is_exporting():
            return torch.ops.higher_order.cond(predicate, yes, no, operands)
    return ops.cond(predicate, lambda: yes(*operands), lambda: no(*operands))


def loop(f, xs):
    """`ops.map`: `f` of each entry along the first axis of `xs`, a tensor or a tuple of them, stacked.

    Written out where it is short.
    """
    n = (xs[0] if isinstance(xs, tuple) else xs).shape[0]
    turns = (f(tuple(x[i] for x in xs) if isinstance(xs, tuple) else xs[i]) for i in range(n))
    if keras.backend.backend() == "torch":
        return filled(turns, n)
    if n > _WRITTEN_OUT:
        return ops.map(f, xs)
    turns = list(turns)
    if not isinstance(turns[0], tuple):
        return ops.stack(turns)
    return tuple(ops.stack(parts) for parts in zip(*turns, strict=True))


def differentiates_again():
    """Whether a gradient that is written out is to be differentiated, and has to make all anew for that.

    PyTorch tells; it cuts off what the function computed on its way to the value. The others do not.
    """
    if keras.backend.backend() != "torch":
        return False
    import torch

    return torch.is_grad_enabled()


def over(x, operation):
    """`keras.ops.abs` or `sign` of x by name; PyTorch writes it over `x`, where it is in the cache."""
    if keras.backend.backend() == "torch":
        return getattr(x, f"{operation}_")()
    return getattr(ops, operation)(x)


def filled(turns, n):
    """The results of `n` turns, stacked, on PyTorch.

    Each is written to its place at once. Kept till the end they would lie between the memory that the
    turns have done with, which grows with each turn then, for it can't be joined and used again.
    """
    stacks = None
    for i, parts in enumerate(turns):
        parts = parts if (several := isinstance(parts, tuple)) else (parts,)
        stacks = stacks or tuple(ops.zeros((n, *part.shape), part.dtype) for part in parts)
        for stack, part in zip(stacks, parts, strict=True):
            stack[i] = part
    return stacks if several else stacks[0]


def sums_by_xla(x, factors):
    """Whether XLA is to make a loop over memory of a sum that is written out: on CPUs, in a graph.

    On TensorFlow that graph is compiled by itself, which takes a second, so that `factors` must be many.
    """
    backend = keras.backend.backend()
    if backend == "torch" or keras.utils.is_keras_tensor(x) or not _on_cpu():
        return False
    if backend == "jax":
        return _traced_by_jax(x)
    import tensorflow as tf

    return not tf.executing_eagerly() and math.prod(factors.shape) >= _FACTORS


def once(y):
    """`y`, which XLA on a CPU would otherwise compute again for each operation that takes it.

    It fuses sums and products into all of those, and so each residual step into the next ones. A
    conditional, one branch of which is never taken, is not fused, nor is its gradient.
    """
    if not (_by_xla(y) and _on_cpu()):
        return y
    never = ops.sum(y[(slice(1),) * len(y.shape)]) > float("inf")  # false for NaN too
    return ops.cond(never, lambda: -y, lambda: y)


def _by_xla(x):
    """Whether `x` is part of a graph for XLA."""
    return _traced_by_jax(x) or _BY_XLA.get()


def _traced_by_jax(x):
    if keras.backend.backend() != "jax":
        return False
    import jax

    return isinstance(x, jax.core.Tracer)


def _on_cpu():
    return all(device.startswith("cpu") for device in keras.distribution.list_devices())


def _shifts(x, window):
    """Pairs (offsets of an entry of the stencil, the images as that entry sees them)."""
    for offsets in itertools.product(*map(range, window)):
        yield offsets, x[(slice(None), *map(_slice, offsets, window), slice(None))]


def _slice(offset, window):
    return slice(offset, (offset - window + 1) or None)


# Graphs


def compiled(f, by_xla=False):
    """`f`, a function of tensors, as one graph where single operations are slow to start.

    `by_xla` is for TensorFlow, whose XLA lacks some operations: a graph may hold others by XLA.
    """
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        return tf.function(f, autograph=False, jit_compile=by_xla)
    if backend == "jax":
        import jax

        return jax.jit(f)
    return f


def fused(f, plain):
    """`f` as XLA compiles it, where `sums_by_xla`; `plain` gives the same.

    On TensorFlow `plain` stands in for the derivative: what a loop in XLA kept for it could not leave XLA.
    """
    if keras.backend.backend() != "tensorflow":
        return f
    import tensorflow as tf

    @tf.custom_gradient
    def by_xla(*arguments):
        def gradient(*upstream):
            with tf.GradientTape() as tape:
                tape.watch(arguments)
                y = tf.nest.flatten(plain(*arguments))
            return tape.gradient(y, arguments, list(upstream), tf.UnconnectedGradients.ZERO)

        return compiled(f, by_xla=True)(*map(tf.stop_gradient, arguments)), gradient

    return by_xla


def graph(model):
    """What `model` computes from a batch, as a function of a tensor, with the weights of this moment.

    Weights are constants of the graph, so that what depends on them alone is computed here, once.
    """
    return _GRAPHS[keras.backend.backend()](model)


def _stateless(model):
    """`model` as a pure function, its weights as arrays."""
    weights = [
        [ops.convert_to_numpy(variable) for variable in variables]
        for variables in (model.trainable_variables, model.non_trainable_variables)
    ]
    return lambda x: model.stateless_call(*weights, x, training=False)[0]


def _tensorflow_graph(model):
    """For a single image by XLA, if that can compile it; in XLA a depthwise convolution of Keras is slow."""
    import tensorflow as tf

    f, (_, *size), dtype = _stateless(model), model.inputs[0].shape, model.inputs[0].dtype

    def for_xla(x):
        mark = _BY_XLA.set(True)
        try:
            return f(x)
        finally:
            _BY_XLA.reset(mark)

    any_number, one = (tf.TensorSpec((n, *size), dtype) for n in (None, 1))
    several = tf.function(f, [any_number], autograph=False).get_concrete_function()
    single = tf.function(for_xla, [one], autograph=False, jit_compile=True).get_concrete_function()
    if any(part.type == "DepthwiseConv2dNative" for part in single.graph.get_operations()):
        return several
    try:
        single(tf.zeros(one.shape, dtype))
    except tf.errors.OpError:
        return several
    return lambda x: single(x) if x.shape[0] == 1 else several(x)


def _jax_graph(model):
    return compiled(_stateless(model))


def _torch_graph(model):
    import torch

    example = ops.ones((2, *model.inputs[0].shape[1:]), model.inputs[0].dtype)  # 1 would be fixed
    sizes = [({0: torch.export.Dim("batch", min=1)},)]
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # of variables that no module owns: they are constants
        exported = torch.export.export(model, (example,), dynamic_shapes=sizes, strict=False)
        module = exported.module()
        _drop_identities(module.graph, torch.ops.aten)
        _branch_in_python(module.graph)
        for pattern, replacement in _shorter_forms(torch.ops.aten):
            torch.fx.replace_pattern(module, pattern, replacement)
        _fold_constants(module)
        _fold_constants_of_branches(module)
        _absorb_factors(module)

    def predict(x):
        with torch.inference_mode():
            return module(x)

    return predict


def _drop_identities(graph, aten):
    """Take out assertions, and conversions of a tensor to what it is."""
    for node in graph.nodes:
        if node.target is aten._assert_tensor_metadata.default:
            graph.erase_node(node)
        elif getattr(node.target, "overloadpacket", None) is aten.to:
            before, after = node.args[0].meta["val"], node.meta["val"]
            if (before.dtype, before.device) == (after.dtype, after.device):
                node.replace_all_uses_with(node.args[0])
                graph.erase_node(node)


def _branch_in_python(graph):
    """Take conditionals as Python's own, and out the check of sizes, which `predictor` has made."""
    import torch

    for node in graph.nodes:
        if node.target is torch.ops.higher_order.cond:
            node.target = _branch
        elif node.op == "call_module" and not node.users:
            graph.erase_node(node)


def _branch(predicate, yes, no, operands):
    return yes(*operands) if predicate else no(*operands)


def _shorter_forms(aten):
    """Pairs (what Keras makes on PyTorch, the same in fewer operations)."""
    import torch

    def normalization(x, mean, factor, offset):
        return aten.add_.Tensor(aten.mul_.Tensor(aten.subtract.Tensor(x, mean), factor), offset)

    def affine(x, mean, factor, offset):
        return aten.addcmul.default(
            aten.sub.Tensor(offset, aten.mul.Tensor(mean, factor)), x, factor
        )

    def prelu(x, slope):
        below = aten.mul.Tensor(aten.neg.default(slope), aten.relu.default(aten.neg.default(x)))
        return aten.add.Tensor(aten.relu.default(x), below)

    def interpolation(x, slope):
        return aten.lerp.Tensor(aten.relu.default(x), x, slope)

    def copied_twice(x):
        return channels_last(aten.contiguous.default(x))

    def channels_last(x):
        return aten.contiguous.default(x, memory_format=torch.channels_last)

    return (normalization, affine), (prelu, interpolation), (copied_twice, channels_last)


def _fold_constants(module):
    """Compute what does not depend on the input; nothing is shared with the model afterwards."""
    import torch

    graph, values = module.graph, {}
    for node in graph.nodes:
        if node.op == "get_attr":
            value = operator.attrgetter(node.target)(module)
        elif node.op == "call_function" and all(n in values for n in node.all_input_nodes):
            arguments = torch.fx.map_arg((node.args, node.kwargs), values.__getitem__)
            value = node.target(*arguments[0], **arguments[1])
        else:
            continue
        if isinstance(value, torch.Tensor):
            values[node] = value
    if any(_is_written(node, values) for node in graph.nodes):  # then they are made at each call
        values = {node: value for node, value in values.items() if node.op == "get_attr"}
    for node, value in values.items():
        users = [user for user in node.users if user not in values]
        if users:
            convolve = all(user.target is torch.ops.aten.conv2d.default for user in users)
            is_kernel = convolve and value.ndim == 4  # in the layout of the images it is not copied
            layout = torch.channels_last if is_kernel else torch.contiguous_format
            name = f"constant_of_{node.name}"
            module.register_buffer(name, value.detach().clone(memory_format=layout))
            with graph.inserting_before(node):
                constant = graph.get_attr(name)
            for user in users:
                user.replace_input_with(node, constant)
    for node in reversed(values):
        graph.erase_node(node)
    module.recompile()


def _fold_constants_of_branches(module):
    """`_fold_constants` of the branches of conditionals, each a graph that takes the constants."""
    for node in module.graph.find_nodes(op="call_function", target=_branch):
        _, *branches, operands = node.args
        for branch in (getattr(module, name.target) for name in branches):
            taken = branch.graph.find_nodes(op="placeholder")
            for placeholder, operand in zip(taken, operands, strict=True):
                if operand.op == "get_attr":
                    value = operator.attrgetter(operand.target)(module)
                    branch.register_buffer(f"{placeholder.name}_value", value)
                    with branch.graph.inserting_after(taken[-1]):
                        constant = branch.graph.get_attr(f"{placeholder.name}_value")
                    placeholder.replace_all_uses_with(constant)
            _fold_constants(branch)


def _absorb_factors(module):
    """Put what multiplies and adds to each channel after a convolution into its weights."""
    import torch

    graph, aten = module.graph, torch.ops.aten
    for conv in graph.find_nodes(op="call_function", target=aten.conv2d.default):
        x, kernel, *rest = conv.args
        if kernel.op != "get_attr" or any(rest[:1]):  # another one has a bias already
            continue
        weight = operator.attrgetter(kernel.target)(module)
        node, lines = conv, []
        while len(node.users) == 1 and weight.dtype == torch.float32:
            (user,) = node.users
            if user.target is aten.reshape.default or (node is conv and _channels_last_by(user)):
                node = user
            elif (
                node is not conv
                and node.meta["val"].shape[-1] == len(weight)
                and (line := _line(module, user, node, len(weight)))
            ):
                lines.append(line)
                user.replace_all_uses_with(node)
                graph.erase_node(user)
            else:
                break
        if lines:
            factor, constant = weight.new_ones(len(weight)), weight.new_zeros(len(weight))
            for slope, shift in lines:
                factor, constant = factor * slope, constant * slope + shift
            names = [f"{conv.name}_{name}" for name in ("kernel", "constant")]
            for name, value in zip(
                names, (weight * factor.reshape(-1, 1, 1, 1), constant), strict=True
            ):
                module.register_buffer(name, value)
            with graph.inserting_before(conv):
                conv.args = (x, *map(graph.get_attr, names), *rest[1:])
    for node in graph.find_nodes(op="get_attr"):
        if not node.users:
            graph.erase_node(node)
    module.recompile()


def _channels_last_by(node):
    """Whether `node` moves the channels of an image to the end."""
    import torch

    return (node.target, *node.args[1:]) in (
        (torch.ops.aten.permute.default, [0, 2, 3, 1]),
        (torch.ops.aten.moveaxis.int, 1, -1),
    )


def _line(module, node, x, channels):
    """(factor, constant) of each channel, if that is all that `node` does to `x`, or None."""

    def value(argument):
        if isinstance(argument, int | float):
            return argument
        if argument is x or getattr(argument, "op", "") != "get_attr":
            return None
        tensor = operator.attrgetter(argument.target)(module)
        one_each = tensor.numel() == 1 or tensor.shape[-1:] == (channels,) == (tensor.numel(),)
        return tensor.flatten() if one_each else None

    if node.kwargs:
        return None
    name, arguments = getattr(node.target, "__name__", ""), [*map(value, node.args)]
    unknown = [i for i, known in enumerate(arguments) if known is None]
    if len(unknown) != 1 or node.args[unknown[0]] is not x:
        return None
    (i,) = unknown
    others = arguments[:i] + arguments[i + 1 :]
    if name in ("mul.Tensor", "multiply.Tensor"):
        return others[0], 0.0
    if name == "add.Tensor":
        return 1.0, others[0]
    if name in ("sub.Tensor", "subtract.Tensor") and i == 0:
        return 1.0, -others[0]
    if name == "addcmul.default" and i > 0:
        return others[1], others[0]
    return None


def _is_written(node, values):
    """Whether `node` writes something that depends on the input into one of the `values`."""
    target = node.args[0] if node.op == "call_function" and node.args else None
    return (
        isinstance(target, type(node))
        and target in values
        and node not in values
        and node.is_impure()
    )


_GRAPHS = {"tensorflow": _tensorflow_graph, "torch": _torch_graph, "jax": _jax_graph}
