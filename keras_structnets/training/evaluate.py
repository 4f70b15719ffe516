"""What a finished run can do: `evaluate` on a data set and `predict` images."""

import json
import pathlib
import zipfile
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from keras_structnets.signatures import Path
from keras_structnets.training.datasets import DATASETS, load, read
from keras_structnets.training.datasets.images import read_images
from keras_structnets.training.recipe import Recipe
from keras_structnets.training.transforms import center_crop
from keras_structnets.zoo import records
from keras_structnets.zoo.registry import trained_model


def evaluate(model: Path, dataset: Path | None = None) -> dict[str, Any]:
    """Accuracy of a saved model, on images that it was not trained on.

    Args:
        model: a run's folder, the name or folder of a record, or a `.keras` file.
        dataset: what `load` takes; None for the data set of the run. The validation images of named data
            sets and of the run's own are used, and all images of others.

    Returns:
        {"accuracy": ..., "images": how many, "dataset": ...}.

    Raises:
        ValueError: for what is not a model, images of other classes, or no data set.

    Example:
        >>> ksn.zoo.build("convnet_1layer", input_shape=(8, 8, 1)).save("untrained.keras")
        >>> found = ksn.training.evaluate("untrained.keras", "digits")
        >>> found["images"], found["accuracy"] < 0.5
        (359, True)
    """
    path, recipe = _file(model), _recipe(model)
    network = load_model(model)
    if dataset is None and recipe is None:
        raise ValueError(
            f"evaluate: {str(path)!r} has no recipe.toml beside it. Say on what: --dataset digits, "
            "or --dataset with the path of a folder."
        )
    dataset = recipe.dataset if dataset is None else str(dataset)
    height, width, channels = _image_shape(path, network)
    size = _size_before_crop(recipe, (height, width))
    images, labels, names = _images(dataset, recipe, size, channels)
    images = center_crop(images, (height, width))
    if images.shape[1:] != (height, width, channels):
        raise ValueError(
            f"evaluate: {str(path)!r} takes images of {(height, width, channels)}, but those of "
            f"{dataset!r} are {images.shape[1:]}. Evaluate on the data set that it was trained on."
        )
    known = class_names(model)
    if known not in (None, names) or network.output_shape[-1] != len(names):
        raise ValueError(
            f"evaluate: the classes of {dataset!r}, {names}, are not those of the model, "
            f"{known or network.output_shape[-1]}. Give a data set of the same classes."
        )
    predictions = network.predict(images, verbose=0)
    return {"accuracy": accuracy(predictions, labels), "images": len(labels), "dataset": dataset}


def _images(dataset, recipe, size, channels):
    """Images, labels and class names to evaluate on."""
    if dataset in DATASETS or (recipe and _same_folder(dataset, recipe.dataset)):
        data = load(dataset, image_size=size, channels=channels, **_split(recipe))
        return data.x_val, data.y_val, data.class_names
    source = read(dataset, size, channels)
    if source.x_val is None:
        return source.x, source.y, source.class_names
    images = np.concatenate([source.x, source.x_val])
    return images, np.concatenate([source.y, source.y_val]), source.class_names


def predict(model: Path, images: Sequence[Path]) -> list[tuple[str, str, float]]:
    """The most likely class of each image file.

    Args:
        model: a run's folder, the name or folder of a record, or a `.keras` file.
        images: paths. Files that are not images are named in a warning and left out.

    Returns:
        A list of (path, name of the class, the model's output for it).

    Raises:
        ValueError: for what is not a model, or if none of the files is an image.
        FileNotFoundError: for a path that does not exist.

    Example:
        >>> sea = np.full((32, 32, 3), [40, 110, 180], "uint8")
        >>> keras.utils.save_img("sea.png", sea, scale=False)
        >>> [(path, name, output)] = ksn.training.predict("caffe_convnet_cifar10_jpeg", ["sea.png"])
        >>> path, name, round(output, 1)
        ('sea.png', 'airplane', 0.4)
    """
    network = load_model(model)
    height, width, channels = _image_shape(_file(model), network)
    size = _size_before_crop(_recipe(model), (height, width))
    pixels, kept = read_images(list(images), size, channels)
    if not kept:
        raise ValueError(f"predict: none of {len(images)} files is an image. Give paths of images.")
    names = class_names(model) or list(map(str, range(network.output_shape[-1])))
    outputs = network.predict(center_crop(pixels, (height, width)), verbose=0)
    best = np.argmax(outputs, axis=-1)
    return [
        (str(path), names[label], float(row[label]))
        for path, label, row in zip(kept, best, outputs, strict=True)
    ]


def load_model(model: Path) -> keras.Model:
    """The Keras model of a run's folder, a record or a `.keras` file."""
    path = _file(model)
    if path.name.endswith(".weights.h5"):
        network = trained_model(records.read(path.parent))
    else:
        network = _saved_model(path)
    for weight in network.weights:
        if not np.isfinite(keras.ops.convert_to_numpy(weight)).all():
            raise ValueError(
                f"`model` {str(path)!r}: the weight {weight.path!r} is not finite. Train the model again."
            )
    return network


def _saved_model(path):
    try:
        return keras.saving.load_model(path, compile=False)
    except (ValueError, KeyError, TypeError, OSError, zipfile.BadZipFile) as error:
        raise ValueError(
            f"`model` {str(path)!r} is not a saved Keras model: {error}. Give a run's folder or a "
            ".keras file."
        ) from error


def accuracy(predictions, labels):
    """Share of rows of `predictions` [n, classes] whose largest entry is at the label."""
    return float(np.mean(np.argmax(predictions, axis=-1) == labels))


def split_of(model: Path) -> dict[str, Any]:
    """What `load` takes to split images as the run of a model did."""
    return _split(_recipe(model))


def class_names(model):
    """The names of the classes from the run's results, or None."""
    results = _file(model).parent / "results.json"
    if not results.is_file():
        return None
    return json.loads(results.read_text(encoding="utf-8")).get("class_names")


def _file(model):
    path = pathlib.Path(model)
    if not path.exists() and (record := records.named(str(model))):
        path = record.weights.parent
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


def _recipe(model):
    path = _file(model).parent / "recipe.toml"
    return Recipe.read(path) if path.is_file() else None


def _split(recipe):
    if recipe is None:
        return {}
    return {
        "validation_fraction": recipe.validation_fraction,
        "holdout_last_per_class": recipe.holdout_last_per_class,
    }


def _size_before_crop(recipe, size):
    """What images are resized to before their middle is cropped to `size`."""
    return recipe.image_size if recipe and recipe.crop_size else size


def _same_folder(first, second):
    return pathlib.Path(first).resolve() == pathlib.Path(second).resolve()


def _image_shape(path, network):
    shape = network.input_shape[1:]
    if len(shape) != 3 or None in shape:
        raise ValueError(
            f"`model` {str(path)!r} takes inputs of shape {shape}, not images of one size. "
            "Give a model of this zoo."
        )
    return shape
