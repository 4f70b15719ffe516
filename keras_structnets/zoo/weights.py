"""Weights for models of the zoo: those of records, of files and of URLs."""

import os
import pathlib
import warnings
from collections.abc import Collection

import h5py  # comes with keras
import keras
import numpy as np

from keras_structnets import checks
from keras_structnets.signatures import Path
from keras_structnets.zoo import records

CACHE = None  # of downloaded weights: Keras' own


def record_of(name: str, weights: Path | None) -> records.Record | None:
    """The `Record` that `weights` names, or None if it is a path, a URL or None."""
    if weights is None or isinstance(weights, os.PathLike):
        return None
    if isinstance(weights, str) and pathlib.Path(weights).suffix:
        return None
    known = records.of(name)
    if not isinstance(weights, str) or weights not in known:
        choices = ", ".join([*map(repr, known), "the path of a file"])
        others = ", ".join(folder.name for folder in records.folders())
        raise ValueError(
            f"build({name!r}): `weights` {weights!r} is not a file, and no data set that trained weights "
            f"are of.{checks.did_you_mean(weights, known)} Give {choices}, or None. There are trained "
            f"weights of {others or 'no model'}."
        )
    return known[weights]


def load_record(
    model: keras.Model, trained: keras.Model, record: records.Record, trunk: Collection[str]
) -> None:
    """Give each layer its trained weights; a head of another size keeps its random weights."""
    layers, sources = ([layer for layer in m.layers if layer.weights] for m in (model, trained))
    fresh = []
    for layer, source in zip(layers, sources, strict=False):  # without its head a model is shorter
        if _kind(layer) == _kind(source):
            layer.set_weights(source.get_weights())
        else:
            fresh.append(layer.name)
    wrong = [name for name in fresh if name in trunk]
    has_head = any(layer.name not in trunk for layer in layers)
    same_outputs = model.output_shape[1:] == trained.output_shape[1:]
    shorter = has_head and same_outputs and len(layers) != len(sources)
    if wrong or shorter or (fresh and model.output_shape == trained.output_shape):
        raise ValueError(
            f"build({record.model!r}): the trained weights do not fit the layers {(wrong or fresh)[:3]}. "
            f"They are for input_shape={record.input_shape} and the sizes {record.sizes or 'of the zoo'}."
        )
    if fresh:
        warnings.warn(
            f"build({record.model!r}): the layers {fresh} start from random weights, since num_classes is "
            f"not the {len(record.class_names)} of {record.dataset!r}; the others are trained.",
            stacklevel=3,
        )


def _kind(layer):
    return type(layer), [weight.shape for weight in layer.weights]


def _download(address):
    """The path of the file at `address`, whose checksum stands behind it."""
    url, _, checksum = address.partition("#sha256=")
    if not checksum:
        raise ValueError(
            f"build: `weights` {address!r} has no checksum. Add #sha256= and its 64 digits."
        )
    try:
        return keras.utils.get_file(
            origin=url,
            file_hash=checksum,
            hash_algorithm="sha256",
            cache_subdir="keras_structnets",
            cache_dir=CACHE,
        )
    except Exception as error:  # Keras raises a plain Exception where it cannot fetch
        raise ValueError(f"build: `weights` {url!r} cannot be had: {error}.") from error


def load_file(
    model: keras.Model, architecture: str, path: Path, architectures: Collection[str]
) -> None:
    """Give `model` the weights of a file that was saved from the same model."""
    owner = f"build({architecture!r})"
    path = pathlib.Path(_download(path) if "://" in str(path) else path)
    if not path.is_file():
        raise ValueError(f"{owner}: `weights` {str(path)!r} is not a file. Give a path, or None.")
    if not path.name.endswith((".weights.h5", ".keras")):
        raise ValueError(
            f"{owner}: `weights` {str(path)!r} must end in .weights.h5 or .keras. "
            "Write one with model.save_weights or model.save."
        )
    others = {name for name in architectures if name not in (architecture, model.name)}
    try:
        if path.suffix == ".keras":
            saved = keras.saving.load_model(path, compile=False)
            _refuse_another(model, saved.name, len(saved.layers), others)
            model.set_weights(saved.get_weights())
        else:
            with h5py.File(path) as file:
                name = file["vars"].attrs.get("name", model.name)
                _refuse_another(model, name, len(file["layers"]), others)
            model.load_weights(path)
        refuse_nan(model)
    except (ValueError, TypeError, KeyError, OSError) as error:
        reason = str(error).split("\n")[0]  # Keras goes on to print the weights
        raise ValueError(
            f"{owner}: `weights` {str(path)!r} is not a weights file of this model: {reason} "
            "Use weights that were saved from the same name, num_classes, include_top and sizes."
        ) from error


def refuse_nan(model: keras.Model) -> None:
    """A ValueError that names the first weight with a value that is not finite."""
    for weight in model.weights:
        if not np.isfinite(keras.ops.convert_to_numpy(weight)).all():
            raise ValueError(f"the weight {weight.path!r} is not finite. Train the model again.")


def _refuse_another(model, name, n_layers, others):
    """Shapes do not tell: models share them, and Keras ignores layers that only the file has."""
    if name in others or n_layers != len(model.layers):
        raise ValueError(
            f"it holds {name!r} with {n_layers} layers, the model has {len(model.layers)}."
        )
