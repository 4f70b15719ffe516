"""`evaluate` a trained model on a data set, and `predict` the classes of images."""

import pathlib
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from keras_structnets.signatures import Path
from keras_structnets.training import report
from keras_structnets.training._io import natural, printable, require
from keras_structnets.training.augment import center_crop
from keras_structnets.training.datasets import DATASETS, load, read
from keras_structnets.training.datasets.images import read_images
from keras_structnets.training.saved import (
    class_names,
    file_of,
    image_shape,
    input_shape,
    load_model,
    recipe_of,
)

FAR_LARGER = 8  # times the height and width of the network's input


def evaluate(
    model: Path, dataset: Path | None = None, *, weights: str | None = None
) -> dict[str, Any]:
    """Accuracy of a trained model, on images that it was not trained on.

    Args:
        model: a run's folder, the name or folder of a record, a `.keras` file, or with `weights` the name of
            a model of the zoo.
        dataset: what `load` takes; None for the data set of the run. The validation images of named data
            sets and of the run's own are used, and all images of others. Their classes are those of the
            model, or some of them.
        weights: the data set that the weights of a model of the zoo were trained on.

    Returns:
        {"accuracy": ..., "images": how many, "classes": of how many classes, "dataset": ...}.

    Raises:
        ValueError: for what is not a model, images of other classes, or no data set.

    Example:
        >>> ksn.zoo.build("convnet_1layer", input_shape=(8, 8, 1)).save("untrained.keras")
        >>> found = ksn.training.evaluate("untrained.keras", "digits")
        >>> found["images"], found["accuracy"] < 0.5
        (359, True)
    """
    path = file_of(model, weights)
    recipe, network = recipe_of(path), load_model(path)
    dataset = _dataset(path, recipe, dataset)
    *spatial, channels = shape = input_shape(path, network)
    is_image = len(spatial) == 2  # series and volumes are not resized
    size = _size_before_crop(recipe, spatial) if is_image else None
    images, labels, names = _images(dataset, recipe, size, channels if is_image else None)
    if images.ndim == len(shape) + 1:
        images = center_crop(images, spatial)
    if images.shape[1:] != shape:
        raise ValueError(
            f"evaluate: {str(path)!r} takes images of {shape}, but those of "
            f"{dataset!r} are {images.shape[1:]}. Evaluate on the data set that it was trained on."
        )
    labels = _labels_of_model(path, network, labels, names, dataset)
    predictions = network.predict(images, verbose=0)
    return {
        "accuracy": accuracy(predictions, labels),
        "images": len(labels),
        "classes": len(names),
        "dataset": dataset,
    }


def _dataset(path, recipe, dataset):
    """What was given, or the data set of the run, if it is there."""
    if dataset is not None:
        return str(dataset)
    if recipe is None:
        raise ValueError(
            f"evaluate: {str(path)!r} has no recipe.toml beside it. Give `dataset`: a name such as digits, "
            "or the path of a folder."
        )
    if recipe.dataset in DATASETS or pathlib.Path(recipe.dataset).exists():
        return recipe.dataset
    original = report.dataset_name(recipe.dataset).removesuffix("_jpeg")
    downloaded = f"{original}, which is downloaded once, or " if original in DATASETS else ""
    raise ValueError(
        f"evaluate: the images of {report.title(recipe.dataset)} are not at {recipe.dataset!r}. Put them "
        f"there, or give `dataset`: {downloaded}a folder with one sub-folder of images for each class "
        "or for some of them."
    )


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


def _labels_of_model(path, network, labels, names, dataset):
    """Labels among `names` as numbers of the model's classes."""
    known = class_names(path)
    if known is None and network.output_shape[-1] == len(names):
        return labels
    if known is None or not set(names) <= set(known):
        raise ValueError(
            f"evaluate: the classes of {dataset!r}, {names}, are not among those of the model, "
            f"{known or network.output_shape[-1]}. Give `dataset`: images of its classes."
        )
    return np.array([known.index(name) for name in names])[labels]


def predict(
    model: Path, images: Sequence[Path], *, weights: str | None = None, top: int = 1
) -> list[tuple[str, str, float]]:
    """The most likely classes of each image file.

    Args:
        model: a run's folder, the name or folder of a record, a `.keras` file, or with `weights` the name of
            a model of the zoo.
        images: paths of images and of folders, whose images are taken in natural order, those of their
            sub-folders too. Files that are not images are named in a warning and left out, and images
            that are far larger than the input of the network in another.
        weights: the data set that the weights of a model of the zoo were trained on.
        top: classes for each image, the most likely first.

    Returns:
        A list of (path, name of the class, the model's output for it), `top` for each image.

    Raises:
        ValueError: for what is not a model, or if none of the files is an image.
        FileNotFoundError: for a path that does not exist.

    Example:
        >>> sea = np.full((32, 32, 3), [40, 110, 180], "uint8")
        >>> keras.utils.save_img("sea.png", sea, scale=False)
        >>> [(path, name, output)] = ksn.training.predict("caffe_convnet_cifar10", ["sea.png"])
        >>> path, name, round(output, 1)
        ('sea.png', 'bird', 1.0)
    """
    path = file_of(model, weights)
    network = load_model(path)
    height, width, channels = image_shape(path, network)
    size = _size_before_crop(recipe_of(path), (height, width))
    files = [file for given in images for file in _files(given)]
    pixels, kept = read_images(files, size, channels)
    if not kept:
        raise ValueError(f"predict: none of {len(files)} files is an image. Give paths of images.")
    _note_large(kept, size)
    names = class_names(path) or list(map(str, range(network.output_shape[-1])))
    outputs = network.predict(center_crop(pixels, (height, width)), verbose=0)
    best = np.argsort(-outputs, axis=-1, kind="stable")[:, :top]
    return [
        (str(file), names[label], float(row[label]))
        for file, labels, row in zip(kept, best, outputs, strict=True)
        for label in labels
    ]


def _files(given):
    """`given`, or the files below it if it is a folder."""
    path = pathlib.Path(given)
    if not path.exists():
        raise FileNotFoundError(
            f"predict: there is no {str(given)!r}. Give the paths of images, or of folders of images."
        )
    if not path.is_dir():
        return [given]
    files = natural(file for file in path.rglob("[!.]*") if file.is_file())
    return sorted(files, key=lambda file: file.parent)


def _note_large(files, size):
    """A warning if images are so large that what they show is lost in `size`."""
    sizes = {file: require("PIL.Image").open(file).size for file in files}
    large = [
        file
        for file, (width, height) in sizes.items()
        if height >= FAR_LARGER * size[0] and width >= FAR_LARGER * size[1]
    ]
    if large:
        width, height = sizes[large[0]]
        warnings.warn(
            f"{len(large)} of {len(files)} images, for example {printable(large[0])} of {width} x {height} "
            f"pixels, are far larger than the {size[1]} x {size[0]} that the network takes: crop them "
            "to the object, for small things are lost",
            stacklevel=3,
        )


def accuracy(predictions, labels):
    """Share of rows of `predictions` [n, classes] whose largest entry is at the label."""
    return float(np.mean(np.argmax(predictions, axis=-1) == labels))


def split_of(model: Path, weights: str | None = None) -> dict[str, Any]:
    """What `load` takes to split images as the run of a model did."""
    return _split(recipe_of(file_of(model, weights)))


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
