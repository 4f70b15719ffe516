"""Constraints on the weights of layers."""

from typing import Any

import keras

from keras_structnets import checks
from keras_structnets.signatures import Tensor

__all__ = ["AtLeast"]

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
