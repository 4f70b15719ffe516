"""Layers of the low-cost parameterizations: sparse convolutions, and steps of diffusion."""

import math
from collections.abc import Sequence
from typing import Any

import keras
from keras import constraints, initializers, regularizers

from keras_structnets import checks, ops
from keras_structnets.signatures import Identifier, Shape, Sizes, Tensor

_register = keras.saving.register_keras_serializable(package="keras_structnets")


@_register
class StableCirculant(keras.constraints.Constraint):
    """Scales the kernel of `CirculantDiffusion` down until `h rho <= 1`, for images of one size.

    `rho` is the largest eigenvalue of `K^T K`. Up to 2 the step is stable, but between 1 and 2 it
    changes the sign of what it should smooth.

    Args:
        step_size: `h`, above 0.
        spatial_shape: sizes of the image.

    Raises:
        ValueError: for a step or sizes that are not positive.

    Example:
        >>> stable = ksn.layers.StableCirculant(step_size=0.5, spatial_shape=(4, 4))
        >>> kernel = np.zeros((3, 3, 2), "float32")
        >>> kernel[1, 1, 0] = 10.0  # K = 10, so h rho = 50
        >>> keras.ops.convert_to_numpy(stable(kernel)).max().round(3)  # sqrt(1 / h)
        np.float32(1.414)
        >>> layer = ksn.layers.CirculantDiffusion2D(3, step_size=0.5, kernel_constraint=stable)
    """

    def __init__(self, step_size: float, spatial_shape: Sequence[int]) -> None:
        self.step_size = checks.positive("StableCirculant", "step_size", step_size)
        self.spatial_shape = checks.integers(
            "StableCirculant", "spatial_shape", spatial_shape, len(spatial_shape)
        )

    def __call__(self, kernel: Tensor) -> Tensor:
        re, im = ops.circulant_spectrum(kernel, self.spatial_shape)
        excess = self.step_size * keras.ops.max(re * re + im * im)
        return kernel / keras.ops.cast(keras.ops.sqrt(keras.ops.maximum(excess, 1)), kernel.dtype)

    def get_config(self) -> dict[str, Any]:
        return {"step_size": self.step_size, "spatial_shape": self.spatial_shape}


class _Lowcost(keras.layers.Layer):
    """An operator from [b, *spatial, c] to the same shape, with one stencil per channel."""

    rank: int

    def __init__(self, kernel_size: Sizes, padding: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        owner = type(self).__name__
        checks.channels_last(owner)
        self.kernel_size = checks.integers(owner, "kernel_size", kernel_size, self.rank)
        self.padding = checks.one_of(owner, "padding", padding, ("same", "periodic"))

    def build(self, input_shape: Shape) -> None:
        owner = type(self).__name__
        axes = f"[batch, {self.rank} spatial, channels]"
        checks.rank_of_input(owner, input_shape, self.rank + 2, axes)
        checks.static_size(owner, "the channels of the input", input_shape[-1:])
        if self.padding == "periodic":
            checks.static_size(owner, "the sizes of a periodic image", input_shape[1:-1])
        self._add_weights(input_shape[-1])

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return tuple(input_shape)

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"kernel_size": self.kernel_size}


class _StencilConv(_Lowcost):
    """Depthwise convolution: one stencil per channel (Low-cost parameterizations, eq. 5).

    `y = K x`, where `K` correlates each channel with its own stencil; the image keeps its size.

    Shapes: [b, *spatial, c] -> [b, *spatial, c]. Weight: `kernel` [*kernel_size, c].

    Unlike `keras.layers.DepthwiseConv2D` it exists in 3-D and for periodic images, and is computed
    in the form that was measured to be the fast one on the backend at hand.

    Args:
        kernel_size: an integer, or one for each spatial axis.
        padding: "same", zeros outside, or "periodic", the image wraps around.
        kernel_initializer: initializer of the stencils.
        kernel_regularizer: regularizer of the stencils.
        kernel_constraint: constraint on the stencils.
        **kwargs: of `keras.layers.Layer`.

    Raises:
        ValueError: for a value out of range, or a periodic image of unknown size.

    Example:
        >>> layer = ksn.layers.StencilConv2D(3, kernel_initializer="ones")
        >>> y = layer(np.ones((1, 3, 3, 16)))  # each pixel counts its neighbours and itself
        >>> keras.ops.convert_to_numpy(y)[0, :, :, 0].tolist()
        [[4.0, 6.0, 4.0], [6.0, 9.0, 6.0], [4.0, 6.0, 4.0]]

    Reference: Low-cost parameterizations of deep convolutional neural networks, section 3.1.
    """

    def __init__(
        self,
        kernel_size: Sizes = 3,
        padding: str = "same",
        kernel_initializer: Identifier = "he_uniform",
        kernel_regularizer: Identifier = None,
        kernel_constraint: Identifier = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(kernel_size, padding, **kwargs)
        self.kernel_initializer = initializers.get(kernel_initializer)
        self.kernel_regularizer = regularizers.get(kernel_regularizer)
        self.kernel_constraint = constraints.get(kernel_constraint)

    def _add_weights(self, channels):
        self.kernel = self.add_weight(
            name="kernel",
            shape=(*self.kernel_size, channels),
            initializer=self.kernel_initializer or self._initial_kernel(channels),
            regularizer=self.kernel_regularizer,
            constraint=self.kernel_constraint,
        )

    def call(self, x: Tensor) -> Tensor:
        return ops.depthwise_conv(x, self.kernel, self.padding)

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {
            "padding": self.padding,
            "kernel_initializer": initializers.serialize(self.kernel_initializer),
            "kernel_regularizer": regularizers.serialize(self.kernel_regularizer),
            "kernel_constraint": constraints.serialize(self.kernel_constraint),
        }


class _LinearMix(_Lowcost):
    """The sum of a depthwise and a 1x1 convolution (Low-cost parameterizations, eq. 7).

    `y = (K + M) x`: a convolution that is masked to a stencil within each channel and to couplings
    between the channels of one pixel. Both are kept in full: the diagonal of `M` too, which the
    centers of the stencils repeat.

    Shapes: [b, *spatial, c] -> [b, *spatial, c]. Weights: `depthwise_kernel` [*kernel_size, c],
    `pointwise_kernel` [c, c] from input to output channels.

    Args:
        kernel_size: an integer, or one for each spatial axis.
        padding: "same", zeros outside, or "periodic", the image wraps around.
        depthwise_initializer: initializer of `depthwise_kernel`.
        pointwise_initializer: initializer of `pointwise_kernel`.
        depthwise_regularizer: regularizer of `depthwise_kernel`.
        pointwise_regularizer: regularizer of `pointwise_kernel`.
        depthwise_constraint: constraint on `depthwise_kernel`.
        pointwise_constraint: constraint on `pointwise_kernel`.
        **kwargs: of `keras.layers.Layer`.

    Raises:
        ValueError: for a value out of range, or a periodic image of unknown size.

    Example:
        >>> layer = ksn.layers.LinearMixConv2D(3)
        >>> y = layer(keras.Input((32, 32, 16)))
        >>> y.shape, layer.count_params()  # 3 * 3 * 16 + 16 * 16, where Conv2D has 3 * 3 * 16 * 16
        ((None, 32, 32, 16), 400)

    Reference: Low-cost parameterizations of deep convolutional neural networks, section 3.1.
    """

    def __init__(
        self,
        kernel_size: Sizes = 3,
        padding: str = "same",
        depthwise_initializer: Identifier = "he_uniform",
        pointwise_initializer: Identifier = "he_uniform",
        depthwise_regularizer: Identifier = None,
        pointwise_regularizer: Identifier = None,
        depthwise_constraint: Identifier = None,
        pointwise_constraint: Identifier = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(kernel_size, padding, **kwargs)
        self.depthwise_initializer = initializers.get(depthwise_initializer)
        self.pointwise_initializer = initializers.get(pointwise_initializer)
        self.depthwise_regularizer = regularizers.get(depthwise_regularizer)
        self.pointwise_regularizer = regularizers.get(pointwise_regularizer)
        self.depthwise_constraint = constraints.get(depthwise_constraint)
        self.pointwise_constraint = constraints.get(pointwise_constraint)

    def _add_weights(self, channels):
        self.depthwise_kernel = self.add_weight(
            name="depthwise_kernel",
            shape=(*self.kernel_size, channels),
            initializer=self.depthwise_initializer,
            regularizer=self.depthwise_regularizer,
            constraint=self.depthwise_constraint,
        )
        self.pointwise_kernel = self.add_weight(
            name="pointwise_kernel",
            shape=(channels, channels),
            initializer=self.pointwise_initializer,
            regularizer=self.pointwise_regularizer,
            constraint=self.pointwise_constraint,
        )

    def call(self, x: Tensor) -> Tensor:
        return ops.linear_mix_conv(x, self.depthwise_kernel, self.pointwise_kernel, self.padding)

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {
            "padding": self.padding,
            "depthwise_initializer": initializers.serialize(self.depthwise_initializer),
            "pointwise_initializer": initializers.serialize(self.pointwise_initializer),
            "depthwise_regularizer": regularizers.serialize(self.depthwise_regularizer),
            "pointwise_regularizer": regularizers.serialize(self.pointwise_regularizer),
            "depthwise_constraint": constraints.serialize(self.depthwise_constraint),
            "pointwise_constraint": constraints.serialize(self.pointwise_constraint),
        }


class _ExplicitDiffusion(_StencilConv):
    """One explicit step of diffusion (Low-cost parameterizations, the diffusion of eq. 9).

    `y = x - h K^T K x`, `K` depthwise, `K^T` its exact adjoint under the padding. The step never
    increases the norm while `h rho <= 2`, with `rho` the largest eigenvalue of `K^T K`. Training
    may leave that region; `ImplicitDiffusion` has no such limit.

    Shapes: [b, *spatial, c] -> [b, *spatial, c]. Weight: `kernel` [*kernel_size, c].

    Args:
        kernel_size: an integer, or one for each spatial axis.
        step_size: `h`, above 0.
        padding: "same", zeros outside, or "periodic", the image wraps around.
        kernel_initializer: initializer of the stencils. None draws the `n` entries that reach one
            output (`prod(kernel_size)` of them) uniformly with variance 1 / (20 h n): an eigenvalue
            `|sum_o k_o e^(i w o)|^2` then has the mean 1 / (20 h). So `h rho <= 2` for certain up
            to 13 entries, as `|sum| <= n max|k_o|`; beyond, where the entries rarely conspire, but
            for a chance of about e^-20 at each frequency.
        kernel_regularizer: regularizer of the stencils.
        kernel_constraint: constraint on the stencils.
        **kwargs: of `keras.layers.Layer`.

    Raises:
        ValueError: for a value out of range, or a periodic image of unknown size.

    Example:
        >>> x = np.random.default_rng(0).normal(size=(1, 8, 8, 4))
        >>> layer = ksn.layers.ExplicitDiffusion2D(3, step_size=0.5)
        >>> y = keras.ops.convert_to_numpy(layer(x))
        >>> bool(np.linalg.norm(y) <= np.linalg.norm(x))
        True

    Reference: Low-cost parameterizations of deep convolutional neural networks, section 3.2.1.
    """

    def __init__(
        self,
        kernel_size: Sizes = 3,
        step_size: float = 0.5,
        padding: str = "same",
        kernel_initializer: Identifier = None,
        kernel_regularizer: Identifier = None,
        kernel_constraint: Identifier = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            kernel_size,
            padding,
            kernel_initializer,
            kernel_regularizer,
            kernel_constraint,
            **kwargs,
        )
        self.step_size = checks.positive(type(self).__name__, "step_size", step_size)

    def _initial_kernel(self, channels):
        limit = math.sqrt(3 / (20 * self.step_size * self._entries(channels)))
        return initializers.RandomUniform(-limit, limit)

    def _entries(self, channels):
        return math.prod(self.kernel_size)

    def call(self, x: Tensor) -> Tensor:
        return ops.explicit_diffusion(x, self.kernel, self.step_size, self.padding)

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"step_size": self.step_size}


class _PeriodicDiffusion(_ExplicitDiffusion):
    """A step of diffusion that is periodic only."""

    def __init__(
        self,
        kernel_size: Sizes = 3,
        step_size: float = 0.5,
        kernel_initializer: Identifier = None,
        kernel_regularizer: Identifier = None,
        kernel_constraint: Identifier = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            kernel_size,
            step_size,
            "periodic",
            kernel_initializer,
            kernel_regularizer,
            kernel_constraint,
            **kwargs,
        )

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        del config["padding"]
        return config


class _ImplicitDiffusion(_PeriodicDiffusion):
    """One implicit step of diffusion (Low-cost parameterizations, the operator of eq. 11).

    `y = (I + h K^T K)^-1 x`, `K` depthwise and periodic. It never increases the norm, whatever the
    stencils and `h`, and lets each pixel reach all others in one step.

    Shapes: [b, *spatial, c] -> [b, *spatial, c], sizes known. Weight: `kernel` [*kernel_size, c].

    Args:
        kernel_size: an integer, or one for each spatial axis. It may exceed the image.
        step_size: `h`, above 0.
        kernel_initializer: initializer of the stencils; None as in `ExplicitDiffusion`, so that
            both start from about the same operator.
        kernel_regularizer: regularizer of the stencils.
        kernel_constraint: constraint on the stencils.
        **kwargs: of `keras.layers.Layer`.

    Raises:
        ValueError: for a value out of range, or an image of unknown size.

    Example:
        >>> x = np.random.default_rng(0).normal(size=(1, 8, 8, 4))
        >>> layer = ksn.layers.ImplicitDiffusion2D(3, step_size=9.0, kernel_initializer="ones")
        >>> y = keras.ops.convert_to_numpy(layer(x))
        >>> bool(np.linalg.norm(y) <= np.linalg.norm(x))  # whatever the stencils and the step
        True

    Reference: Low-cost parameterizations of deep convolutional neural networks, section 3.2.2.
    """

    def call(self, x: Tensor) -> Tensor:
        return ops.implicit_diffusion(x, self.kernel, self.step_size)


class _CirculantDiffusion(_PeriodicDiffusion):
    """One explicit step of diffusion in space and channels (Low-cost parameterizations, eq. 9, 12).

    `y = x - h K^T K x`, where `K` is block circulant, `(K x)_i = sum_d C_d x_((i + d) mod c)`, each
    `C_d` a periodic convolution. The step never increases the norm while `h rho <= 2`, as that of
    `ExplicitDiffusion`. As all `c` stencils add up, training leaves that region easily: the
    constraint `StableCirculant` keeps it inside.

    Shapes: [b, *spatial, c] -> [b, *spatial, c], sizes known. Weight: `kernel` [*kernel_size, c],
    where `kernel[..., d]` is the stencil of `C_d`.

    Args:
        kernel_size: an integer, or one for each spatial axis. It may exceed the image.
        step_size: `h`, above 0.
        kernel_initializer: initializer of the stencils; None as in `ExplicitDiffusion`, with
            `n = prod(kernel_size) c`, as all stencils reach each output.
        kernel_regularizer: regularizer of the stencils.
        kernel_constraint: constraint on the stencils, for example `StableCirculant`.
        **kwargs: of `keras.layers.Layer`.

    Raises:
        ValueError: for a value out of range, or an image of unknown size.

    Example:
        >>> layer = ksn.layers.CirculantDiffusion2D(3, step_size=0.5)
        >>> y = layer(keras.Input((8, 8, 4)))
        >>> y.shape, tuple(layer.kernel.shape)
        ((None, 8, 8, 4), (3, 3, 4))

    Reference: Low-cost parameterizations of deep convolutional neural networks, section 3.2.3.
    """

    def _entries(self, channels):
        return math.prod(self.kernel_size) * channels

    def call(self, x: Tensor) -> Tensor:
        return ops.circulant_diffusion(x, self.kernel, self.step_size)


@_register
class StencilConv1D(_StencilConv):
    __doc__ = _StencilConv.__doc__
    rank = 1


@_register
class StencilConv2D(_StencilConv):
    __doc__ = _StencilConv.__doc__
    rank = 2


@_register
class StencilConv3D(_StencilConv):
    __doc__ = _StencilConv.__doc__
    rank = 3


@_register
class LinearMixConv1D(_LinearMix):
    __doc__ = _LinearMix.__doc__
    rank = 1


@_register
class LinearMixConv2D(_LinearMix):
    __doc__ = _LinearMix.__doc__
    rank = 2


@_register
class LinearMixConv3D(_LinearMix):
    __doc__ = _LinearMix.__doc__
    rank = 3


@_register
class ExplicitDiffusion1D(_ExplicitDiffusion):
    __doc__ = _ExplicitDiffusion.__doc__
    rank = 1


@_register
class ExplicitDiffusion2D(_ExplicitDiffusion):
    __doc__ = _ExplicitDiffusion.__doc__
    rank = 2


@_register
class ExplicitDiffusion3D(_ExplicitDiffusion):
    __doc__ = _ExplicitDiffusion.__doc__
    rank = 3


@_register
class ImplicitDiffusion1D(_ImplicitDiffusion):
    __doc__ = _ImplicitDiffusion.__doc__
    rank = 1


@_register
class ImplicitDiffusion2D(_ImplicitDiffusion):
    __doc__ = _ImplicitDiffusion.__doc__
    rank = 2


@_register
class ImplicitDiffusion3D(_ImplicitDiffusion):
    __doc__ = _ImplicitDiffusion.__doc__
    rank = 3


@_register
class CirculantDiffusion1D(_CirculantDiffusion):
    __doc__ = _CirculantDiffusion.__doc__
    rank = 1


@_register
class CirculantDiffusion2D(_CirculantDiffusion):
    __doc__ = _CirculantDiffusion.__doc__
    rank = 2


@_register
class CirculantDiffusion3D(_CirculantDiffusion):
    __doc__ = _CirculantDiffusion.__doc__
    rank = 3
