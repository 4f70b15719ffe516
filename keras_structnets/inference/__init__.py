"""Models whose weights do not change any more: their inference form, and prediction."""

from keras_structnets.inference.form import simplify
from keras_structnets.inference.predictor import predictor

__all__ = ["predictor", "simplify"]
