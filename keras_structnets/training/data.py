"""Images and labels as NumPy arrays of raw pixels 0..255: scikit-learn's digits, or a folder."""

import dataclasses
import pathlib
import re
import warnings

import keras
import numpy as np

from keras_structnets.training.extra import extra


@dataclasses.dataclass(frozen=True)
class Images:
    """Training and held-out images.

    Attributes:
        x_train, x_val: pixels 0..255, [n, height, width, channels].
        y_train, y_val: the class of each image, [n], from 0.
        class_names: a name for each class.
    """

    x_train: np.ndarray
    y_train: np.ndarray
    x_val: np.ndarray
    y_val: np.ndarray
    class_names: list

    def __str__(self):
        shape = " x ".join(map(str, self.x_train.shape[1:]))
        return (
            f"{len(self.x_train)} training and {len(self.x_val)} held-out images "
            f"of {len(self.class_names)} classes, {shape}"
        )


def load(source, *, image_size=None, validation_fraction=0.2, holdout_last_per_class=0, seed=0):
    """The images of `source`, split into training and held-out ones.

    Args:
        source: "digits", scikit-learn's 1797 scans of handwritten digits (8x8, one channel, a fifth
            of each class held out), or the path of a folder that holds one sub-folder of images per
            class. The classes are numbered in natural order of their names: 2 comes before 10.
        image_size: (height, width) that a folder's images are resized to; None for the size of the
            first one.
        validation_fraction: share of each class that is held out of a folder.
        holdout_last_per_class: hold out the last so many images of each class, in natural order of
            their file names, instead of a random share.
        seed: of the split. The same seed gives the same split.

    Returns:
        `Images`. Files that are not images are named in a warning and left out.

    Raises:
        ValueError: for a path that is not a folder, a folder without images in class sub-folders,
            or a class that is too small to be split.
        ImportError: if the extra `train` is not installed.

    Example:

    ```python
    data = load("digits")
    data.x_train.shape  # (1438, 8, 8, 1)
    ```
    """
    if str(source) == "digits":
        images, labels, names = _digits()
        holdout_last_per_class, validation_fraction = 0, 0.2
    else:
        images, labels, names = read_folder(source, image_size)
    held = np.zeros(len(labels), bool)
    rng = np.random.default_rng(seed)
    for label, name in enumerate(names):
        members = np.flatnonzero(labels == label)
        if not holdout_last_per_class:
            members = rng.permutation(members)
        n_held = holdout_last_per_class or max(1, round(validation_fraction * len(members)))
        if n_held >= len(members):
            raise ValueError(
                f"load: class {name!r} has {len(members)} images, too few to hold out {n_held} "
                "and train on the rest. Add images, or hold out fewer."
            )
        held[members[-n_held:]] = True
    return Images(images[~held], labels[~held], images[held], labels[held], names)


def read_folder(path, image_size=None, channels=None):
    """Every image of a folder of class sub-folders: pixels [n, h, w, c], labels [n], classes."""
    path = pathlib.Path(path)
    if not path.is_dir():
        raise ValueError(
            f"load: `source` {str(path)!r} is {'not a folder' if path.exists() else 'missing'}. "
            "Give 'digits', or a folder with one sub-folder of images per class."
        )
    folders = natural(p for p in path.iterdir() if p.is_dir() and not p.name.startswith("."))
    if len(folders) < 2:
        raise ValueError(
            f"load: {str(path)!r} has {len(folders)} class sub-folders, and at least 2 are needed. "
            "Put the images of each class into a sub-folder with the name of the class."
        )
    files = {folder.name: natural(_files(folder)) for folder in folders}
    paths = [file for group in files.values() for file in group]
    images, kept = read_images(paths, image_size, channels)
    names = list(files)
    labels = np.array([names.index(file.parent.name) for file in kept], "int32")
    for label, name in enumerate(names):
        if label not in labels:
            raise ValueError(
                f"load: class sub-folder {str(path / name)!r} holds no image. Put images into it "
                "or remove it; if the classes lie one level deeper, give the folder above them."
            )
    return images, labels, names


def read_images(paths, size=None, channels=None):
    """Pixels [n, h, w, c] of the images among `paths`, uint8, and the paths that are images.

    Files that are not images are named in a warning. `size` and `channels` None: those of the
    first image.
    """
    images, kept, broken = [], [], []
    for path in paths:
        try:
            image = _read(path, size, channels)
        except FileNotFoundError:
            raise
        except _unreadable():
            broken.append(str(path))
            continue
        size, channels = image.shape[:2], image.shape[2]
        images.append(image)
        kept.append(path)
    if broken:
        more = f" and {len(broken) - 20} more" if len(broken) > 20 else ""
        warnings.warn(
            f"left out {len(broken)} of {len(paths)} files that are not readable images: "
            f"{', '.join(broken[:20])}{more}",
            stacklevel=2,
        )
    return (np.stack(images) if images else np.zeros((0, 1, 1, 1), "uint8")), kept


def natural(paths):
    """`paths` sorted by name, with numbers in the order of their values."""

    def key(path):
        parts = re.split("([0-9]+)", path.name.lower())
        return [int(part) if i % 2 else part for i, part in enumerate(parts)], path.name

    return sorted(paths, key=key)


def random_crops(images, rng, pad, flip=False):
    """Each image padded with zeros by `pad` and cropped to its size at a place of its own.

    `flip=True` also mirrors half of them. Shapes: [n, h, w, c] -> [n, h, w, c].
    """
    n, height, width, _ = images.shape
    padded = np.pad(images, ((0, 0), (pad, pad), (pad, pad), (0, 0)))
    top, left = rng.integers(0, 2 * pad + 1, (2, n, 1))
    rows, columns = top + np.arange(height), left + np.arange(width)  # [n, h], [n, w]
    if flip:
        columns = np.where(rng.random((n, 1)) < 0.5, columns[:, ::-1], columns)
    return padded[np.arange(n)[:, None, None], rows[:, :, None], columns[:, None, :]]


class Augmented(keras.utils.PyDataset):
    """Shuffled batches of randomly cropped images; the same ones for the same seed."""

    def __init__(self, images, labels, batch_size, seed, pad, flip):
        super().__init__()
        self.images, self.labels, self.batch_size = images, labels, batch_size
        self.seed, self.pad, self.flip = seed, pad, flip
        self.epoch = -1
        self.on_epoch_end()

    def __len__(self):
        return -(-len(self.images) // self.batch_size)

    def __getitem__(self, index):
        batch = self.order[index * self.batch_size : (index + 1) * self.batch_size]
        rng = np.random.default_rng((self.seed, self.epoch, index))
        return random_crops(self.images[batch], rng, self.pad, self.flip), self.labels[batch]

    def on_epoch_end(self):
        self.epoch += 1
        rng = np.random.default_rng((self.seed, self.epoch))
        self.order = rng.permutation(len(self.images))


def _digits():
    digits = extra("sklearn.datasets").load_digits()
    images = digits.images[..., None].astype("float32") * (255 / 16)  # scanned in 17 levels
    return images, digits.target.astype("int32"), [str(name) for name in digits.target_names]


def _files(folder):
    return (p for p in folder.iterdir() if p.is_file() and not p.name.startswith("."))


def _read(path, size, channels):
    """One image as uint8 [height, width, channels]."""
    image_module, image_ops = extra("PIL.Image"), extra("PIL.ImageOps")
    with image_module.open(path) as image:
        image = image_ops.exif_transpose(image)
        if image.mode.startswith("I;16"):  # convert("L") would clip the 16 bits instead of scaling
            image = image_module.fromarray((np.asarray(image) >> 8).astype("uint8"))
        grey = channels == 1 if channels else image.mode in ("1", "L", "LA", "I", "F")
        image = image.convert("L" if grey else "RGB")
        if size is not None and image.size != (size[1], size[0]):
            image = image.resize((size[1], size[0]), image_module.Resampling.BILINEAR)
        pixels = np.asarray(image)
    return pixels[..., None] if grey else pixels


def _unreadable():
    """What Pillow raises for files that are damaged, too large, or no images."""
    return OSError, SyntaxError, ValueError, extra("PIL.Image").DecompressionBombError
