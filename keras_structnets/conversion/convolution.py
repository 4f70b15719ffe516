"""Convolutions as arrays: what the conversions read from a layer, and what they make of it."""

import dataclasses
import math
from collections.abc import Iterable
from typing import Any

import keras
import numpy as np

from keras_structnets.conversion.least_squares import Fit
from keras_structnets.conversion.registry import Options, Replacement
from keras_structnets.layers import GConv1D, GConv2D, GConv3D
from keras_structnets.ops.windows import slices

_CONVOLUTIONS = (keras.layers.Conv1D, keras.layers.Conv2D, keras.layers.Conv3D)
_GENERALIZED = (GConv1D, GConv2D, GConv3D)
_ENTRIES = 2**24  # of the windows of one chunk of images


@dataclasses.dataclass(frozen=True)
class Convolution:
    """A linear convolution: `kernel` [*k, c, filters], or [*k, c] if it is depthwise."""

    kernel: np.ndarray
    strides: tuple[int, ...]
    padding: str
    dilation_rate: tuple[int, ...]
    depthwise: bool = False

    @property
    def rank(self) -> int:
        """How many spatial axes there are."""
        return self.kernel.ndim - (1 if self.depthwise else 2)

    @property
    def kernel_size(self) -> tuple[int, ...]:
        """Along each spatial axis."""
        return self.kernel.shape[: self.rank]

    @property
    def channels(self) -> tuple[int, int]:
        """(in, out)."""
        return self.kernel.shape[self.rank], self.kernel.shape[-1]

    @property
    def center(self) -> tuple[int, ...]:
        """The entry of the kernel that stands on the pixel itself."""
        return tuple((k - 1) // 2 for k in self.kernel_size)

    def __call__(self, x: Any) -> np.ndarray:
        """The output for images [b, *n, c]."""
        operation, kernel = keras.ops.conv, self.kernel
        strides: Any = self.strides
        if self.depthwise:
            operation, kernel, strides = keras.ops.depthwise_conv, kernel[..., None], strides[0]
        y = operation(
            keras.ops.convert_to_tensor(x, "float32"),
            keras.ops.convert_to_tensor(kernel, "float32"),
            strides,
            self.padding,
            data_format="channels_last",
            dilation_rate=self.dilation_rate,
        )
        return keras.ops.convert_to_numpy(y)

    def windows(self, x: Any) -> np.ndarray:
        """What each entry of the kernel sees of images: [prod(k), pixels of all images, c]."""
        x = keras.ops.convert_to_tensor(x, "float32")
        seen = slices(x, self.kernel_size, self.strides, self.padding, self.dilation_rate)
        return np.stack([keras.ops.convert_to_numpy(s).reshape(-1, x.shape[-1]) for s in seen])

    def layer(self, **options: Any) -> keras.layers.Layer:
        """A layer of Keras with this window; its weights are `arrays`."""
        kind = f"DepthwiseConv{self.rank}D" if self.depthwise else f"Conv{self.rank}D"
        filters = () if self.depthwise else (self.kernel.shape[-1],)
        strides = self.strides[0] if self.depthwise else self.strides
        regularizer = options.pop("kernel_regularizer", None)
        options["depthwise_regularizer" if self.depthwise else "kernel_regularizer"] = regularizer
        make = getattr(keras.layers, kind)
        return make(
            *filters,
            self.kernel_size,
            strides,
            self.padding,
            dilation_rate=self.dilation_rate,
            **options,
        )

    @property
    def arrays(self) -> list[np.ndarray]:
        """The weights of `layer`, without a bias."""
        return [self.kernel[..., None] if self.depthwise else self.kernel]


def convolution_of(layer: keras.layers.Layer, options: Options) -> Convolution | None:
    """The convolution that a layer is before bias and activation; None if it is another thing."""
    plain = type(layer) in _CONVOLUTIONS and layer.groups == 1
    plain = plain and layer.data_format == "channels_last" and layer.padding != "causal"
    generalized = type(layer) in _GENERALIZED and layer.kernel.ndim == layer.rank + 2
    if not (plain or generalized):
        return None
    kernel = keras.ops.convert_to_numpy(layer.kernel).astype("float64")
    rank = kernel.ndim - 2
    dilation, strides = (_per_axis(n, rank) for n in (layer.dilation_rate, layer.strides))
    if min(kernel.shape[-2:]) < options.min_channels:
        return None
    return Convolution(kernel, strides, layer.padding, dilation)


def bias_of(layer: keras.layers.Layer) -> list[np.ndarray]:
    """The bias in a list, or an empty list."""
    return [keras.ops.convert_to_numpy(layer.bias).astype("float64")] if layer.use_bias else []


def settings_of(layer: keras.layers.Layer) -> dict[str, Any]:
    """What the last layer of a replacement takes over."""
    names = ("activation", "use_bias", "bias_regularizer", "bias_constraint", "trainable")
    return {name: getattr(layer, name) for name in names} | {"dtype": layer.dtype_policy}


def in_two(
    layer: keras.layers.Layer, whole: Convolution, first: Convolution, last: Convolution, names: Any
) -> Replacement:
    """The `Replacement` of a layer by two convolutions; its fit solves for the last one."""
    regularizer = {"kernel_regularizer": getattr(layer, "kernel_regularizer", None)}
    common = {"trainable": layer.trainable, "dtype": layer.dtype_policy} | regularizer
    parts = [
        first.layer(use_bias=False, name=f"{layer.name}_{names[0]}", **common),
        last.layer(name=f"{layer.name}_{names[1]}", **settings_of(layer) | regularizer),
    ]
    pair = keras.Sequential(parts, name=layer.name)
    bias = bias_of(layer)

    def samples(x: np.ndarray) -> Any:
        for part in chunks(x, whole, last):
            z = first(part)
            yield *_regressors(last, z, bias), rows(whole(part) - last(z))

    def corrected(shared: np.ndarray, own: np.ndarray) -> list[np.ndarray]:
        return first.arrays + _corrected(last, bias, shared, own)

    return Replacement(pair, [*first.arrays, *last.arrays, *bias], Fit(samples, corrected))


def _regressors(last, z, bias):
    """(shared [n, s], own [q, n, o]): the windows of z, and a one for the bias."""
    seen = last.windows(z)
    ones = np.ones((seen.shape[1], len(bias)))
    if last.depthwise:
        return ones, seen
    return np.concatenate([*seen, ones], axis=1), np.zeros((0, len(ones), last.channels[1]))


def _corrected(last, bias, shared, own):
    step = own if last.depthwise else shared[: len(shared) - len(bias)]
    kernel = dataclasses.replace(last, kernel=last.kernel + step.reshape(last.kernel.shape))
    return kernel.arrays + [b + shared[-1] for b in bias]


def chunks(x: np.ndarray, *convolutions: Convolution) -> Iterable[np.ndarray]:
    """The images, few enough at a time for all windows of each convolution to fit into memory."""
    widest = max(math.prod(c.kernel_size) * max(c.channels) for c in convolutions)
    n = max(1, _ENTRIES // (widest * math.prod(x.shape[1:-1])))
    yield from (x[i : i + n] for i in range(0, len(x), n))


def rows(y: np.ndarray) -> np.ndarray:
    """[b, *n, c] -> [pixels of all images, c]."""
    return y.reshape(-1, y.shape[-1])


def _per_axis(value, rank):
    return tuple(value) if isinstance(value, (tuple, list)) else (value,) * rank
