"""Steps of diffusion: explicit, implicit, and circulant in the channels."""

import math
from typing import Any

from keras import initializers
from keras import ops as keras_ops

from keras_structnets import checks, ops
from keras_structnets.layers._base import register
from keras_structnets.layers.lowcost import DepthwiseKernel, PaddedStencil
from keras_structnets.signatures import Identifier, Shape, Sizes, Tensor


class _Diffusion(DepthwiseKernel):
    """A step of diffusion with a depthwise kernel and the step size `h`."""

    def __init__(
        self,
        kernel_size: Sizes = 3,
        *,
        step_size: float = 0.5,
        kernel_initializer: Identifier = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(kernel_size, kernel_initializer=kernel_initializer, **kwargs)
        self.step_size = checks.positive(type(self).__name__, "step_size", step_size)

    def _initializer(self, channels: int) -> Any:
        if self.kernel_initializer is not None:
            return self.kernel_initializer
        limit = math.sqrt(3 / (20 * self.step_size * self._entries(channels)))
        return initializers.RandomUniform(-limit, limit)

    def _entries(self, channels: int) -> int:
        """How many entries of the kernel reach one output."""
        return math.prod(self.kernel_size)


class _BoundedDiffusion(_Diffusion):
    """An explicit step, whose stability can be enforced."""

    def __init__(
        self, kernel_size: Sizes = 3, *, bound: float | None = None, **kwargs: Any
    ) -> None:
        super().__init__(kernel_size, **kwargs)
        self.bound = checks.positive(type(self).__name__, "bound", bound) if bound else None
        if self.bound and self.bound > 2:
            raise ValueError(
                f"{type(self).__name__}: `bound` must be at most 2, as the step is unstable beyond, "
                f"got {bound!r}. Use 1, 2, or None for no bound."
            )

    def _constraint(self, input_shape: Shape) -> Any:
        spatial = tuple(input_shape[1:-1])
        if self.bound is None:
            return self.kernel_constraint
        self._require_static("the sizes of the image, which `bound` needs,", spatial)
        return lambda kernel: self._bounded(kernel, spatial)

    def _bounded(self, kernel: Tensor, spatial: Shape) -> Tensor:
        """The stencils, scaled down to `h rho <= bound`."""
        kernel = kernel if self.kernel_constraint is None else self.kernel_constraint(kernel)
        product = self.step_size * self._spectral_radius(
            keras_ops.convert_to_tensor(kernel), spatial
        )
        scale = keras_ops.sqrt(keras_ops.maximum(product / self.bound, 1))
        return kernel / keras_ops.cast(scale, kernel.dtype)

    def _spectral_radius(self, kernel: Tensor, spatial: Shape) -> Tensor:
        """`rho`, the largest eigenvalue of `K^T K`, or one for each channel."""
        raise NotImplementedError


class _ExplicitDiffusion(PaddedStencil, _BoundedDiffusion):
    """One explicit step of diffusion (Low-cost parameterizations, the diffusion of eq. 9).

    `y = x - h K^T K x`, `K` depthwise, `K^T` its exact adjoint under the padding. The step never
    increases the norm while `h rho <= 2`, with `rho` the largest eigenvalue of `K^T K`; from 1 to 2 it
    changes the sign of what it should damp most. Training may leave that region, unless `bound`
    keeps the stencils inside; `ImplicitDiffusion` has no such limit.

    Shapes: [b, *spatial, c] -> [b, *spatial, c]. Weight: `kernel` [*kernel_size, c].

    Args:
        kernel_size: an integer, or one for each spatial axis.
        step_size: `h`, above 0.
        bound: 1 or 2 keeps `h rho` at or below it: the optimizers of Keras scale the stencils down after
            each step. Weights that are loaded or drawn stay as they are until then. It needs images of
            known size. None or 0 for no bound, as in the paper.
        padding: "same", zeros outside, or "periodic", the image wraps around.
        kernel_initializer: initializer of the stencils. None draws the `n` entries that reach one
            output (`prod(kernel_size)` of them) uniformly with variance 1 / (20 h n): an eigenvalue
            `|sum_o k_o e^(i w o)|^2` then has the mean 1 / (20 h). So `h rho <= 2` for certain up
            to 13 entries, as `|sum| <= n max|k_o|`; beyond, where the entries rarely conspire, but
            for a chance of about e^-20 at each frequency.
        kernel_regularizer: regularizer of the stencils.
        kernel_constraint: constraint on the stencils, before that of `bound`.
        **kwargs: passed to `keras.layers.Layer`.

    Raises:
        ValueError: for a value out of range, or an image of unknown size that is periodic or has a bound.

    Example:
        >>> x = np.random.default_rng(0).normal(size=(1, 8, 8, 4))
        >>> layer = ksn.layers.ExplicitDiffusion2D(3, step_size=0.5)
        >>> y = keras.ops.convert_to_numpy(layer(x))
        >>> bool(np.linalg.norm(y) <= np.linalg.norm(x))
        True

    Reference: Low-cost parameterizations of deep convolutional neural networks, section 3.2.1.
    """

    def _spectral_radius(self, kernel: Tensor, spatial: Shape) -> Tensor:
        if self.padding == "same":  # part of a periodic operator on a larger image
            spatial = tuple(n + k - 1 for n, k in zip(spatial, self.kernel_size, strict=True))
        re, im = ops.stencil_spectrum(kernel, spatial)
        return keras_ops.max(re * re + im * im, axis=tuple(range(self.rank)))

    def call(self, inputs: Tensor) -> Tensor:
        x = self._floating(inputs)
        return ops.explicit_diffusion(x, self.kernel, self.step_size, self.padding)


class _ImplicitDiffusion(_Diffusion):
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
        **kwargs: passed to `keras.layers.Layer`.

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

    def call(self, inputs: Tensor) -> Tensor:
        return ops.implicit_diffusion(self._floating(inputs), self.kernel, self.step_size)


class _CirculantDiffusion(_BoundedDiffusion):
    """One explicit step of diffusion in space and channels (Low-cost parameterizations, eq. 9, 12).

    `y = x - h K^T K x`, where `K` is block circulant, `(K x)_i = sum_d C_d x_((i + d) mod c)`, each
    `C_d` a periodic convolution. The step never increases the norm while `h rho <= 2`, as that of
    `ExplicitDiffusion`. As all `c` stencils add up, training leaves that region easily, unless `bound`
    keeps the stencils inside.

    Shapes: [b, *spatial, c] -> [b, *spatial, c], sizes known. Weight: `kernel` [*kernel_size, c],
    where `kernel[..., d]` is the stencil of `C_d`.

    Args:
        kernel_size: an integer, or one for each spatial axis. It may exceed the image.
        step_size: `h`, above 0.
        bound: 1 or 2 keeps `h rho` at or below it: the optimizers of Keras scale the stencils down after
            each step. Weights that are loaded or drawn stay as they are until then. It needs images of
            known size. None or 0 for no bound, as in the paper.
        kernel_initializer: initializer of the stencils; None as in `ExplicitDiffusion`, with
            `n = prod(kernel_size) c`, as all stencils reach each output.
        kernel_regularizer: regularizer of the stencils.
        kernel_constraint: constraint on the stencils, before that of `bound`.
        **kwargs: passed to `keras.layers.Layer`.

    Raises:
        ValueError: for a value out of range, or an image of unknown size.

    Example:
        >>> layer = ksn.layers.CirculantDiffusion2D(3, step_size=0.5)
        >>> y = layer(keras.Input((8, 8, 4)))
        >>> y.shape, tuple(layer.kernel.shape)
        ((None, 8, 8, 4), (3, 3, 4))

    Reference: Low-cost parameterizations of deep convolutional neural networks, section 3.2.3.
    """

    def _entries(self, channels: int) -> int:
        return math.prod(self.kernel_size) * channels

    def _spectral_radius(self, kernel: Tensor, spatial: Shape) -> Tensor:
        re, im = ops.circulant_spectrum(kernel, spatial)
        return keras_ops.max(re * re + im * im)

    def call(self, inputs: Tensor) -> Tensor:
        return ops.circulant_diffusion(self._floating(inputs), self.kernel, self.step_size)


@register
class ExplicitDiffusion1D(_ExplicitDiffusion):
    rank = 1


@register
class ExplicitDiffusion2D(_ExplicitDiffusion):
    rank = 2


@register
class ExplicitDiffusion3D(_ExplicitDiffusion):
    rank = 3


@register
class ImplicitDiffusion1D(_ImplicitDiffusion):
    rank = 1


@register
class ImplicitDiffusion2D(_ImplicitDiffusion):
    rank = 2


@register
class ImplicitDiffusion3D(_ImplicitDiffusion):
    rank = 3


@register
class CirculantDiffusion1D(_CirculantDiffusion):
    rank = 1


@register
class CirculantDiffusion2D(_CirculantDiffusion):
    rank = 2


@register
class CirculantDiffusion3D(_CirculantDiffusion):
    rank = 3
