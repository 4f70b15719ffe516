"""Trained models by name or path: a run's folder, a `.keras` file, or the weights of a record."""

import json
import pathlib
import zipfile

import keras

from keras_structnets import checks, zoo
from keras_structnets.signatures import Path
from keras_structnets.training._io import CLASS_NAMES, read_results
from keras_structnets.training.recipe import Recipe
from keras_structnets.zoo import records
from keras_structnets.zoo.registry import trained_model
from keras_structnets.zoo.weights import refuse_nan


def load_model(model: Path, weights: str | None = None) -> keras.Model:
    """The Keras model of a run's folder, a record or a `.keras` file; see `file_of`."""
    path = file_of(model, weights)
    if path.name.endswith(".weights.h5"):
        network = trained_model(records.read(path.parent))
    else:
        network = _saved_model(path)
    try:
        refuse_nan(network)
    except ValueError as error:
        raise ValueError(f"`model` {str(path)!r}: {error}") from error
    return network


def file_of(model: Path, weights: str | None = None) -> pathlib.Path:
    """The file of a trained model.

    Args:
        model: a run's folder, the name or folder of a record, a `.keras` file, or with `weights` the name of
            a model of the zoo.
        weights: None, or the data set of one of `zoo.info(model).records`.

    Raises:
        ValueError: for what is none of these; the error lists what there is.
    """
    path = pathlib.Path(model)
    if weights is not None:
        path = _record(str(model), weights).weights
    elif not path.exists():
        path = _named(str(model)).weights
    if path.is_dir():
        endings = (".keras", ".weights.h5")
        files = [path / f"{path.resolve().name}{ending}" for ending in endings]
        path = next((file for file in files if file.is_file()), files[0])
    if not path.is_file():
        raise ValueError(
            f"`model` {str(path)!r} is missing. Give a run's folder, the name of a record or a .keras "
            "file; `structnets train` writes one."
        )
    return path


def class_names(path: pathlib.Path) -> list[str] | None:
    """The names of the classes, from the `.keras` file or the results beside it, or None."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as file:
            if CLASS_NAMES in file.namelist():
                return json.loads(file.read(CLASS_NAMES))
    results = path.parent / "results.json"
    if not results.is_file():
        return None
    return read_results(results.parent).get("class_names")


def recipe_of(path: pathlib.Path) -> Recipe | None:
    """The recipe beside the file of a model, or None."""
    recipe = path.parent / "recipe.toml"
    return Recipe.read(recipe) if recipe.is_file() else None


def input_shape(
    path: pathlib.Path, network: keras.Model, ranks: tuple[int, ...] = (1, 2, 3)
) -> tuple[int, ...]:
    """(*spatial, channels) that `network` takes."""
    shape = network.input_shape[1:]
    if len(shape) - 1 not in ranks or None in shape:
        raise ValueError(
            f"`model` {str(path)!r} takes inputs of shape {shape}, not images of one size. "
            "Give a model of this zoo."
        )
    return shape


def image_shape(path: pathlib.Path, network: keras.Model) -> tuple[int, ...]:
    """(height, width, channels) that `network` takes."""
    return input_shape(path, network, ranks=(2,))


def _record(model, weights):
    """The record of a model of the zoo that was trained on `weights`."""
    zoo.info(model)  # a ValueError for an unknown name
    known = records.of(model)
    if weights not in known:
        raise ValueError(
            f"`weights` {weights!r}: {model!r} has none of that name.{checks.did_you_mean(weights, known)} "
            f"{_what_there_is(known)}"
        )
    return known[weights]


def _what_there_is(known):
    if known:
        return f"Give `weights`: {' or '.join(map(repr, known))}."
    return f"Trained are {', '.join(zoo.list_models(pretrained=True))}."


def _named(name):
    """The record `name`."""
    record = records.named(name)
    if record:
        return record
    if name in zoo.list_models():
        raise ValueError(f"`model` {name!r} needs its weights. {_what_there_is(records.of(name))}")
    known = [row["name"] for row in zoo.results()]
    raise ValueError(
        f"`model` {name!r} is missing.{checks.did_you_mean(name, [*known, *zoo.list_models()])} Give a run's "
        f"folder, a .keras file, or one of the records: {', '.join(known)}."
    )


def _saved_model(path):
    try:
        return keras.saving.load_model(path, compile=False)
    except (ValueError, KeyError, TypeError, OSError, zipfile.BadZipFile) as error:
        raise ValueError(
            f"`model` {str(path)!r} is not a saved Keras model: {error}. Give a run's folder or a "
            ".keras file."
        ) from error
