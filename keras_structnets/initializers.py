"""Initializers of the layers of Deep SimNets."""

import math
from collections.abc import Sequence
from typing import Any

import keras

from keras_structnets import checks
from keras_structnets.signatures import Tensor

__all__ = ["DirichletOffsets", "SparseWeights", "SpreadOffsets", "SpreadTemplates"]

_register = keras.saving.register_keras_serializable(package="keras_structnets")


@_register
class DirichletOffsets(keras.initializers.Initializer):
    """Logarithms of shares that sum to 1: `b = log s`, `s` of a symmetric Dirichlet distribution.

    With `beta = 1` MEX is then, up to a constant, the log likelihood of a mixture whose weights are s.

    Shapes: any; the shares along `axis` sum to 1.

    Args:
        alpha: concentration, above 0. Small values put all weight on a few entries; the logarithms stay
            finite.
        axis: an axis, or several, which belong together: 0 for `MEX`, (2, 3) for `MEXPooling2D`.
        seed: an integer or a `keras.random.SeedGenerator`; None draws one from Keras' own seed.

    Raises:
        ValueError: for an alpha that is not above 0, or an axis that is no integer.

    Example:
        >>> offsets = ksn.initializers.DirichletOffsets(alpha=0.5, seed=0)((5, 3))
        >>> np.exp(keras.ops.convert_to_numpy(offsets)).sum(axis=0).round(4).tolist()
        [1.0, 1.0, 1.0]
        >>> by_window = ksn.initializers.DirichletOffsets(axis=(2, 3))
        >>> pooling = ksn.layers.MEXPooling2D(2, use_offsets=True, offsets_initializer=by_window)
    """

    def __init__(self, alpha: float = 1.0, axis: int | Sequence[int] = 0, seed: Any = None) -> None:
        self.alpha = checks.positive("DirichletOffsets", "alpha", alpha)
        axes = tuple(axis) if isinstance(axis, (tuple, list)) else (axis,)
        self.axis = checks.integers("DirichletOffsets", "axis", axes, len(axes), 0)
        self._uniform = keras.initializers.RandomUniform(0.0, 1.0, seed=seed)
        self.seed = seed

    def __call__(self, shape: Sequence[int], dtype: Any = None) -> Tensor:
        first = self._uniform.seed
        second = first + 1 if isinstance(first, int) else first
        # a Gamma number of shape alpha is one of shape alpha + 1 times u^(1 / alpha): no underflow
        u = keras.ops.maximum(self._uniform(shape), 1e-30)
        gamma = keras.random.gamma(shape, self.alpha + 1, dtype="float32", seed=second)
        logarithm = keras.ops.log(gamma) + keras.ops.log(u) / self.alpha
        total = keras.ops.logsumexp(logarithm, axis=self.axis, keepdims=True)
        return keras.ops.cast(logarithm - total, dtype or "float32")

    def get_config(self) -> dict[str, Any]:
        return {"alpha": self.alpha, "axis": self.axis, "seed": self.seed}


@_register
class SparseWeights(keras.initializers.Initializer):
    """Equal weights on `selected` random coordinates of each template, and 0 elsewhere.

    With equal weights on all coordinates every similarity is nearly the same function, the distance
    from the middle of all templates. With few, each template compares coordinates of its own. The
    zeros learn like other weights.

    Shapes: [*kernel_size, c, n_out]; the coordinates are all axes but the last.

    Args:
        total: sum of the weights of each template, above 0.
        selected: coordinates with a weight, at least 1; all where there are fewer.
        seed: an integer or a `keras.random.SeedGenerator`; None draws one from Keras' own seed.

    Raises:
        ValueError: for a total or selected out of range.

    Example:
        >>> weights = ksn.initializers.SparseWeights(total=4.0, selected=2, seed=0)((5, 3))
        >>> np.sort(keras.ops.convert_to_numpy(weights), axis=0)[:, 0].tolist()
        [0.0, 0.0, 0.0, 2.0, 2.0]
        >>> sparse = ksn.initializers.SparseWeights(total=8.0)
        >>> layer = ksn.layers.Similarity(3, similarity_weights_initializer=sparse)
    """

    def __init__(self, total: float = 1.0, selected: int = 4, seed: Any = None) -> None:
        self.total = checks.positive("SparseWeights", "total", total)
        self.selected = checks.integer("SparseWeights", "selected", selected)
        self._uniform = keras.initializers.RandomUniform(0.0, 1.0, seed=seed)

    def __call__(self, shape: Sequence[int], dtype: Any = None) -> Tensor:
        n_in = math.prod(shape[:-1])
        selected = min(self.selected, n_in)
        numbers = self._uniform((n_in, shape[-1]))
        rank = keras.ops.argsort(keras.ops.argsort(numbers, axis=0), axis=0)  # a shuffled 0..n_in-1
        weights = keras.ops.where(rank < selected, self.total / selected, 0.0)
        return keras.ops.cast(keras.ops.reshape(weights, shape), dtype or "float32")

    def get_config(self) -> dict[str, Any]:
        seed = self._uniform.get_config()["seed"]  # as it was given: None stays None
        return {"total": self.total, "selected": self.selected, "seed": seed}


@_register
class SpreadTemplates(keras.initializers.RandomNormal):
    """`keras.initializers.RandomNormal` with the deviation of the inputs that templates are for.

    Args:
        mean: of the templates.
        stddev: deviation of the templates. The default suits inputs of about unit variance.
        seed: an integer or a `keras.random.SeedGenerator`; None draws one from Keras' own seed.

    Example:
        >>> templates = ksn.initializers.SpreadTemplates(seed=0)((1000, 10))
        >>> keras.ops.convert_to_numpy(templates).std().round(1)
        np.float32(1.0)
    """

    def __init__(self, mean: float = 0.0, stddev: float = 1.0, seed: Any = None) -> None:
        super().__init__(mean, stddev, seed)


@_register
class SpreadOffsets(keras.initializers.RandomNormal):
    """`keras.initializers.RandomNormal` with a deviation that keeps the offsets of `MEX` apart.

    The gradient below `MEX` vanishes while the offsets of all units are equal.

    Args:
        mean: of the offsets.
        stddev: deviation of the offsets.
        seed: an integer or a `keras.random.SeedGenerator`; None draws one from Keras' own seed.

    Example:
        >>> offsets = ksn.initializers.SpreadOffsets(seed=0)((1000, 10))
        >>> keras.ops.convert_to_numpy(offsets).std().round(1)
        np.float32(2.0)
    """

    def __init__(self, mean: float = 0.0, stddev: float = 2.0, seed: Any = None) -> None:
        super().__init__(mean, stddev, seed)
