"""Layers of GConvNets: neurons that are tensors, and the packing of channels into them."""

import math
from typing import Any

import keras
from keras import activations, constraints, initializers, regularizers

from keras_structnets import checks, ops
from keras_structnets.layers._base import Layer, SpatialLayer, register
from keras_structnets.signatures import Identifier, Shape, Sizes, Tensor


class _GConv(SpatialLayer):
    """Generalized convolution, over one, two or three spatial axes (GConvNets, eq. 3-4).

    `V = act(sum_i U_i (x) W_i + b)`, where `i` runs over kernel positions and input channels, and
    each neuron `W_i` contracts the last `contract` axes of the input structure with its own
    leading axes, nearest first. The axes in front of those are kept and share the weights.

    The paper gives its neurons no bias; here there is one by default, as in `keras.layers.Conv2D`.

    Shapes: [b, *spatial, m, *S] -> [b, *spatial', filters, *S[:-contract], *structure]. With
    structure (1,) everywhere, or (), it is an ordinary convolution.

    Weights: `kernel` [*kernel_size, m, S[-1], ..., S[-contract], filters, *structure] and `bias`
    [filters, *structure], which the kept axes share.

    Args:
        filters: number of output channels.
        structure: sizes of the output axes that the neurons make, for example (9, 9).
        kernel_size: an integer, or one for each spatial axis.
        strides: an integer, or one for each spatial axis.
        padding: "valid" or "same".
        dilation_rate: an integer, or one for each spatial axis; above 1 only with strides of 1.
        contract: number of trailing axes of the input structure to contract, from 0 (every axis is
            kept) to all; None contracts all.
        activation: a name or a function; None is linear.
        use_bias: whether to add a bias.
        kernel_initializer: its fans are those of the folded kernel: `prod(kernel_size) * m *
            prod(contracted)` in, `prod(kernel_size) * filters * prod(structure)` out.
        bias_initializer: initializer of the bias.
        kernel_regularizer: regularizer of the kernel.
        bias_regularizer: regularizer of the bias.
        kernel_constraint: constraint on the kernel.
        bias_constraint: constraint on the bias.
        **kwargs: passed to `keras.layers.Layer`.

    Raises:
        ValueError: for a value out of range, and at build if `contract` exceeds the axes of the
            input structure or the kernel is larger than the image.

    Example:
        >>> x = keras.Input((128, 128, 1, 1, 3))  # one channel of structure (1, 3)
        >>> layer = ksn.layers.GConv2D(4, (4, 4, 4, 4), kernel_size=3, strides=2)
        >>> layer(x).shape
        (None, 63, 63, 4, 4, 4, 4, 4)
        >>> tuple(layer.kernel.shape)
        (3, 3, 1, 3, 1, 4, 4, 4, 4, 4)

    Reference: A generalized convolutional neural network for small dataset classification,
    section 3.1.
    """

    def __init__(
        self,
        filters: int,
        structure: Sizes,
        kernel_size: Sizes,
        strides: Sizes = 1,
        padding: str = "valid",
        dilation_rate: Sizes = 1,
        *,
        contract: int | None = None,
        activation: Identifier = None,
        use_bias: bool = True,
        kernel_initializer: Identifier = "glorot_uniform",
        bias_initializer: Identifier = "zeros",
        kernel_regularizer: Identifier = None,
        bias_regularizer: Identifier = None,
        kernel_constraint: Identifier = None,
        bias_constraint: Identifier = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        owner = type(self).__name__
        self.filters = checks.integer(owner, "filters", filters)
        self.structure = checks.structure(owner, "structure", structure)
        self.kernel_size = self._per_axis("kernel_size", kernel_size)
        self.contract = None if contract is None else checks.integer(owner, "contract", contract, 0)
        self.strides = self._per_axis("strides", strides)
        self.padding = self._one_of("padding", padding, ("valid", "same"))
        self.dilation_rate = self._per_axis("dilation_rate", dilation_rate)
        checks.not_both_strided_and_dilated(owner, self.strides, self.dilation_rate)
        self.use_bias = use_bias
        self.activation = activations.get(activation)
        self.kernel_initializer = initializers.get(kernel_initializer)
        self.bias_initializer = initializers.get(bias_initializer)
        self.kernel_regularizer = regularizers.get(kernel_regularizer)
        self.bias_regularizer = regularizers.get(bias_regularizer)
        self.kernel_constraint = constraints.get(kernel_constraint)
        self.bias_constraint = constraints.get(bias_constraint)

    def build(self, input_shape: Shape) -> None:
        _, n_in, _, contracted = self._parts(input_shape)
        self.kernel = self.add_weight(
            name="kernel",
            shape=(*self.kernel_size, n_in, *contracted[::-1], self.filters, *self.structure),
            initializer=self._initial_kernel,
            regularizer=self.kernel_regularizer,
            constraint=self.kernel_constraint,
        )
        self.bias = None
        if self.use_bias:
            self.bias = self.add_weight(
                name="bias",
                shape=(self.filters, *self.structure),
                initializer=self.bias_initializer,
                regularizer=self.bias_regularizer,
                constraint=self.bias_constraint,
            )

    def call(self, inputs: Tensor) -> Tensor:
        y = ops.generalized_conv(
            self._floating(inputs),
            self.kernel,
            self.contract,
            self.strides,
            self.padding,
            self.dilation_rate,
            self.rank,
            self.bias,
        )
        return self.activation(y)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        spatial, _, kept, _ = self._parts(input_shape)
        sizes = self._output_sizes(spatial, self.kernel_size, self.dilation_rate)
        return (input_shape[0], *sizes, self.filters, *kept, *self.structure)

    def get_config(self) -> dict[str, Any]:
        return self._config(activation=activations.serialize(self.activation))

    def _parts(self, input_shape):
        """(spatial, m, kept, contracted) sizes of the shape [b, *spatial, m, *S]."""
        owner = type(self).__name__
        checks.structured_axes(owner, input_shape, self.rank)
        spatial, structure = input_shape[1 : self.rank + 1], tuple(input_shape[self.rank + 2 :])
        n_in = input_shape[self.rank + 1]
        checks.static_size(owner, "the channels and the structure", (n_in, *structure))
        checks.kernel_fits(owner, self.kernel_size, spatial, self.padding, self.dilation_rate)
        n_kept = len(structure) - checks.contract(owner, self.contract, structure)
        return spatial, n_in, structure[:n_kept], structure[n_kept:]

    def _initial_kernel(self, shape, dtype=None):
        """The initializer sees the folded kernel, whose fans are right."""
        n_out = self.filters * math.prod(self.structure)
        n_in = math.prod(shape[self.rank :]) // n_out
        initializer = self.kernel_initializer or initializers.GlorotUniform()  # Keras' own for None
        kernel = initializer((*self.kernel_size, n_in, n_out), dtype=dtype)
        return keras.ops.reshape(kernel, shape)


@register
class GConv1D(_GConv):
    rank = 1


@register
class GConv2D(_GConv):
    rank = 2


@register
class GConv3D(_GConv):
    rank = 3


@register
class Structure(Layer):
    """Packages channels: [b, *spatial, c] -> [b, *spatial, c / prod(shape), *shape].

    The input of a GConvNet (section 3.2): a colour image is one channel of structure (3, 1) or
    (1, 3).

    Args:
        shape: sizes of the structure axes; their product must divide the channels.
        **kwargs: passed to `keras.layers.Layer`.

    Raises:
        ValueError: for a bad shape, and at build if it does not divide the channels.

    Example:
        >>> x = ksn.layers.Structure((3, 1))(np.ones((2, 32, 32, 3)))
        >>> tuple(x.shape)
        (2, 32, 32, 1, 3, 1)

    Reference: A generalized convolutional neural network for small dataset classification,
    section 3.2.
    """

    def __init__(self, shape: Sizes, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.shape = checks.structure("Structure", "shape", shape)

    def build(self, input_shape: Shape) -> None:
        checks.channels_last("Structure")
        checks.static_size("Structure", "the channels", input_shape[-1:])
        size = math.prod(self.shape)
        if input_shape[-1] % size:
            raise ValueError(
                f"Structure: `shape` {self.shape} holds {size} numbers, which does not divide the "
                f"{input_shape[-1]} channels of the input {tuple(input_shape)}. "
                f"Use a shape whose product divides {input_shape[-1]}."
            )

    def call(self, inputs: Tensor) -> Tensor:
        leading = keras.ops.shape(inputs)[1:-1]
        n_channels = inputs.shape[-1] // math.prod(self.shape)
        return keras.ops.reshape(inputs, (-1, *leading, n_channels, *self.shape))

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return (*input_shape[:-1], input_shape[-1] // math.prod(self.shape), *self.shape)


@register
class Destructure(Layer):
    """Unpacks structured channels: [b, *spatial, m, *S] -> [b, *spatial, m * prod(S)].

    The inverse of `Structure`, and the way from a GConvNet to an ordinary loss (section 3.2).

    Args:
        rank: number of spatial axes, which the input's shape alone does not tell: 2 for images, 0
            for a vector of structured channels.
        **kwargs: passed to `keras.layers.Layer`.

    Raises:
        ValueError: for a bad rank, and at build if the input has too few axes.

    Example:
        >>> x = ksn.layers.Destructure()(np.ones((2, 8, 8, 4, 9, 9)))
        >>> tuple(x.shape)
        (2, 8, 8, 324)

    Reference: A generalized convolutional neural network for small dataset classification,
    section 3.2.
    """

    def __init__(self, rank: int = 2, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.rank = checks.integer("Destructure", "rank", rank, minimum=0)

    def build(self, input_shape: Shape) -> None:
        checks.channels_last("Destructure")
        checks.structured_axes("Destructure", input_shape, self.rank)
        checks.static_size(
            "Destructure", "the channels and the structure", input_shape[self.rank + 1 :]
        )

    def call(self, inputs: Tensor) -> Tensor:
        spatial = keras.ops.shape(inputs)[1 : self.rank + 1]
        return keras.ops.reshape(inputs, (-1, *spatial, math.prod(inputs.shape[self.rank + 1 :])))

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        n_channels = math.prod(input_shape[self.rank + 1 :])
        return (*input_shape[: self.rank + 1], n_channels)
