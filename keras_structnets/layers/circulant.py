"""Convolutions that are circulant in the channels."""

from typing import Any

from keras import activations, constraints, initializers, regularizers

from keras_structnets import ops
from keras_structnets.layers._base import register
from keras_structnets.layers.lowcost import DepthwiseKernel, PaddedStencil
from keras_structnets.signatures import Identifier, Shape, Sizes, Tensor


class _CirculantConv(PaddedStencil, DepthwiseKernel):
    """A convolution that is circulant in the channels (Low-cost parameterizations, eq. 12).

    `y = act(K x + b)` with `(K x)_i = sum_d C_d x_((i + d) mod c)`: it couples all channels, with one
    stencil for each difference d of channels. The paper has it within `CirculantDiffusion`, for
    periodic images and without a bias. It is computed by Fourier transforms.

    Shapes: [b, *spatial, c] -> [b, *spatial, c], sizes known. Weights: `kernel` [*kernel_size, c],
    where `kernel[..., d]` is the stencil of `C_d`, and `bias` [c].

    Args:
        kernel_size: an integer, or one for each spatial axis.
        padding: "same", zeros outside, or "periodic", the image wraps around.
        activation: a name or a function; None is linear.
        use_bias: whether to add a bias.
        kernel_initializer: initializer of the stencils; None scales "he_uniform" to the
            `prod(kernel_size) * c` entries that reach one output.
        bias_initializer: initializer of the bias.
        kernel_regularizer: regularizer of the stencils.
        bias_regularizer: regularizer of the bias.
        kernel_constraint: constraint on the stencils.
        bias_constraint: constraint on the bias.
        **kwargs: passed to `keras.layers.Layer`.

    Raises:
        ValueError: for a value out of range, or an image of unknown size.

    Example:
        >>> layer = ksn.layers.CirculantConv2D(3)
        >>> y = layer(keras.Input((32, 32, 16)))
        >>> y.shape, layer.count_params()  # 3 * 3 * 16 + 16, where Conv2D has 3 * 3 * 16 * 16 + 16
        ((None, 32, 32, 16), 160)

    Reference: Low-cost parameterizations of deep convolutional neural networks, section 3.2.3.
    """

    def __init__(
        self,
        kernel_size: Sizes = 3,
        *,
        activation: Identifier = None,
        use_bias: bool = True,
        kernel_initializer: Identifier = None,
        bias_initializer: Identifier = "zeros",
        bias_regularizer: Identifier = None,
        bias_constraint: Identifier = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(kernel_size, kernel_initializer=kernel_initializer, **kwargs)
        self.activation = activations.get(activation)
        self.use_bias = use_bias
        self.bias_initializer = initializers.get(bias_initializer)
        self.bias_regularizer = regularizers.get(bias_regularizer)
        self.bias_constraint = constraints.get(bias_constraint)

    def build(self, input_shape: Shape) -> None:
        self._require_static("the sizes of the image", tuple(input_shape[1:-1]))
        super().build(input_shape)
        self.bias = None
        if self.use_bias:
            self.bias = self.add_weight(
                name="bias",
                shape=(input_shape[-1],),
                initializer=self.bias_initializer,
                regularizer=self.bias_regularizer,
                constraint=self.bias_constraint,
            )

    def _initializer(self, channels: int) -> Any:
        he_uniform = initializers.VarianceScaling(2.0 / channels, "fan_in", "uniform")
        return self.kernel_initializer or he_uniform

    def call(self, inputs: Tensor) -> Tensor:
        y = ops.circulant_conv(self._floating(inputs), self.kernel, self.padding)
        return self.activation(y if self.bias is None else y + self.bias)

    def get_config(self) -> dict[str, Any]:
        return self._config(activation=activations.serialize(self.activation))


@register
class CirculantConv1D(_CirculantConv):
    rank = 1


@register
class CirculantConv2D(_CirculantConv):
    rank = 2


@register
class CirculantConv3D(_CirculantConv):
    rank = 3
