"""For trained models: the inference form, fast prediction, and export to other runtimes."""

from keras_structnets.inference.export import Exported, export
from keras_structnets.inference.form import simplify
from keras_structnets.inference.predictor import predictor

__all__ = ["Exported", "export", "predictor", "simplify"]
