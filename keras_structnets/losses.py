"""Losses for structured outputs."""

from typing import Any

import keras

from keras_structnets import checks
from keras_structnets.signatures import Tensor

__all__ = ["MarginLoss"]


@keras.saving.register_keras_serializable(package="keras_structnets")
class MarginLoss(keras.losses.Loss):
    """The margin loss of capsules, a way to train structured outputs (GConvNets, end of section 3).

    `L = sum_k T_k max(0, m_in - v_k)^2 + absent_weight (1 - T_k) max(0, v_k - m_out)^2`, `v_k` in 0..1 the
    length of the tensor of class k, `T_k` 1 for the true class and 0 for the others.

    Shapes: y_true, classes [b], [b, 1] or one-hot [b, n]; y_pred [b, n] -> a loss for each input, [b].

    Args:
        present_margin: `m_in`, a length that is long enough for the true class.
        absent_margin: `m_out`, a length that is short enough for the others.
        absent_weight: weight of the other classes, which are many.
        from_logits: whether `y_pred` are logits; `v_k` is then their sigmoid.
        reduction: of `keras.losses.Loss`.
        name: of the loss.
        dtype: of `keras.losses.Loss`.

    Raises:
        ValueError: for a margin or a weight that is not above 0.

    Example:
        >>> loss = ksn.losses.MarginLoss()
        >>> round(float(loss(np.array([0]), np.array([[0.9, 0.1]]))), 3)
        0.0
        >>> round(float(loss(np.array([1]), np.array([[0.9, 0.1]]))), 3)  # 0.8^2 + 0.5 * 0.8^2
        0.96
        >>> options = {"head": "structured", "structure": (2, 2), "skips": (1,)}
        >>> model = ksn.zoo.build("g_conv_net", classifier_activation=None, **options)
        >>> model.compile("adam", ksn.losses.MarginLoss(from_logits=True))

    Reference: Sabour, Frosst and Hinton, Dynamic Routing Between Capsules, 2017, eq. 4.
    """

    def __init__(
        self,
        present_margin: float = 0.9,
        absent_margin: float = 0.1,
        absent_weight: float = 0.5,
        *,
        from_logits: bool = False,
        reduction: str | None = "sum_over_batch_size",
        name: str = "margin_loss",
        dtype: Any = None,
    ) -> None:
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        self.present_margin = checks.positive("MarginLoss", "present_margin", present_margin)
        self.absent_margin = checks.positive("MarginLoss", "absent_margin", absent_margin)
        self.absent_weight = checks.positive("MarginLoss", "absent_weight", absent_weight)
        self.from_logits = from_logits

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        v = keras.ops.sigmoid(y_pred) if self.from_logits else y_pred
        n_classes = y_pred.shape[-1]
        if tuple(y_true.shape[1:]) != tuple(y_pred.shape[1:]):
            classes = keras.ops.reshape(keras.ops.cast(y_true, "int32"), (-1,))
            y_true = keras.ops.one_hot(classes, n_classes)
        t = keras.ops.cast(y_true, v.dtype)
        present = keras.ops.square(keras.ops.relu(self.present_margin - v))
        absent = keras.ops.square(keras.ops.relu(v - self.absent_margin))
        return keras.ops.sum(t * present + self.absent_weight * (1.0 - t) * absent, axis=-1)

    def get_config(self) -> dict[str, Any]:
        names = ("present_margin", "absent_margin", "absent_weight", "from_logits")
        return super().get_config() | {name: getattr(self, name) for name in names}
