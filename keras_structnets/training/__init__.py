"""From a recipe to a result: `Recipe`, `load`, `train`, and what a finished run can do.

Needs the extra `train`: `pip install keras_structnets[train]`.
"""

from keras_structnets.training.augment import random_crops, random_resized_crops
from keras_structnets.training.catalogue import card, parameters, table
from keras_structnets.training.data import Images, load
from keras_structnets.training.extra import extra
from keras_structnets.training.recipe import Recipe
from keras_structnets.training.records import record
from keras_structnets.training.run import pretrain, resume, train
from keras_structnets.training.saved import evaluate, predict

__all__ = [
    "Images",
    "Recipe",
    "card",
    "evaluate",
    "extra",
    "load",
    "parameters",
    "predict",
    "pretrain",
    "random_crops",
    "random_resized_crops",
    "record",
    "resume",
    "table",
    "train",
]
