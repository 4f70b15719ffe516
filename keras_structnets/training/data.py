"""Training and held-out images as NumPy arrays of raw pixels 0..255."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from keras_structnets.signatures import Path
from keras_structnets.training import sources
from keras_structnets.training.augment import centre_crop


@dataclasses.dataclass(frozen=True)
class Images:
    """Training and held-out images.

    Attributes:
        x_train: pixels 0..255, [n, height, width, channels].
        y_train: the class of each image, [n], from 0.
        x_val: pixels of the held-out images.
        y_val: their classes.
        class_names: a name for each class.

    Example:
        >>> x, y = np.zeros((6, 8, 8, 3), "uint8"), np.array([0, 1, 0, 1, 0, 1])
        >>> print(ksn.training.Images(x[:4], y[:4], x[4:], y[4:], ["cat", "dog"]))
        4 training and 2 held-out images of 2 classes, 8 x 8 x 3
    """

    x_train: np.ndarray
    y_train: np.ndarray
    x_val: np.ndarray
    y_val: np.ndarray
    class_names: list[str]

    def __str__(self) -> str:
        shape = " x ".join(map(str, self.x_train.shape[1:]))
        return (
            f"{len(self.x_train)} training and {len(self.x_val)} held-out images "
            f"of {len(self.class_names)} classes, {shape}"
        )


def load(
    source: Path,
    *,
    image_size: Sequence[int] | None = None,
    validation_fraction: float = 0.2,
    holdout_last_per_class: int = 0,
    seed: int = 0,
) -> Images:
    """The images of `source`, split into training and held-out ones.

    Args:
        source: one of

            - "digits", scikit-learn's 1797 scans of handwritten digits (8x8, one channel, a fifth of
              each class held out);
            - "cifar10", "cifar100", "svhn", "stl10" or "tiny_imagenet", which are downloaded once; their
              test images are held out, of Tiny ImageNet, whose test images have no labels, those of
              its validation;
            - the path of a folder with one sub-folder of images per class, or of a .tar (.tar.gz,
              .tar.bz2, .tar.xz) or .zip of such a folder, which is read without unpacking it. The
              classes are numbered in natural order of their names: 2 comes before 10;
            - the path of a .npz with `x_train` and `y_train`, perhaps `x_val` and `y_val` or `x_test`
              and `y_test`, which are then held out, and perhaps `class_names`.
        image_size: (height, width) that images are resized to; None for the size of the first one.
        validation_fraction: share of each class that is held out where the source holds out none.
        holdout_last_per_class: hold out the last so many training images of each class, in natural
            order of their file names or in the order of the array, instead.
        seed: of the split. The same seed gives the same split.

    Returns:
        `Images`. Files that are not images are named in a warning and left out.

    Raises:
        ValueError: for a path that is none of these, a damaged archive, no images in class
            sub-folders, or a class that is too small to be split.
        ImportError: if the extra `train` is not installed.

    Example:
        >>> ksn.training.load("digits").x_train.shape
        (1438, 8, 8, 1)
        >>> x, y = np.zeros((6, 8, 8, 3), "uint8"), np.array([0, 1, 0, 1, 0, 1])
        >>> np.savez("mine.npz", x_train=x, y_train=y, class_names=["cat", "dog"])
        >>> data = ksn.training.load("mine.npz", validation_fraction=0.3)
        >>> print(data)
        4 training and 2 held-out images of 2 classes, 8 x 8 x 3
    """
    images, labels, names, held = sources.read(source, image_size)
    if str(source) == "digits":
        holdout_last_per_class, validation_fraction = 0, 0.2
    if held is not None:
        if not holdout_last_per_class:
            return Images(images[~held], labels[~held], images[held], labels[held], names)
        images, labels = images[~held], labels[~held]
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


def images_of(recipe):
    """The `Images` that a recipe trains on and is measured on; held-out ones are cropped as it says."""
    data = load(
        recipe.dataset,
        image_size=recipe.image_size,
        validation_fraction=recipe.validation_fraction,
        holdout_last_per_class=recipe.holdout_last_per_class,
    )
    size = recipe.crop_size or data.x_val.shape[1:3]
    return dataclasses.replace(data, x_val=centre_crop(data.x_val, size))
