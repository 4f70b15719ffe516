"""Fine-tuning: a run that starts from the weights of a record, or from a trained model."""

import dataclasses
import pathlib
import warnings
from typing import Any

import keras

from keras_structnets import zoo
from keras_structnets.signatures import Path
from keras_structnets.training.recipe import Recipe
from keras_structnets.training.saved import file_of, load_model
from keras_structnets.zoo import records

# keys for models of the zoo alone
OF_ZOO = ("weights", "freeze", "pretrain", "small_crop_size", "sizes", "normalize")


def is_saved(recipe: Recipe) -> bool:
    """Whether `model` is a file or a folder, and no name of the zoo."""
    path = pathlib.Path(recipe.model)
    return recipe.model not in zoo.list_models() and (path.suffix == ".keras" or path.is_dir())


def fitted_to_weights(recipe: Recipe) -> Recipe:
    """The recipe, with the image size and channels of what it starts from where it says nothing else."""
    record = _record(recipe)
    if record is not None:
        *size, channels = record.input_shape
    elif is_saved(recipe) or recipe.teacher:
        if is_saved(recipe):
            _refuse_keys_of_zoo(recipe)
        network = load_model(recipe.model) if is_saved(recipe) else teacher_of(recipe)
        *size, channels = network.input_shape[1:]
        if len(size) != 2 or None in size or recipe.crop_size:
            return recipe
    else:
        return recipe
    return dataclasses.replace(
        recipe, image_size=recipe.image_size or size, channels=recipe.channels or channels
    )


def _refuse_keys_of_zoo(recipe):
    changed = recipe.difference(Recipe(recipe.model))
    for key in OF_ZOO:
        if key in changed:
            raise ValueError(
                f"train: `{key}` is for models of the zoo, and {recipe.model!r} is a trained model. Leave "
                "it out."
            )


def refuse_own_folder(recipe: Recipe, out: Path) -> None:
    """A ValueError if the run would replace the model that it starts from, or its teacher."""
    starts = {"model": recipe.model if is_saved(recipe) else "", "teacher": recipe.teacher or ""}
    for key, path in starts.items():
        exists = path and pathlib.Path(path).exists()
        if exists and file_of(path).resolve().parent == pathlib.Path(out).resolve():
            raise ValueError(
                f"train: `out` {str(out)!r} holds the `{key}` {path!r}. Choose another folder with "
                "--out."
            )


def teacher_of(recipe: Recipe) -> keras.Model:
    """The recipe's teacher."""
    try:
        return load_model(str(recipe.teacher))
    except ValueError as error:
        raise ValueError(
            f"train: the `teacher` {recipe.teacher!r} is no trained model: {error}"
        ) from error


def build(recipe: Recipe, **options: Any) -> keras.Model:
    """The recipe's model with its weights, with all but the head frozen if it says so."""
    if is_saved(recipe):
        return _saved(recipe, **options)
    with warnings.catch_warnings():  # that the head is new goes without saying
        warnings.filterwarnings("ignore", message=".*start from random weights")
        options["include_preprocessing"] = True if recipe.normalize else "rescale"
        model = zoo.build(recipe.model, weights=recipe.weights, **options, **recipe.sizes)
    if recipe.freeze:
        for layer in body(model, recipe):
            layer.trainable = False
    return model


def _saved(recipe, input_shape, num_classes):
    model = load_model(recipe.model)
    shapes = zip(model.input_shape[1:], input_shape, strict=False)
    if len(model.input_shape) != 1 + len(input_shape) or any(n not in (None, m) for n, m in shapes):
        raise ValueError(
            f"train: the `model` {recipe.model!r} takes inputs of {model.input_shape[1:]}, and those of "
            f"{recipe.dataset!r} are {tuple(input_shape)}. Give its `image_size` and `channels`."
        )
    if model.output_shape != (None, num_classes):
        raise ValueError(
            f"train: the `model` {recipe.model!r} has outputs {model.output_shape[1:]}, and "
            f"{recipe.dataset!r} {num_classes} classes. Use images of its classes."
        )
    if not model.trainable_variables:
        raise ValueError(
            f"train: all layers of the `model` {recipe.model!r} are frozen. Set its `trainable` to True "
            "before you save or convert it."
        )
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
