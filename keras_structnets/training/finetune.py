"""Fine-tuning: a run that starts from the weights of a record."""

import dataclasses
import pathlib
import warnings
from typing import Any

import keras

from keras_structnets import zoo
from keras_structnets.training.recipe import Recipe
from keras_structnets.zoo import records


def fitted_to_weights(recipe: Recipe) -> Recipe:
    """The recipe, with the image size and channels of its weights where it says nothing else."""
    record = _record(recipe)
    if record is None:
        return recipe
    *size, channels = record.input_shape
    return dataclasses.replace(
        recipe, image_size=recipe.image_size or size, channels=recipe.channels or channels
    )


def build(recipe: Recipe, **options: Any) -> keras.Model:
    """`zoo.build` of the recipe's model and weights, with all but the head frozen if it says so."""
    with warnings.catch_warnings():  # that the head is new goes without saying
        warnings.filterwarnings("ignore", message=".*start from random weights")
        options["include_preprocessing"] = True if recipe.normalize else "rescale"
        model = zoo.build(recipe.model, weights=recipe.weights, **options, **recipe.sizes)
    if recipe.freeze:
        for layer in body(model, recipe):
            layer.trainable = False
    return model


def unfreeze(model: keras.Model, recipe: Recipe) -> None:
    """Make the layers trainable again that `build` froze: a frozen run ends in an ordinary model."""
    if recipe.freeze:
        for layer in body(model, recipe):
            layer.trainable = True


def body(model: keras.Model, recipe: Recipe) -> list[keras.Layer]:
    """The layers of `model` before its head."""
    shape = model.input_shape[1:]
    whole = zoo.build(recipe.model, input_shape=shape, include_top=False, **recipe.sizes)
    return model.layers[: len(whole.layers)]


def _record(recipe):
    """The record that `weights` names, or None for a path or None; `build` refuses what is neither."""
    if recipe.weights is None or pathlib.Path(recipe.weights).suffix:
        return None
    return records.of(recipe.model).get(recipe.weights)
