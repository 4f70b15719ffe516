"""MEX layers of Deep SimNets: log-mean-exp of channels, of windows and of all positions."""

from typing import Any

import keras
from keras import constraints, initializers, regularizers

from keras_structnets import checks, ops
from keras_structnets.initializers import SpreadOffsets
from keras_structnets.layers._base import Layer, SpatialLayer, register
from keras_structnets.ops.mex import regions_of as mex_pooling_regions
from keras_structnets.signatures import Identifier, Shape, Sizes, Tensor


class Beta(Layer):
    """Holds beta: a weight when it is learned, otherwise a number."""

    def __init__(
        self,
        *,
        beta: float = 1.0,
        trainable_beta: bool = True,
        ignore_nan: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.ignore_nan = ignore_nan
        self.beta = self.initial_beta = checks.real(type(self).__name__, "beta", beta)
        self.trainable_beta = trainable_beta

    def build(self, input_shape: Shape) -> None:
        if self.trainable_beta:
            self.beta = self.add_weight(
                name="beta",
                shape=(),
                initializer=initializers.Constant(self.initial_beta),
                dtype="float32",
                autocast=False,
            )

    def get_config(self) -> dict[str, Any]:
        return self._config(beta=self.initial_beta)


@register
class MEX(Beta):
    """Log-mean-exp of the last axis: `y_l = (1/beta) log mean_i exp(beta (x_i + b_il))`.

    Shapes: [..., n_in] -> [..., units].

    Args:
        units: number of outputs. Without offsets every output has the same value.
        use_offsets: whether the layer has offsets b, [n_in, units].
        offsets_initializer: initializer of the offsets. If all units start with the same offsets, they
            receive identical gradients and never differ.
        offsets_regularizer: regularizer of the offsets.
        offsets_constraint: constraint on the offsets.
        beta: any real number: 0 is the mean, plus infinity the maximum, minus infinity the minimum.
        trainable_beta: whether the layer learns beta, one number, which may cross 0. The attribute `beta`
            is then a weight, and `initial_beta` is the value given at construction.
        ignore_nan: whether NaN in the input is a missing value. The mean is then over the other entries;
            it is NaN if there are none.
        **kwargs: passed to `keras.layers.Layer`.

    Raises:
        ValueError: for units below 1, or a beta that is not a number.

    Example:
        >>> maximum = ksn.layers.MEX(2, beta=np.inf, trainable_beta=False, use_offsets=False)
        >>> keras.ops.convert_to_numpy(maximum(np.array([[1.0, 3.0]]))).tolist()
        [[3.0, 3.0]]
        >>> classifier = ksn.layers.MEX(10)
        >>> classifier(keras.Input((64,))).shape
        (None, 10)

    Reference:
        Deep SimNets, eq. 1 and section 2.
    """

    def __init__(
        self,
        units: int,
        *,
        use_offsets: bool = True,
        offsets_initializer: Identifier = SpreadOffsets,
        offsets_regularizer: Identifier = None,
        offsets_constraint: Identifier = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.units = checks.integer("MEX", "units", units)
        self.use_offsets = use_offsets
        self.offsets_initializer = initializers.get(offsets_initializer)
        self.offsets_regularizer = regularizers.get(offsets_regularizer)
        self.offsets_constraint = constraints.get(offsets_constraint)

    def build(self, input_shape: Shape) -> None:
        self._require_static("the last axis of the input", input_shape[-1:])
        self.offsets = None
        if self.use_offsets:
            self.offsets = self.add_weight(
                name="offsets",
                shape=(input_shape[-1], self.units),
                initializer=self.offsets_initializer,
                regularizer=self.offsets_regularizer,
                constraint=self.offsets_constraint,
                autocast=False,
            )
        super().build(input_shape)

    def call(self, inputs: Tensor) -> Tensor:
        x = self._floating(inputs)
        if self.offsets is not None:
            return ops.mex(x, self.offsets, self.beta, self.ignore_nan)
        y = ops.mex(x, None, self.beta, self.ignore_nan)
        return keras.ops.repeat(y[..., None], self.units, axis=-1)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return (*input_shape[:-1], self.units)


class MEXPooling(SpatialLayer, Beta):
    """Log-mean-exp over windows: `y_q = (1/beta) log mean_i exp(beta (x_qi + b_ri))`.

    Shapes: [b, *spatial, c] -> [b, *spatial', c]. The mean is over the entries i inside the image. The
    weight `offsets`, if there is one, is [*regions, *pool_size, c].

    Args:
        pool_size: size of the window, an integer or one for each spatial axis.
        strides: step between windows; None is `pool_size`.
        padding: "valid" or "same".
        beta: any real number: 0 is average pooling, plus infinity maximum pooling.
        trainable_beta: whether the layer learns beta. The attribute `beta` is then a weight, and
            `initial_beta` is the value given at construction.
        use_offsets: whether the layer has offsets b for the entries of a window; without them b is 0.
        trainable_offsets: whether the layer learns the offsets.
        shared_region: size of the tiles of output positions that share offsets, an integer or one for
            each spatial axis; None: all positions share them.
        unshared_region: size of a tile of output positions, each with offsets of its own; the tile
            repeats over the image. At least the size of the output for positions that share nothing.
        offsets_initializer: initializer of the offsets. With zeros the layer starts as a pooling without
            offsets.
        offsets_regularizer: regularizer of the offsets.
        offsets_constraint: constraint on the offsets.
        ignore_nan: whether NaN in the input is a missing value. The mean is then over the other entries;
            it is NaN if there are none.
        **kwargs: passed to `keras.layers.Layer`.

    Raises:
        ValueError: for sizes below 1, an unknown padding, a window larger than the image, both kinds of
            regions, or channels-first data.

    Example:
        >>> x = np.array([[1.0, 3.0], [5.0, 9.0]]).reshape(1, 2, 2, 1)
        >>> keras.ops.convert_to_numpy(ksn.layers.MEXPooling2D(2, beta=0.0)(x)).ravel().tolist()
        [4.5]

    Reference:
        Deep SimNets, section 4.3.
    """

    def __init__(
        self,
        pool_size: Sizes = 2,
        strides: Sizes | None = None,
        padding: str = "valid",
        *,
        use_offsets: bool = False,
        trainable_offsets: bool = True,
        shared_region: Sizes | None = None,
        unshared_region: Sizes | None = None,
        offsets_initializer: Identifier = "zeros",
        offsets_regularizer: Identifier = None,
        offsets_constraint: Identifier = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.use_offsets = use_offsets
        self.trainable_offsets = trainable_offsets
        self.shared_region = self._tile("shared_region", shared_region)
        self.unshared_region = self._tile("unshared_region", unshared_region)
        mex_pooling_regions(type(self).__name__, (1,) * self.rank, *self._regions)
        self.offsets_initializer = initializers.get(offsets_initializer)
        self.offsets_regularizer = regularizers.get(offsets_regularizer)
        self.offsets_constraint = constraints.get(offsets_constraint)
        self.pool_size = self._per_axis("pool_size", pool_size)
        self.strides = self._per_axis("strides", self.pool_size if strides is None else strides)
        self.padding = self._one_of("padding", padding, ("valid", "same"))

    def build(self, input_shape: Shape) -> None:
        self._check_image(input_shape)
        self._require_static("the spatial axes of the input", input_shape[1:-1])
        self._check_window(self.pool_size, input_shape[1:-1])
        self.offsets = self._add_offsets(input_shape) if self.use_offsets else None
        super().build(input_shape)

    @property
    def _regions(self):
        return self.shared_region, self.unshared_region

    def _tile(self, name, value):
        return None if value is None else self._per_axis(name, value)

    def _add_offsets(self, input_shape):
        self._require_static("the channels of the input", input_shape[-1:])
        spatial = self._output_sizes(input_shape[1:-1], self.pool_size)
        regions = mex_pooling_regions(type(self).__name__, spatial, *self._regions)
        return self.add_weight(
            name="offsets",
            shape=(*regions, *self.pool_size, input_shape[-1]),
            initializer=self.offsets_initializer,
            regularizer=self.offsets_regularizer,
            constraint=self.offsets_constraint,
            trainable=self.trainable_offsets,
            autocast=False,
        )

    def call(self, inputs: Tensor) -> Tensor:
        x = self._floating(inputs)
        window = (self.pool_size, self.strides, self.padding)
        shared, unshared = self._regions
        return ops.mex_pool(x, *window, self.beta, self.offsets, shared, unshared, self.ignore_nan)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        spatial = self._output_sizes(input_shape[1:-1], self.pool_size)
        return (input_shape[0], *spatial, input_shape[-1])


class GlobalMEXPooling(SpatialLayer, Beta):
    """Log-mean-exp over all positions: `y = (1/beta) log mean exp(beta x)`.

    Shapes: [b, *spatial, c] -> [b, c], or [b, 1, ..., 1, c] with `keepdims`.

    Args:
        keepdims: whether the spatial axes stay, with size 1.
        beta: any real number: 0 is the mean, plus infinity the maximum.
        trainable_beta: whether the layer learns beta. The attribute `beta` is then a weight, and
            `initial_beta` is the value given at construction.
        ignore_nan: whether NaN in the input is a missing value. The mean is then over the other entries;
            it is NaN if there are none.
        **kwargs: passed to `keras.layers.Layer`.

    Raises:
        ValueError: for a beta that is not a number, or channels-first data.

    Example:
        >>> pooling = ksn.layers.GlobalMEXPooling2D(beta=0.0)  # starts as the mean, learns beta
        >>> pooling(keras.Input((8, 8, 10))).shape, pooling.count_params()
        ((None, 10), 1)

    Reference:
        Deep SimNets, section 4.1.
    """

    def __init__(self, *, keepdims: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.keepdims = keepdims

    def build(self, input_shape: Shape) -> None:
        self._check_image(input_shape)
        self._require_static("the spatial axes of the input", input_shape[1:-1])
        super().build(input_shape)

    def call(self, inputs: Tensor) -> Tensor:
        pooled = ops.global_mex_pool(self._floating(inputs), self.beta, self.ignore_nan)
        if not self.keepdims:
            return pooled
        return keras.ops.expand_dims(pooled, tuple(range(1, self.rank + 1)))

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return (input_shape[0], *(1,) * (self.rank if self.keepdims else 0), input_shape[-1])


@register
class MEXPooling1D(MEXPooling):
    rank = 1


@register
class MEXPooling2D(MEXPooling):
    rank = 2


@register
class MEXPooling3D(MEXPooling):
    rank = 3


@register
class GlobalMEXPooling1D(GlobalMEXPooling):
    rank = 1


@register
class GlobalMEXPooling2D(GlobalMEXPooling):
    rank = 2


@register
class GlobalMEXPooling3D(GlobalMEXPooling):
    rank = 3
