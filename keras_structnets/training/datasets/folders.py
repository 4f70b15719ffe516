"""Where images come from: a name, a folder, an archive or a file of arrays."""

import pathlib

import numpy as np

from keras_structnets.training._io import natural
from keras_structnets.training.datasets.archives import TARS, read_archive
from keras_structnets.training.datasets.arrays import read_arrays
from keras_structnets.training.datasets.images import read_images, resized
from keras_structnets.training.datasets.registry import DATASETS, Source

MAX_BYTES = 2**30


def read(source, image_size=None, channels=None, max_bytes=MAX_BYTES):
    """The `Source` of a name or path: see `load`."""
    path = pathlib.Path(source)
    if str(source) in DATASETS:
        return _resized(DATASETS[str(source)].read(), image_size)
    if path.is_file() and path.suffix == ".npz":
        return _resized(read_arrays(path), image_size)
    if path.is_file() and path.name.endswith((*TARS, ".zip")):
        return _read_classes(path, read_archive(path, max_bytes), image_size, channels)
    if not path.is_dir():
        what = "not a folder, archive or .npz" if path.exists() else "missing"
        raise ValueError(
            f"load: `source` {str(path)!r} is {what}. Give {', '.join(map(repr, DATASETS))}, a folder with "
            f"one sub-folder of images per class, such a folder as {', '.join(TARS)} or .zip, or a .npz."
        )
    folders = natural(p for p in path.iterdir() if p.is_dir() and not p.name.startswith("."))
    files = {folder.name: natural(_files(folder)) for folder in folders}
    return _read_classes(path, files, image_size, channels)


def _resized(source, size):
    x, x_val = resized(source.x, size), resized(source.x_val, size)
    return Source(x, source.y, source.class_names, x_val, source.y_val)


def _files(folder):
    """Its files, and its links that lead nowhere."""
    files = (p for p in folder.iterdir() if p.is_file() or (p.is_symlink() and not p.exists()))
    return (p for p in files if not p.name.startswith("."))


def _read_classes(path, files, image_size, channels):
    """The `Source` of {class: files}."""
    if len(files) < 2:
        raise ValueError(
            f"load: {str(path)!r} has {len(files)} class sub-folders, and at least 2 are needed. "
            "Put the images of each class into a sub-folder with the name of the class."
        )
    label_of = {file: label for label, group in enumerate(files.values()) for file in group}
    images, kept = read_images(list(label_of), image_size, channels)
    labels = np.array([label_of[file] for file in kept], "int32")
    for label, name in enumerate(files):
        if label not in labels:
            raise ValueError(
                f"load: class sub-folder {str(path / name)!r} holds no image. Put images into it "
                "or remove it; if the classes lie one level deeper, give the folder above them."
            )
    return Source(images, labels, list(files))
