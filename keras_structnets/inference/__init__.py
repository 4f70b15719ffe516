"""Prediction by a model whose weights do not change any more."""

from keras_structnets.inference.predictor import predictor

__all__ = ["predictor"]
