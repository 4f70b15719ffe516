"""Similarity layers of Deep SimNets: inputs compared with learned templates."""

from typing import Any

import keras
from keras import constraints, initializers, regularizers

from keras_structnets import checks, ops
from keras_structnets.constraints import AtLeast
from keras_structnets.initializers import SparseWeights, SpreadTemplates
from keras_structnets.layers._base import Layer, SpatialLayer, register
from keras_structnets.ops.windows import patches
from keras_structnets.signatures import Identifier, Shape, Sizes, Tensor


class Templates(Layer):
    """Holds the templates z and the nonnegative weights u of a similarity."""

    def __init__(
        self,
        *,
        use_similarity_weights: bool = True,
        templates_initializer: Identifier = SpreadTemplates,
        similarity_weights_initializer: Identifier = SparseWeights,
        templates_regularizer: Identifier = None,
        similarity_weights_regularizer: Identifier = None,
        templates_constraint: Identifier = None,
        similarity_weights_constraint: Identifier = "non_neg",
        ignore_nan: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.use_similarity_weights = use_similarity_weights
        self.templates_initializer = initializers.get(templates_initializer)
        self.similarity_weights_initializer = initializers.get(similarity_weights_initializer)
        self.templates_regularizer = regularizers.get(templates_regularizer)
        self.similarity_weights_regularizer = regularizers.get(similarity_weights_regularizer)
        self.templates_constraint = constraints.get(templates_constraint)
        self.similarity_weights_constraint = constraints.get(similarity_weights_constraint)
        self.ignore_nan = ignore_nan

    def _add_templates(self, shape: Shape) -> None:
        self.templates = self.add_weight(
            name="templates",
            shape=shape,
            initializer=self.templates_initializer,
            regularizer=self.templates_regularizer,
            constraint=self.templates_constraint,
            autocast=False,
        )
        self.similarity_weights = None
        if self.use_similarity_weights:
            self.similarity_weights = self.add_weight(
                name="similarity_weights",
                shape=shape,
                initializer=self.similarity_weights_initializer,
                regularizer=self.similarity_weights_regularizer,
                constraint=self.similarity_weights_constraint,
                autocast=False,
            )
        self._add_order()

    def _add_order(self) -> None:
        """Add the weight p, where there is one."""

    def _similarity(self, x: Tensor) -> Tensor:
        """The similarity of the last axis of `x`, [..., n_in], to templates [..., n_in, n_out]."""
        shape = (x.shape[-1], self.templates.shape[-1])
        z, u = keras.ops.reshape(self.templates, shape), self.similarity_weights
        return self._compare(x, z, None if u is None else keras.ops.reshape(u, shape))


class Lp(Templates):
    """`y_l = -sum_i u_il |x_i - z_il|^p`."""

    def __init__(self, *, p: float = 2.0, trainable_p: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.p = self.initial_p = checks.positive(type(self).__name__, "p", p)
        self.trainable_p = trainable_p

    def _add_order(self) -> None:
        if self.trainable_p:
            self.p = self.add_weight(
                name="p",
                shape=(),
                initializer=initializers.Constant(self.initial_p),
                constraint=AtLeast(0.1),
                dtype="float32",
                autocast=False,
            )

    def _compare(self, x: Tensor, z: Tensor, u: Tensor | None) -> Tensor:
        return ops.lp_similarity(x, z, u, self.p, self.ignore_nan)

    def get_config(self) -> dict[str, Any]:
        return self._config(p=self.initial_p)


class Linear(Templates):
    """`y_l = sum_i u_il x_i z_il`."""

    def _compare(self, x: Tensor, z: Tensor, u: Tensor | None) -> Tensor:
        return ops.linear_similarity(x, z, u, self.ignore_nan)


class OfVectors(Templates):
    """Compares the last axis of its input."""

    def __init__(self, units: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.units = checks.integer(type(self).__name__, "units", units)

    def build(self, input_shape: Shape) -> None:
        self._require_static("the last axis of the input", input_shape[-1:])
        self._add_templates((input_shape[-1], self.units))

    def call(self, inputs: Tensor) -> Tensor:
        return self._similarity(self._floating(inputs))

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return (*input_shape[:-1], self.units)


class OfPatches(SpatialLayer, Templates):
    """Compares patches of an image."""

    def __init__(
        self,
        filters: int,
        kernel_size: Sizes = 1,
        strides: Sizes = 1,
        padding: str = "valid",
        dilation_rate: Sizes = 1,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        owner = type(self).__name__
        self.filters = checks.integer(owner, "filters", filters)
        self.kernel_size = self._per_axis("kernel_size", kernel_size)
        self.strides = self._per_axis("strides", strides)
        self.padding = self._one_of("padding", padding, ("valid", "same"))
        self.dilation_rate = self._per_axis("dilation_rate", dilation_rate)
        checks.not_both_strided_and_dilated(owner, self.strides, self.dilation_rate)

    def build(self, input_shape: Shape) -> None:
        self._check_image(input_shape)
        self._check_window(self.kernel_size, input_shape[1:-1], self.dilation_rate)
        self._require_static("the last axis of the input", input_shape[-1:])
        self._add_templates((*self.kernel_size, input_shape[-1], self.filters))

    def call(self, inputs: Tensor) -> Tensor:
        self._check_window(self.kernel_size, inputs.shape[1:-1], self.dilation_rate)
        x = self._floating(inputs)
        windows = self.kernel_size, self.strides, self.padding, self.dilation_rate
        return self._similarity(patches(x, *windows))

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        spatial = self._output_sizes(input_shape[1:-1], self.kernel_size, self.dilation_rate)
        return (input_shape[0], *spatial, self.filters)


@register
class Similarity(OfVectors, Lp):
    """The l_p similarity of vectors to templates: `y_l = -sum_i u_il |x_i - z_il|^p`.

    Shapes: [..., n_in] -> [..., units].

    Args:
        units: number of templates.
        p: the order, above 0. p = 2 uses matrix multiplications and is the fastest.
        trainable_p: whether the layer learns p, one number, constrained to 0.1 or above. The attribute
            `p` is then a weight, and `initial_p` is the value given at construction.
        use_similarity_weights: whether the layer has weights u; otherwise they are 1.
        templates_initializer: initializer of the templates z, [n_in, units].
        similarity_weights_initializer: initializer of the weights u, [n_in, units].
        templates_regularizer: regularizer of the templates.
        similarity_weights_regularizer: regularizer of the weights.
        templates_constraint: constraint on the templates.
        similarity_weights_constraint: constraint on the weights. Keras optimizers apply it after each
            step; in a custom training loop call `w.assign(w.constraint(w))` for each constrained weight.
        ignore_nan: whether NaN in the input is a missing value. The sum is then over the other entries.
        **kwargs: passed to `keras.layers.Layer`.

    Raises:
        ValueError: for p or units that are not positive.

    Example:
        >>> options = {"templates_initializer": "zeros", "similarity_weights_initializer": "ones"}
        >>> y = ksn.layers.Similarity(3, **options)(2 * np.ones((1, 5)))
        >>> keras.ops.convert_to_numpy(y).round(3).tolist()  # minus the squared length
        [[-20.0, -20.0, -20.0]]

    Reference:
        Deep SimNets, section 2. `units` is the paper's n, `templates` z, `similarity_weights` u.
    """


@register
class LinearSimilarity(OfVectors, Linear):
    """The linear similarity of vectors to templates: `y_l = sum_i u_il x_i z_il`.

    Shapes: [..., n_in] -> [..., units]. Arguments as in `Similarity`, without p.

    Raises:
        ValueError: for units that are not positive.

    Example:
        >>> options = {"templates_initializer": "ones", "use_similarity_weights": False}
        >>> y = ksn.layers.LinearSimilarity(3, **options)(2 * np.ones((1, 5)))
        >>> keras.ops.convert_to_numpy(y).tolist()
        [[10.0, 10.0, 10.0]]

    Reference:
        Deep SimNets, section 2.
    """


class SimilarityND(OfPatches, Lp):
    """The l_p similarity of patches to templates: `y_l = -sum_i u_il |x_i - z_il|^p`.

    Shapes: [b, *spatial, c] -> [b, *spatial', filters]; i runs over the entries of a patch.

    Args:
        filters: number of templates.
        kernel_size: size of the patch, an integer or one for each spatial axis.
        strides: step between patches.
        padding: "valid", or "same", which pads with zeros.
        dilation_rate: distance of the entries of a patch; above 1 only with strides of 1.
        p: the order, above 0. p = 2 uses matrix multiplications and is the fastest.
        trainable_p: whether the layer learns p, one number, constrained to 0.1 or above. The attribute
            `p` is then a weight, and `initial_p` is the value given at construction.
        use_similarity_weights: whether the layer has weights u; otherwise they are 1.
        templates_initializer: initializer of the templates z, [*kernel_size, c, filters].
        similarity_weights_initializer: initializer of the weights u, [*kernel_size, c, filters].
        templates_regularizer: regularizer of the templates.
        similarity_weights_regularizer: regularizer of the weights.
        templates_constraint: constraint on the templates.
        similarity_weights_constraint: constraint on the weights. Keras optimizers apply it after each
            step; in a custom training loop call `w.assign(w.constraint(w))` for each constrained weight.
        ignore_nan: whether NaN in the input is a missing value. The sum is then over the other entries.
        **kwargs: passed to `keras.layers.Layer`.

    Raises:
        ValueError: for p, filters or sizes that are not positive, an unknown padding, a patch
            larger than the image, or channels-first data.

    Example:
        >>> layer = ksn.layers.Similarity2D(32, 5)
        >>> y = layer(keras.Input((8, 8, 3)))  # each 5x5 patch with each of 32 templates
        >>> y.shape, tuple(layer.templates.shape)
        ((None, 4, 4, 32), (5, 5, 3, 32))

    Reference:
        Deep SimNets, sections 2 and 4. `templates` is the paper's z, `similarity_weights` its u.
    """


class LinearSimilarityND(OfPatches, Linear):
    """The linear similarity of patches to templates: `y_l = sum_i u_il x_i z_il`.

    Shapes: [b, *spatial, c] -> [b, *spatial', filters]. Arguments as in `Similarity2D`, without p.

    Raises:
        ValueError: for filters or sizes that are not positive, an unknown padding, a patch larger
            than the image, or channels-first data.

    Example:
        >>> layer = ksn.layers.LinearSimilarity2D(32, 5, padding="same")
        >>> layer(keras.Input((8, 8, 3))).shape
        (None, 8, 8, 32)

    Reference:
        Deep SimNets, section 2.
    """


@register
class Similarity1D(SimilarityND):
    rank = 1


@register
class Similarity2D(SimilarityND):
    rank = 2


@register
class Similarity3D(SimilarityND):
    rank = 3


@register
class LinearSimilarity1D(LinearSimilarityND):
    rank = 1


@register
class LinearSimilarity2D(LinearSimilarityND):
    rank = 2


@register
class LinearSimilarity3D(LinearSimilarityND):
    rank = 3
