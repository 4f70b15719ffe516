"""Layers of the low-cost parameterizations: depthwise and mixed convolutions."""

from typing import Any

from keras import activations, constraints, initializers, regularizers

from keras_structnets import checks, ops
from keras_structnets.layers._base import SpatialLayer, register
from keras_structnets.signatures import Identifier, Shape, Sizes, Tensor

PLAUSIBLE = (
    15  # a kernel of this size may exceed a small image; beyond, it is rather a count of filters
)


class Stencil(SpatialLayer):
    """An operator from [b, *spatial, c] to the same shape, with one stencil for each channel."""

    padding = "periodic"

    def __init__(self, kernel_size: Sizes = 3, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.kernel_size = self._per_axis("kernel_size", kernel_size)

    def build(self, input_shape: Shape) -> None:
        self._check_image(input_shape)
        self._require_static("the channels of the input", input_shape[-1:])
        spatial = tuple(input_shape[1:-1])
        if self.padding == "periodic":
            self._require_static("the sizes of a periodic image", spatial)
        sizes = zip(self.kernel_size, spatial, strict=True)
        if all(n is not None and k > max(2 * n - 1, PLAUSIBLE) for k, n in sizes):
            self._refuse_kernel(spatial)

    def _refuse_kernel(self, spatial):
        raise ValueError(
            f"{type(self).__name__}: the kernel_size {self.kernel_size} is larger than an image of "
            f"{spatial} can use. This layer has no `filters`: its output has the channels of its "
            f"input, and its first argument is `kernel_size`, for example {type(self).__name__}(3)."
        )

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return tuple(input_shape)


class PaddedStencil(Stencil):
    """A stencil with a choice of what lies outside the image."""

    def __init__(self, kernel_size: Sizes = 3, *, padding: str = "same", **kwargs: Any) -> None:
        super().__init__(kernel_size, **kwargs)
        self.padding = self._one_of("padding", padding, ("same", "periodic"))


class DepthwiseKernel(Stencil):
    """Holds the weight `kernel` [*kernel_size, c]."""

    def __init__(
        self,
        kernel_size: Sizes = 3,
        *,
        kernel_initializer: Identifier = "he_uniform",
        kernel_regularizer: Identifier = None,
        kernel_constraint: Identifier = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(kernel_size, **kwargs)
        self.kernel_initializer = initializers.get(kernel_initializer)
        self.kernel_regularizer = regularizers.get(kernel_regularizer)
        self.kernel_constraint = constraints.get(kernel_constraint)

    def build(self, input_shape: Shape) -> None:
        super().build(input_shape)
        self.kernel = self.add_weight(
            name="kernel",
            shape=(*self.kernel_size, input_shape[-1]),
            initializer=self._initializer(input_shape[-1]),
            regularizer=self.kernel_regularizer,
            constraint=self._constraint(input_shape),
        )

    def _initializer(self, channels: int) -> Any:
        return self.kernel_initializer

    def _constraint(self, input_shape: Shape) -> Any:
        return self.kernel_constraint


class _StencilConv(PaddedStencil, DepthwiseKernel):
    """Depthwise convolution: one stencil per channel (Low-cost parameterizations, eq. 5).

    `y = K x`, where `K` correlates each channel with its own stencil; the image keeps its size.

    Shapes: [b, *spatial, c] -> [b, *spatial, c]. Weight: `kernel` [*kernel_size, c].

    Unlike `keras.layers.DepthwiseConv2D` it exists in 3-D and for periodic images. It selects the
    fastest kernel of the backend.

    Args:
        kernel_size: an integer, or one for each spatial axis.
        padding: "same", zeros outside, or "periodic", the image wraps around.
        method: "direct", or "fft", which multiplies the frequencies of a periodic image (eq. 10). It
            pays for large stencils.
        kernel_initializer: initializer of the stencils.
        kernel_regularizer: regularizer of the stencils.
        kernel_constraint: constraint on the stencils.
        **kwargs: passed to `keras.layers.Layer`.

    Raises:
        ValueError: for a value out of range, a kernel larger than the image can use, or a periodic
            image of unknown size.

    Example:
        >>> layer = ksn.layers.StencilConv2D(3, kernel_initializer="ones")
        >>> y = layer(np.ones((1, 3, 3, 16)))  # each pixel counts its neighbours and itself
        >>> keras.ops.convert_to_numpy(y)[0, :, :, 0].tolist()
        [[4.0, 6.0, 4.0], [6.0, 9.0, 6.0], [4.0, 6.0, 4.0]]

    Reference: Low-cost parameterizations of deep convolutional neural networks, section 3.1.
    """

    def __init__(self, kernel_size: Sizes = 3, *, method: str = "direct", **kwargs: Any) -> None:
        super().__init__(kernel_size, **kwargs)
        self.method = self._one_of("method", method, ("direct", "fft"))
        if self.method == "fft" and self.padding != "periodic":
            raise ValueError(
                f"{type(self).__name__}: `method='fft'` needs `padding='periodic'`, got "
                f"{self.padding!r}. Use method='direct' for zeros outside the image."
            )

    def call(self, inputs: Tensor) -> Tensor:
        x = self._floating(inputs)
        return ops.depthwise_conv(x, self.kernel, self.padding, self.method)


class _LinearMix(SpatialLayer):
    """A convolution reduced to the sum of a depthwise and a 1x1 one (Low-cost parameterizations, eq. 7).

    `y = act((K + M) x + b)`: a convolution that is masked to a stencil within each channel and to
    couplings between the channels of one pixel. Both are kept in full: the diagonal of `M` too, which
    the centers of the stencils repeat. It takes the arguments of `keras.layers.Conv2D`, in that order.

    The paper has as many filters as channels, strides of 1 and no bias. Where there are `filters` of
    another number, filter j has the stencil of channel `j mod c`; `M` acts on the center of each
    window, entry (k - 1) // 2 along an axis, or k // 2 of a periodic image.

    Shapes: [b, *spatial, c] -> [b, *spatial', filters]. Weights: `depthwise_kernel`
    [*kernel_size, filters], `pointwise_kernel` [c, filters] and `bias` [filters].

    Args:
        filters: number of output channels; None is that of the input.
        kernel_size: an integer, or one for each spatial axis.
        strides: an integer, or one for each spatial axis.
        padding: "valid"; "same", zeros outside; or "periodic", the image wraps around.
        dilation_rate: an integer, or one for each spatial axis; above 1 only with strides of 1.
        activation: a name or a function; None is linear.
        use_bias: whether to add a bias.
        depthwise_initializer: initializer of `depthwise_kernel`.
        pointwise_initializer: initializer of `pointwise_kernel`.
        bias_initializer: initializer of the bias.
        depthwise_regularizer: regularizer of `depthwise_kernel`.
        pointwise_regularizer: regularizer of `pointwise_kernel`.
        bias_regularizer: regularizer of the bias.
        depthwise_constraint: constraint on `depthwise_kernel`.
        pointwise_constraint: constraint on `pointwise_kernel`.
        bias_constraint: constraint on the bias.
        **kwargs: passed to `keras.layers.Layer`.

    Raises:
        ValueError: for a value out of range, a kernel larger than the image under "valid" padding, or
            a periodic image of unknown size.

    Example:
        >>> layer = ksn.layers.LinearMixConv2D(16, 3, padding="same", use_bias=False)
        >>> y = layer(keras.Input((32, 32, 16)))
        >>> y.shape, layer.count_params()  # 3 * 3 * 16 + 16 * 16, where Conv2D has 3 * 3 * 16 * 16
        ((None, 32, 32, 16), 400)

    Reference: Low-cost parameterizations of deep convolutional neural networks, section 3.1.
    """

    def __init__(
        self,
        filters: int | None,
        kernel_size: Sizes,
        strides: Sizes = 1,
        padding: str = "valid",
        dilation_rate: Sizes = 1,
        *,
        activation: Identifier = None,
        use_bias: bool = True,
        depthwise_initializer: Identifier = "he_uniform",
        pointwise_initializer: Identifier = "he_uniform",
        bias_initializer: Identifier = "zeros",
        depthwise_regularizer: Identifier = None,
        pointwise_regularizer: Identifier = None,
        bias_regularizer: Identifier = None,
        depthwise_constraint: Identifier = None,
        pointwise_constraint: Identifier = None,
        bias_constraint: Identifier = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        owner = type(self).__name__
        self.filters = None if filters is None else checks.integer(owner, "filters", filters)
        self.kernel_size = self._per_axis("kernel_size", kernel_size)
        self.strides = self._per_axis("strides", strides)
        self.padding = self._one_of("padding", padding, ("valid", "same", "periodic"))
        self.dilation_rate = self._per_axis("dilation_rate", dilation_rate)
        checks.not_both_strided_and_dilated(owner, self.strides, self.dilation_rate)
        self.activation = activations.get(activation)
        self.use_bias = use_bias
        self.depthwise_initializer = initializers.get(depthwise_initializer)
        self.pointwise_initializer = initializers.get(pointwise_initializer)
        self.bias_initializer = initializers.get(bias_initializer)
        self.depthwise_regularizer = regularizers.get(depthwise_regularizer)
        self.pointwise_regularizer = regularizers.get(pointwise_regularizer)
        self.bias_regularizer = regularizers.get(bias_regularizer)
        self.depthwise_constraint = constraints.get(depthwise_constraint)
        self.pointwise_constraint = constraints.get(pointwise_constraint)
        self.bias_constraint = constraints.get(bias_constraint)

    def build(self, input_shape: Shape) -> None:
        self._check_input(input_shape)
        channels = input_shape[-1]
        filters = self.filters or channels
        self.depthwise_kernel = self._weight("depthwise", "kernel", (*self.kernel_size, filters))
        self.pointwise_kernel = self._weight("pointwise", "kernel", (channels, filters))
        self.bias = self._weight("bias", "", (filters,)) if self.use_bias else None

    def _check_input(self, input_shape: Shape) -> None:
        self._check_image(input_shape)
        self._require_static("the channels of the input", input_shape[-1:])
        self._check_window(self.kernel_size, input_shape[1:-1], self.dilation_rate)
        if self.padding == "periodic":
            self._require_static("the sizes of a periodic image", input_shape[1:-1])

    def _weight(self, kind: str, noun: str, shape: Shape) -> Any:
        return self.add_weight(
            name=f"{kind}_{noun}".strip("_"),
            shape=shape,
            initializer=getattr(self, f"{kind}_initializer"),
            regularizer=getattr(self, f"{kind}_regularizer"),
            constraint=getattr(self, f"{kind}_constraint"),
        )

    def call(self, inputs: Tensor) -> Tensor:
        y = ops.linear_mix_conv(
            self._floating(inputs),
            self.depthwise_kernel,
            self.pointwise_kernel,
            self.padding,
            self.strides,
            self.dilation_rate,
        )
        return self.activation(y if self.bias is None else y + self.bias)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        sizes = self._output_sizes(input_shape[1:-1], self.kernel_size, self.dilation_rate)
        return (input_shape[0], *sizes, self.filters or input_shape[-1])

    def get_config(self) -> dict[str, Any]:
        return self._config(activation=activations.serialize(self.activation))

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Any:
        """A layer of version 0.1.0 had neither filters nor a bias."""
        return cls(**({} if "filters" in config else {"filters": None, "use_bias": False}) | config)


@register
class StencilConv1D(_StencilConv):
    rank = 1


@register
class StencilConv2D(_StencilConv):
    rank = 2


@register
class StencilConv3D(_StencilConv):
    rank = 3


@register
class LinearMixConv1D(_LinearMix):
    rank = 1


@register
class LinearMixConv2D(_LinearMix):
    rank = 2


@register
class LinearMixConv3D(_LinearMix):
    rank = 3
