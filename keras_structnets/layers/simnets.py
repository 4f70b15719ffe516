"""Layers of Deep SimNets: similarity, MEX and MEX pooling."""

import math
from collections.abc import Sequence
from typing import Any

import keras
from keras import constraints, initializers, regularizers

from keras_structnets import checks, ops
from keras_structnets.ops.windows import patches, window_output_size
from keras_structnets.signatures import Identifier, Shape, Sizes, Tensor

_register = keras.saving.register_keras_serializable(package="keras_structnets")


@_register
class AtLeast(keras.constraints.Constraint):
    """Keeps the entries of a weight at `minimum` or above."""

    def __init__(self, minimum: float) -> None:
        self.minimum = minimum

    def __call__(self, w: Tensor) -> Tensor:
        return keras.ops.maximum(w, self.minimum)

    def get_config(self) -> dict[str, Any]:
        return {"minimum": self.minimum}


@_register
class SparseWeights(initializers.Initializer):
    """Starts each template with equal weights on `selected` random coordinates, and 0 elsewhere.

    With equal weights on all coordinates every similarity is nearly the same function, the distance
    from the middle of all templates; with few, each template looks at something of its own. The
    zeros learn like other weights.

    Shapes: [*kernel_size, c, n_out]; the coordinates are all axes but the last.

    Args:
        total: sum of the weights of each template, above 0.
        selected: coordinates with a weight, at least 1; all where there are fewer.
        seed: an integer; None draws one from Keras' own seed.

    Raises:
        ValueError: for a total or selected out of range.

    Example:
        >>> weights = ksn.layers.SparseWeights(total=4.0, selected=2, seed=0)((5, 3))
        >>> np.sort(keras.ops.convert_to_numpy(weights), axis=0)[:, 0].tolist()
        [0.0, 0.0, 0.0, 2.0, 2.0]
        >>> layer = ksn.layers.Similarity(3, weights_initializer=ksn.layers.SparseWeights(4.0, 2))
    """

    def __init__(self, total: float = 4.0, selected: int = 4, seed: int | None = None) -> None:
        self.total = checks.positive("SparseWeights", "total", total)
        self.selected = checks.integer("SparseWeights", "selected", selected)
        self._dice = initializers.RandomUniform(0.0, 1.0, seed=seed)

    def __call__(self, shape: Sequence[int], dtype: Any = None) -> Tensor:
        n_in = math.prod(shape[:-1])
        selected = min(self.selected, n_in)
        dice = self._dice((n_in, shape[-1]))
        place = keras.ops.argsort(keras.ops.argsort(dice, axis=0), axis=0)  # a shuffled 0..n_in-1
        weights = keras.ops.where(place < selected, self.total / selected, 0.0)
        return keras.ops.cast(keras.ops.reshape(weights, shape), dtype or "float32")

    def get_config(self) -> dict[str, Any]:
        return {"total": self.total, "selected": self.selected, "seed": self._dice.seed}


class _SimilarityBase(keras.layers.Layer):
    """Templates and nonnegative weights, compared with the last axis or with patches of an image."""

    rank = 0  # spatial axes; 0 compares vectors

    def __init__(
        self,
        n_out: int,
        kernel_size: Sizes,
        strides: Sizes,
        padding: str,
        use_weights: bool,
        templates_initializer: Identifier,
        weights_initializer: Identifier,
        templates_regularizer: Identifier,
        weights_regularizer: Identifier,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        owner = type(self).__name__
        self.n_out = checks.integer(owner, "filters" if self.rank else "units", n_out)
        self.kernel_size = checks.integers(owner, "kernel_size", kernel_size, self.rank)
        self.strides = checks.integers(owner, "strides", strides, self.rank)
        self.padding = checks.one_of(owner, "padding", padding, ("valid", "same"))
        if self.rank:
            checks.channels_last(owner)
        self.use_weights = use_weights
        self.templates_initializer = initializers.get(templates_initializer)
        self.weights_initializer = initializers.get(weights_initializer)
        self.templates_regularizer = regularizers.get(templates_regularizer)
        self.weights_regularizer = regularizers.get(weights_regularizer)

    def build(self, input_shape: Shape) -> None:
        owner = type(self).__name__
        if self.rank:
            axes = f"[batch, {self.rank} spatial, channels]"
            checks.rank_of_input(owner, input_shape, self.rank + 2, axes)
            checks.kernel_fits(owner, self.kernel_size, input_shape[1:-1], self.padding)
        checks.static_size(owner, "the last axis of the input", input_shape[-1:])
        shape = (*self.kernel_size, input_shape[-1], self.n_out)
        self.templates = self.add_weight(
            name="templates",
            shape=shape,
            initializer=self.templates_initializer,
            regularizer=self.templates_regularizer,
            autocast=False,
        )
        self.similarity_weights = None
        if self.use_weights:
            self.similarity_weights = self.add_weight(
                name="weights",
                shape=shape,
                initializer=self.weights_initializer,
                regularizer=self.weights_regularizer,
                autocast=False,
                constraint=constraints.NonNeg(),
            )

    def _compared(self, x):
        """What is compared, [..., n_in], and templates and weights as [n_in, n_out]."""
        if self.rank:
            x = patches(x, self.kernel_size, self.strides, self.padding)
        shape = (x.shape[-1], self.n_out)
        z = keras.ops.reshape(self.templates, shape)
        u = self.similarity_weights
        return x, z, None if u is None else keras.ops.reshape(u, shape)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        sizes = zip(input_shape[1:-1], self.kernel_size, self.strides, strict=True)
        spatial = (
            [window_output_size(n, k, s, self.padding) for n, k, s in sizes] if self.rank else ()
        )
        return (*(input_shape[:1] if self.rank else input_shape[:-1]), *spatial, self.n_out)

    def get_config(self) -> dict[str, Any]:
        config = {"filters" if self.rank else "units": self.n_out}
        if self.rank:
            config |= {
                "kernel_size": self.kernel_size,
                "strides": self.strides,
                "padding": self.padding,
            }
        config |= {
            "use_weights": self.use_weights,
            "templates_initializer": initializers.serialize(self.templates_initializer),
            "weights_initializer": initializers.serialize(self.weights_initializer),
            "templates_regularizer": regularizers.serialize(self.templates_regularizer),
            "weights_regularizer": regularizers.serialize(self.weights_regularizer),
        }
        return super().get_config() | config


class _LpSimilarity(_SimilarityBase):
    """`y_l = -sum_i u_il |x_i - z_il|^p`."""

    def __init__(self, n_out: int, p: float, trainable_p: bool, **kwargs: Any) -> None:
        super().__init__(n_out, **kwargs)
        self.initial_p = checks.positive(type(self).__name__, "p", p)
        self.trainable_p = trainable_p

    def build(self, input_shape: Shape) -> None:
        super().build(input_shape)
        self.p = self.initial_p
        if self.trainable_p:
            self.p = self.add_weight(
                name="p",
                shape=(),
                initializer=initializers.Constant(self.initial_p),
                constraint=AtLeast(0.1),
                dtype="float32",
                autocast=False,
            )

    def call(self, x: Tensor) -> Tensor:
        x, z, u = self._compared(x)
        return ops.lp_similarity(x, z, u, self.p)

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"p": self.initial_p, "trainable_p": self.trainable_p}


class _LinearSimilarity(_SimilarityBase):
    """`y_l = sum_i u_il x_i z_il`."""

    def call(self, x: Tensor) -> Tensor:
        return ops.linear_similarity(*self._compared(x))


@_register
class Similarity(_LpSimilarity):
    """The l_p similarity of vectors to templates: `y_l = -sum_i u_il |x_i - z_il|^p`.

    Shapes: [..., n_in] -> [..., units].

    Args:
        units: number of templates.
        p: the order, above 0. 2 runs as matrix products; other orders are slower.
        trainable_p: whether p is learned (one for the layer, kept at 0.1 or above).
        use_weights: whether there are weights u, kept nonnegative; otherwise they are 1.
        templates_initializer: of z, [n_in, units].
        weights_initializer: of u, [n_in, units].
        templates_regularizer: of z.
        weights_regularizer: of u.

    Raises:
        ValueError: for p or units that are not positive.

    Example:
        >>> y = ksn.layers.Similarity(3, templates_initializer="zeros")(2 * np.ones((1, 5)))
        >>> keras.ops.convert_to_numpy(y).round(3).tolist()  # minus the squared length
        [[-20.0, -20.0, -20.0]]

    Reference:
        Deep SimNets, section 2. Our units are the paper's n, `templates` its z, `weights` its u.
    """

    def __init__(
        self,
        units: int,
        p: float = 2.0,
        trainable_p: bool = False,
        use_weights: bool = True,
        templates_initializer: Identifier = "random_normal",
        weights_initializer: Identifier = "ones",
        templates_regularizer: Identifier = None,
        weights_regularizer: Identifier = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            units,
            p,
            trainable_p,
            kernel_size=(),
            strides=(),
            padding="valid",
            use_weights=use_weights,
            templates_initializer=templates_initializer,
            weights_initializer=weights_initializer,
            templates_regularizer=templates_regularizer,
            weights_regularizer=weights_regularizer,
            **kwargs,
        )


@_register
class LinearSimilarity(_LinearSimilarity):
    """The linear similarity of vectors to templates: `y_l = sum_i u_il x_i z_il`.

    Shapes: [..., n_in] -> [..., units]. Arguments as in `Similarity`, without p.

    Raises:
        ValueError: for units that are not positive.

    Example:
        >>> y = ksn.layers.LinearSimilarity(3, templates_initializer="ones")(2 * np.ones((1, 5)))
        >>> keras.ops.convert_to_numpy(y).tolist()
        [[10.0, 10.0, 10.0]]

    Reference:
        Deep SimNets, section 2.
    """

    def __init__(
        self,
        units: int,
        use_weights: bool = True,
        templates_initializer: Identifier = "random_normal",
        weights_initializer: Identifier = "ones",
        templates_regularizer: Identifier = None,
        weights_regularizer: Identifier = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            units,
            kernel_size=(),
            strides=(),
            padding="valid",
            use_weights=use_weights,
            templates_initializer=templates_initializer,
            weights_initializer=weights_initializer,
            templates_regularizer=templates_regularizer,
            weights_regularizer=weights_regularizer,
            **kwargs,
        )


class _SimilarityND(_LpSimilarity):
    """The l_p similarity of patches to templates: `y_l = -sum_i u_il |x_i - z_il|^p`.

    Shapes: [b, *spatial, c] -> [b, *spatial', filters]; i runs over the entries of a patch.

    Args:
        filters: number of templates.
        kernel_size: size of the patch, an integer or one for each spatial axis.
        p: the order, above 0. 2 runs as matrix products; other orders are slower.
        strides: step between patches.
        padding: "valid", or "same", which pads with zeros.
        trainable_p: whether p is learned (one for the layer, kept at 0.1 or above).
        use_weights: whether there are weights u, kept nonnegative; otherwise they are 1.
        templates_initializer: of z, [*kernel_size, c, filters].
        weights_initializer: of u, [*kernel_size, c, filters].
        templates_regularizer: of z.
        weights_regularizer: of u.

    Raises:
        ValueError: for p, filters or sizes that are not positive, an unknown padding, a patch
            larger than the image, or channels-first data.

    Example:
        >>> layer = ksn.layers.Similarity2D(32, kernel_size=5)
        >>> y = layer(keras.Input((8, 8, 3)))  # each 5x5 patch with each of 32 templates
        >>> y.shape, tuple(layer.templates.shape)
        ((None, 4, 4, 32), (5, 5, 3, 32))

    Reference:
        Deep SimNets, sections 2 and 4. `templates` are the paper's z, `weights` its u.
    """

    def __init__(
        self,
        filters: int,
        kernel_size: Sizes = 1,
        p: float = 2.0,
        strides: Sizes = 1,
        padding: str = "valid",
        trainable_p: bool = False,
        use_weights: bool = True,
        templates_initializer: Identifier = "random_normal",
        weights_initializer: Identifier = "ones",
        templates_regularizer: Identifier = None,
        weights_regularizer: Identifier = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            filters,
            p,
            trainable_p,
            kernel_size=kernel_size,
            strides=strides,
            padding=padding,
            use_weights=use_weights,
            templates_initializer=templates_initializer,
            weights_initializer=weights_initializer,
            templates_regularizer=templates_regularizer,
            weights_regularizer=weights_regularizer,
            **kwargs,
        )


class _LinearSimilarityND(_LinearSimilarity):
    """The linear similarity of patches to templates: `y_l = sum_i u_il x_i z_il`.

    Shapes: [b, *spatial, c] -> [b, *spatial', filters]. Arguments as in `Similarity2D`, without p.

    Raises:
        ValueError: for filters or sizes that are not positive, an unknown padding, a patch larger
            than the image, or channels-first data.

    Example:
        >>> layer = ksn.layers.LinearSimilarity2D(32, kernel_size=5, padding="same")
        >>> layer(keras.Input((8, 8, 3))).shape
        (None, 8, 8, 32)

    Reference:
        Deep SimNets, section 2.
    """

    def __init__(
        self,
        filters: int,
        kernel_size: Sizes = 1,
        strides: Sizes = 1,
        padding: str = "valid",
        use_weights: bool = True,
        templates_initializer: Identifier = "random_normal",
        weights_initializer: Identifier = "ones",
        templates_regularizer: Identifier = None,
        weights_regularizer: Identifier = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            filters,
            kernel_size=kernel_size,
            strides=strides,
            padding=padding,
            use_weights=use_weights,
            templates_initializer=templates_initializer,
            weights_initializer=weights_initializer,
            templates_regularizer=templates_regularizer,
            weights_regularizer=weights_regularizer,
            **kwargs,
        )


class _Beta(keras.layers.Layer):
    """Holds beta: a weight when it is learned, otherwise a number."""

    def __init__(self, beta: float, trainable_beta: bool, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.initial_beta = checks.real(type(self).__name__, "beta", beta)
        self.trainable_beta = trainable_beta

    def build(self, input_shape: Shape) -> None:
        self.beta = self.initial_beta
        if self.trainable_beta:
            self.beta = self.add_weight(
                name="beta",
                shape=(),
                initializer=initializers.Constant(self.initial_beta),
                dtype="float32",
                autocast=False,
            )

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {
            "beta": self.initial_beta,
            "trainable_beta": self.trainable_beta,
        }


@_register
class MEX(_Beta):
    """Log-mean-exp of the last axis: `y_l = (1/beta) log mean_i exp(beta (x_i + b_il))`.

    Shapes: [..., n_in] -> [..., units].

    Args:
        units: number of outputs. Without offsets they are all equal.
        beta: any real number: 0 is the mean, plus infinity the maximum, minus infinity the minimum.
        trainable_beta: whether beta is learned (one for the layer; it may cross 0).
        use_offsets: whether there are offsets b, [n_in, units].
        offsets_initializer: of b. Equal offsets for all units would give all units one gradient.
        offsets_regularizer: of b.

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
        beta: float = 1.0,
        trainable_beta: bool = True,
        use_offsets: bool = True,
        offsets_initializer: Identifier = "random_normal",
        offsets_regularizer: Identifier = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(beta, trainable_beta, **kwargs)
        self.units = checks.integer("MEX", "units", units)
        self.use_offsets = use_offsets
        self.offsets_initializer = initializers.get(offsets_initializer)
        self.offsets_regularizer = regularizers.get(offsets_regularizer)

    def build(self, input_shape: Shape) -> None:
        checks.static_size("MEX", "the last axis of the input", input_shape[-1:])
        self.offsets = None
        if self.use_offsets:
            self.offsets = self.add_weight(
                name="offsets",
                shape=(input_shape[-1], self.units),
                initializer=self.offsets_initializer,
                regularizer=self.offsets_regularizer,
                autocast=False,
            )
        super().build(input_shape)

    def call(self, x: Tensor) -> Tensor:
        if self.offsets is not None:
            return ops.mex(x, self.offsets, self.beta)
        return keras.ops.repeat(ops.mex(x, None, self.beta)[..., None], self.units, axis=-1)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return (*input_shape[:-1], self.units)

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {
            "units": self.units,
            "use_offsets": self.use_offsets,
            "offsets_initializer": initializers.serialize(self.offsets_initializer),
            "offsets_regularizer": regularizers.serialize(self.offsets_regularizer),
        }


class _MEXPooling(_Beta):
    """Log-mean-exp over windows: `y = (1/beta) log mean exp(beta x)`.

    Shapes: [b, *spatial, c] -> [b, *spatial', c]. The mean is over the entries inside the image.

    Args:
        pool_size: size of the window, an integer or one for each spatial axis.
        strides: its step, `pool_size` if None.
        padding: "valid" or "same".
        beta: any real number: 0 is average pooling, plus infinity maximum pooling.
        trainable_beta: whether beta is learned.

    Raises:
        ValueError: for sizes below 1, an unknown padding, a window larger than the image, or
            channels-first data.

    Example:
        >>> x = np.array([[1.0, 3.0], [5.0, 9.0]]).reshape(1, 2, 2, 1)
        >>> keras.ops.convert_to_numpy(ksn.layers.MEXPooling2D(2, beta=0.0)(x)).ravel().tolist()
        [4.5]

    Reference:
        Deep SimNets, section 4.3.
    """

    rank = 0

    def __init__(
        self,
        pool_size: Sizes = 2,
        strides: Sizes | None = None,
        padding: str = "valid",
        beta: float = 1.0,
        trainable_beta: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(beta, trainable_beta, **kwargs)
        owner = type(self).__name__
        checks.channels_last(owner)
        self.pool_size = checks.integers(owner, "pool_size", pool_size, self.rank)
        strides = self.pool_size if strides is None else strides
        self.strides = checks.integers(owner, "strides", strides, self.rank)
        self.padding = checks.one_of(owner, "padding", padding, ("valid", "same"))

    def build(self, input_shape: Shape) -> None:
        owner = type(self).__name__
        axes = f"[batch, {self.rank} spatial, channels]"
        checks.rank_of_input(owner, input_shape, self.rank + 2, axes)
        checks.static_size(owner, "the spatial axes of the input", input_shape[1:-1])
        checks.kernel_fits(owner, self.pool_size, input_shape[1:-1], self.padding)
        super().build(input_shape)

    def call(self, x: Tensor) -> Tensor:
        return ops.mex_pool(x, self.pool_size, self.strides, self.padding, self.beta)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        sizes = zip(input_shape[1:-1], self.pool_size, self.strides, strict=True)
        spatial = [window_output_size(n, k, s, self.padding) for n, k, s in sizes]
        return (input_shape[0], *spatial, input_shape[-1])

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {
            "pool_size": self.pool_size,
            "strides": self.strides,
            "padding": self.padding,
        }


class _GlobalMEXPooling(_Beta):
    """Log-mean-exp over all positions: `y = (1/beta) log mean exp(beta x)`.

    Shapes: [b, *spatial, c] -> [b, c].

    Args:
        beta: any real number: 0 is the mean, plus infinity the maximum.
        trainable_beta: whether beta is learned.

    Raises:
        ValueError: for a beta that is not a number, or channels-first data.

    Example:
        >>> pooling = ksn.layers.GlobalMEXPooling2D(beta=0.0)  # starts as the mean, learns beta
        >>> pooling(keras.Input((8, 8, 10))).shape, pooling.count_params()
        ((None, 10), 1)

    Reference:
        Deep SimNets, section 4.1.
    """

    rank = 0

    def __init__(self, beta: float = 1.0, trainable_beta: bool = True, **kwargs: Any) -> None:
        checks.channels_last(type(self).__name__)
        super().__init__(beta, trainable_beta, **kwargs)

    def build(self, input_shape: Shape) -> None:
        owner = type(self).__name__
        axes = f"[batch, {self.rank} spatial, channels]"
        checks.rank_of_input(owner, input_shape, self.rank + 2, axes)
        checks.static_size(owner, "the spatial axes of the input", input_shape[1:-1])
        super().build(input_shape)

    def call(self, x: Tensor) -> Tensor:
        return ops.global_mex_pool(x, self.beta)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return (input_shape[0], input_shape[-1])


@_register
class Similarity1D(_SimilarityND):
    __doc__ = _SimilarityND.__doc__
    rank = 1


@_register
class Similarity2D(_SimilarityND):
    __doc__ = _SimilarityND.__doc__
    rank = 2


@_register
class Similarity3D(_SimilarityND):
    __doc__ = _SimilarityND.__doc__
    rank = 3


@_register
class LinearSimilarity1D(_LinearSimilarityND):
    __doc__ = _LinearSimilarityND.__doc__
    rank = 1


@_register
class LinearSimilarity2D(_LinearSimilarityND):
    __doc__ = _LinearSimilarityND.__doc__
    rank = 2


@_register
class LinearSimilarity3D(_LinearSimilarityND):
    __doc__ = _LinearSimilarityND.__doc__
    rank = 3


@_register
class MEXPooling1D(_MEXPooling):
    __doc__ = _MEXPooling.__doc__
    rank = 1


@_register
class MEXPooling2D(_MEXPooling):
    __doc__ = _MEXPooling.__doc__
    rank = 2


@_register
class MEXPooling3D(_MEXPooling):
    __doc__ = _MEXPooling.__doc__
    rank = 3


@_register
class GlobalMEXPooling1D(_GlobalMEXPooling):
    __doc__ = _GlobalMEXPooling.__doc__
    rank = 1


@_register
class GlobalMEXPooling2D(_GlobalMEXPooling):
    __doc__ = _GlobalMEXPooling.__doc__
    rank = 2


@_register
class GlobalMEXPooling3D(_GlobalMEXPooling):
    __doc__ = _GlobalMEXPooling.__doc__
    rank = 3
