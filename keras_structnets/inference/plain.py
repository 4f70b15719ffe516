"""Layers of the inference form that Keras lacks. Their weights are constants, their operations plain."""

import math
from typing import Any

import keras
from keras import ops

from keras_structnets.inference import log_mean_exp as lme
from keras_structnets.inference.spectral import spectral_filter
from keras_structnets.ops import kernels
from keras_structnets.ops.windows import patches, window_output_size

register = keras.saving.register_keras_serializable(package="keras_structnets")


class Plain(keras.layers.Layer):
    """A layer in float32 whose arguments, `given`, are its configuration.

    With `is_fast` it may use the kernels of the backend, which exporters do not know.
    """

    is_fast = False

    def __init__(self, given: dict[str, Any], **kwargs: Any) -> None:
        kwargs.setdefault("dtype", "float32")
        super().__init__(**kwargs)
        self.trainable = False
        self._given = given
        for key, value in given.items():
            setattr(self, key, value)

    def _constant(self, name, shape):
        return self.add_weight(name=name, shape=tuple(shape), initializer="zeros", trainable=False)

    def build(self, input_shape):
        """Nothing: weights are made with the layer."""

    def get_config(self):
        """The arguments."""
        return {**super().get_config(), **self._given}


@register
class SpectralFilter(Plain):
    """Multiplies the frequencies of images [*sizes] over `axes` with a real response."""

    def __init__(self, sizes, axes, response_shape, **kwargs):
        given = {"sizes": tuple(sizes), "axes": tuple(axes)}
        super().__init__(given | {"response_shape": tuple(response_shape)}, **kwargs)
        self.response = self._constant("response", response_shape)

    def call(self, x):
        return spectral_filter(x, ops.convert_to_tensor(self.response), self.sizes, self.axes)

    def compute_output_shape(self, input_shape):
        return input_shape


@register
class LogMeanExp(Plain):
    """MEX along one axis, repeated `copies` times if it is the last."""

    def __init__(self, beta, axis=-1, copies=1, **kwargs):
        super().__init__({"beta": beta, "axis": axis, "copies": copies}, **kwargs)

    def call(self, x):
        if math.isinf(self.beta):
            y = (ops.max if self.beta > 0 else ops.min)(x, axis=self.axis, keepdims=True)
        else:
            log_mean_exp = lme.fast_log_mean_exp if self.is_fast else lme.log_mean_exp
            y = log_mean_exp(x, self.beta, self.axis)
        if self.axis == -1:
            return ops.concatenate([y] * self.copies, axis=-1) if self.copies > 1 else y
        return ops.squeeze(y, self.axis)

    def compute_output_shape(self, input_shape):
        if self.axis == -1:
            return (*input_shape[:-1], self.copies)
        return (*input_shape[: self.axis], *input_shape[self.axis + 1 :])


@register
class MEXByProducts(Plain):
    """MEX with offsets as a product of matrices; `with_near` where beta times the offsets is small."""

    def __init__(self, beta, offsets_shape, with_near, **kwargs):
        given = {"beta": beta, "offsets_shape": tuple(offsets_shape), "with_near": with_near}
        super().__init__(given, **kwargs)
        units = offsets_shape[-1:]
        self.far, self.shift = self._constant("far", offsets_shape), self._constant("shift", units)
        if with_near:
            self.near = self._constant("near", offsets_shape)
            self.mean, self.rest = self._constant("mean", units), self._constant("rest", units)

    def call(self, x):
        names = ("far", "shift", *(("near", "mean", "rest") if self.with_near else ()))
        constants = {name: ops.convert_to_tensor(getattr(self, name)) for name in names}
        product = kernels.select("pointwise", x) if self.is_fast else _pointwise
        return lme.log_mean_exp_by_products(x, self.beta, product, constants, self.with_near)

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], self.offsets_shape[-1])


@register
class MEXOfEach(Plain):
    """MEX with offsets, one sum of exponentials or maximum for each output."""

    def __init__(self, beta, offsets_shape, **kwargs):
        super().__init__({"beta": beta, "offsets_shape": tuple(offsets_shape)}, **kwargs)
        self.offsets = self._constant("offsets", offsets_shape)

    def call(self, x):
        sizes = x.shape[1:-1]
        if len(sizes) > 1:
            x = ops.reshape(x, (-1, math.prod(sizes), x.shape[-1]))
        y = lme.log_mean_exp_of_each(x, self.beta, ops.convert_to_tensor(self.offsets))
        return ops.reshape(y, (-1, *sizes, y.shape[-1])) if len(sizes) > 1 else y

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], self.offsets_shape[-1])


@register
class MEXPoolingByWindows(Plain):
    """MEX over windows, for a beta other than 0; `offsets` are those of each entry and position."""

    def __init__(self, beta, pool_size, strides, padding, offsets_shape=None, **kwargs):
        window = {"pool_size": tuple(pool_size), "strides": tuple(strides), "padding": padding}
        super().__init__({"beta": beta, **window, "offsets_shape": offsets_shape}, **kwargs)
        self.offsets = None if offsets_shape is None else self._constant("offsets", offsets_shape)

    def call(self, x):
        window = self.pool_size, self.strides, self.padding
        offsets = None if self.offsets is None else ops.convert_to_tensor(self.offsets)
        return lme.log_mean_exp_of_windows(x, self.beta, *window, offsets)

    def compute_output_shape(self, input_shape):
        axes = zip(input_shape[1:-1], self.pool_size, self.strides, strict=True)
        sizes = [window_output_size(*axis, self.padding) for axis in axes]
        return (input_shape[0], *sizes, input_shape[-1])


@register
class SimilarityOfOrder(Plain):
    """`-sum_i u_il |x_i - z_il|^p` of patches or of vectors, one template after the other."""

    def __init__(self, p, shape, strides=(), padding="valid", dilation_rate=(), **kwargs):
        window = {"strides": strides, "padding": padding, "dilation_rate": dilation_rate}
        super().__init__({"p": p, "shape": tuple(shape), **window}, **kwargs)
        self.templates = self._constant("templates", shape)
        self.similarity_weights = self._constant("similarity_weights", shape)

    def call(self, x):
        if len(self.shape) > 2:
            window = self.shape[:-2], tuple(self.strides), self.padding, tuple(self.dilation_rate)
            x = patches(x, *window)
        shape = (-1, self.shape[-1])
        z, u = ops.reshape(self.templates, shape), ops.reshape(self.similarity_weights, shape)
        parts = [self._compared(x, z[:, i], u[:, i]) for i in range(shape[-1])]
        return ops.concatenate(parts, axis=-1)

    def _compared(self, x, z, u):
        return -ops.sum(u * _power(ops.abs(x - z), self.p), axis=-1, keepdims=True)

    def compute_output_shape(self, input_shape):
        if len(self.shape) == 2:
            return (*input_shape[:-1], self.shape[-1])
        window = self.shape[:-2], self.strides, self.dilation_rate
        axes = zip(input_shape[1:-1], *window, strict=True)
        sizes = [window_output_size(n, k, s, self.padding, d) for n, k, s, d in axes]
        return (input_shape[0], *sizes, self.shape[-1])


def _pointwise(x, matrix):
    """A product at each position, as a 1x1 convolution where there are one to three spatial axes."""
    rank = len(x.shape) - 2
    if rank not in (1, 2, 3):
        return ops.matmul(x, matrix)
    kernel = ops.reshape(matrix, (*(1,) * rank, *matrix.shape))
    return ops.conv(x, kernel, padding="valid", data_format="channels_last")


def _power(size, p):
    """size^p for size >= 0; by roots and products where p is a small multiple of 1/2."""
    if 2 * p not in range(1, 9):
        return ops.power(size, p)
    y = ops.sqrt(size) if p != int(p) else None
    for _ in range(int(p)):
        y = size if y is None else y * size
    return y
