"""Train a model by a recipe, evaluate it, and predict with it.

Needs the extra `train`: `pip install keras_structnets[train]`.
"""

from keras_structnets.training.datasets import Images, load
from keras_structnets.training.evaluate import evaluate, predict
from keras_structnets.training.publish import publish
from keras_structnets.training.recipe import Recipe
from keras_structnets.training.trainer import resume, train

__all__ = ["Images", "Recipe", "evaluate", "load", "predict", "publish", "resume", "train"]
