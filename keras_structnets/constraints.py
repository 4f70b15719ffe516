"""Constraints on the weights of layers."""

from collections.abc import Sequence
from typing import Any

import keras

from keras_structnets import checks, ops
from keras_structnets.signatures import Tensor

__all__ = ["AtLeast", "StableCirculant"]

_register = keras.saving.register_keras_serializable(package="keras_structnets")


@_register
class AtLeast(keras.constraints.Constraint):
    """Keeps the entries of a weight at `minimum` or above.

    Args:
        minimum: a number.

    Example:
        >>> at_least = ksn.constraints.AtLeast(0.5)
        >>> keras.ops.convert_to_numpy(at_least(np.array([-1.0, 2.0]))).tolist()
        [0.5, 2.0]
    """

    def __init__(self, minimum: float) -> None:
        self.minimum = checks.real("AtLeast", "minimum", minimum)

    def __call__(self, w: Tensor) -> Tensor:
        return keras.ops.maximum(w, self.minimum)

    def get_config(self) -> dict[str, Any]:
        return {"minimum": self.minimum}


@_register
class StableCirculant(keras.constraints.Constraint):
    """Scales the kernel of `CirculantDiffusion` down until `h rho <= 1`, for images of one size.

    `rho` is the largest eigenvalue of `K^T K`. Up to 2 the step is stable, but between 1 and 2 it
    changes the sign of what it should smooth.

    Args:
        step_size: `h`, above 0; None takes that of the layer.
        spatial_shape: sizes of the image; None takes those of the layer's input. A copy of the layer
            for another size of image is then constrained for that size.

    Raises:
        ValueError: for a step or sizes that are not positive, or a call of a constraint without them.

    Example:
        >>> stable = ksn.constraints.StableCirculant(step_size=0.5, spatial_shape=(4, 4))
        >>> kernel = np.zeros((3, 3, 2), "float32")
        >>> kernel[1, 1, 0] = 10.0  # K = 10, so h rho = 50
        >>> keras.ops.convert_to_numpy(stable(kernel)).max().round(3)  # sqrt(1 / h)
        np.float32(1.414)
        >>> stable = ksn.constraints.StableCirculant()
        >>> layer = ksn.layers.CirculantDiffusion2D(3, step_size=0.5, kernel_constraint=stable)
    """

    def __init__(
        self, step_size: float | None = None, spatial_shape: Sequence[int] | None = None
    ) -> None:
        owner = "StableCirculant"
        self.step_size = self.spatial_shape = None
        if step_size is not None:
            self.step_size = checks.positive(owner, "step_size", step_size)
        if spatial_shape is not None:
            rank = len(spatial_shape)
            self.spatial_shape = checks.integers(owner, "spatial_shape", spatial_shape, rank)

    def for_layer(self, step_size: float, spatial_shape: Sequence[int]) -> "StableCirculant":
        """The same constraint, with the step and sizes of a layer where it has none of its own."""
        return StableCirculant(
            self.step_size or step_size, self.spatial_shape or tuple(spatial_shape)
        )

    def __call__(self, kernel: Tensor) -> Tensor:
        if self.step_size is None or self.spatial_shape is None:
            raise ValueError(
                "StableCirculant: `step_size` and `spatial_shape` are None. Give both, or pass the "
                "constraint as kernel_constraint to a CirculantDiffusion layer."
            )
        re, im = ops.circulant_spectrum(kernel, self.spatial_shape)
        excess = self.step_size * keras.ops.max(re * re + im * im)
        return kernel / keras.ops.cast(keras.ops.sqrt(keras.ops.maximum(excess, 1)), kernel.dtype)

    def get_config(self) -> dict[str, Any]:
        return {"step_size": self.step_size, "spatial_shape": self.spatial_shape}
