"""Where images come from: a name, a folder, an archive or a file of arrays."""

import dataclasses
import pathlib

import numpy as np

from keras_structnets.training._io import natural
from keras_structnets.training.datasets.archives import TARS, Archive
from keras_structnets.training.datasets.arrays import read_arrays, read_stack
from keras_structnets.training.datasets.images import read_images, resized
from keras_structnets.training.datasets.registry import DATASETS, Source
from keras_structnets.training.datasets.series import read_series

MAX_BYTES = 2**30


def read(source, image_size=None, channels=None, max_bytes=MAX_BYTES):
    """The `Source` of a name or path: see `load`."""
    path, dataset = pathlib.Path(source), DATASETS.get(str(source))
    if dataset or (path.is_file() and path.suffix == ".npz"):
        found = dataset.read() if dataset else read_arrays(path)
        x, x_val = resized(found.x, image_size), resized(found.x_val, image_size)
        return dataclasses.replace(found, x=x, x_val=x_val)
    if path.is_file() and path.suffix == ".tsv":
        return read_series(path)
    if path.is_file() and path.name.endswith((*TARS, ".zip")):
        return _read_classes(path, Archive(path, max_bytes), image_size, channels)
    if not path.is_dir():
        what = "not a folder, archive or .npz" if path.exists() else "missing"
        raise ValueError(
            f"load: `source` {str(path)!r} is {what}. Give {', '.join(map(repr, DATASETS))}, a folder with "
            f"one sub-folder of images per class, such a folder as {', '.join(TARS)} or .zip, or a .npz."
        )
    return _read_classes(path, _Folder(path), image_size, channels)


class _Folder(list):
    """The files in the sub-folders of a folder, and its links that lead nowhere."""

    def __init__(self, path):
        self.folders = [p for p in path.iterdir() if p.is_dir() and not p.name.startswith(".")]
        files = (p for folder in self.folders for p in folder.iterdir() if p.name[0] != ".")
        super().__init__(p for p in files if p.is_file() or (p.is_symlink() and not p.exists()))


def _read_classes(path, files, image_size, channels):
    """The `Source` of files; the class of each is its folder."""
    if isinstance(files, _Folder) and files and all(file.suffix == ".npy" for file in files):
        kept = _by_folder(files)
        images = resized(read_stack(kept), image_size)
    else:
        images, kept = read_images(files, image_size, channels, _by_folder)
    folders = natural(files.folders)
    names = [folder.name for folder in folders]
    if len(names) < 2:
        raise ValueError(
            f"load: {str(path)!r} has {len(names)} class sub-folders, and at least 2 are needed. "
            "Put the images of each class into a sub-folder with the name of the class."
        )
    if len(set(names)) < len(names):
        raise ValueError(
            f"load: `source` {str(path)!r} has images in {', '.join(map(str, folders))}; folders "
            "of the same name would be one class. Pack one folder that holds one folder per class."
        )
    label_of = {folder: label for label, folder in enumerate(folders)}
    labels = np.array([label_of[file.parent] for file in kept], "int32")
    for label, name in enumerate(names):
        if label not in labels:
            raise ValueError(
                f"load: class sub-folder {str(path / name)!r} holds no image. Put images into it "
                "or remove it; if the classes lie one level deeper, give the folder above them."
            )
    return Source(images, labels, names)


def _by_folder(paths):
    folders = {}
    for path in natural(paths):
        folders.setdefault(path.parent, []).append(path)
    return [path for folder in natural(folders) for path in folders[folder]]
