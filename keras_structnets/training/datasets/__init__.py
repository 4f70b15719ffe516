"""Training and validation images as NumPy arrays of raw pixels 0..255."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from keras_structnets import checks
from keras_structnets.signatures import Path
from keras_structnets.training.augment import center_crop
from keras_structnets.training.datasets import builtin, downloads
from keras_structnets.training.datasets.folders import MAX_BYTES, read
from keras_structnets.training.datasets.registry import DATASETS, Source, register

__all__ = ["DATASETS", "Images", "Source", "images_of", "load", "read", "register"]
__all__ += ["builtin", "downloads"]  # their imports register data sets


@dataclasses.dataclass(frozen=True)
class Images:
    """Training and validation images.

    Attributes:
        x_train: pixels 0..255, [n, height, width, channels].
        y_train: the class of each image, [n], from 0.
        x_val: pixels of the validation images.
        y_val: their classes.
        class_names: a name for each class.

    Example:
        >>> x, y = np.zeros((6, 8, 8, 3), "uint8"), np.array([0, 1, 0, 1, 0, 1])
        >>> print(ksn.training.Images(x[:4], y[:4], x[4:], y[4:], ["cat", "dog"]))
        4 training and 2 validation images of 2 classes, 8 x 8 x 3
    """

    x_train: np.ndarray
    y_train: np.ndarray
    x_val: np.ndarray
    y_val: np.ndarray
    class_names: list[str]

    def __str__(self) -> str:
        shape = " x ".join(map(str, self.x_train.shape[1:]))
        return (
            f"{len(self.x_train)} training and {len(self.x_val)} validation images "
            f"of {len(self.class_names)} classes, {shape}"
        )


def load(
    source: Path,
    *,
    image_size: Sequence[int] | None = None,
    channels: int | None = None,
    validation_fraction: float = 0.2,
    holdout_last_per_class: int = 0,
    max_bytes: int = MAX_BYTES,
    seed: int = 0,
) -> Images:
    """The images of `source`, split into training and validation images.

    Args:
        source: one of

            - "digits", scikit-learn's 1797 scans of handwritten digits (8x8, one channel, a fifth of
              each class for validation);
            - "cifar10", "cifar100", "svhn", "stl10" or "tiny_imagenet", which are downloaded once.
              Their test images are used for validation; for Tiny ImageNet, its validation images;
            - the path of a folder with one sub-folder of images per class, or of a .tar (.tar.gz,
              .tar.bz2, .tar.xz) or .zip of such a folder, which is read without unpacking it. The
              classes are numbered in natural order of their names: 2 comes before 10. A folder may hold
              .npy files of one shape instead: series [steps, channels], images or volumes;
            - the path of a .npz with `x_train` and `y_train`, perhaps `x_val` and `y_val` or `x_test`
              and `y_test`, which are then used for validation, and perhaps `class_names`: images
              [n, height, width, channels], or grey as integers [n, height, width]; volumes [n, depth, height,
              width, channels]; series as floats [n, steps, channels];
            - the path of a .tsv of the UCR archive, a series in each line with its class first.
        image_size: (height, width) that images are resized to; None for the size of the first one.
        channels: 1 for grey and 3 for colour images of a folder or archive; None for colour if any image
            has it.
        validation_fraction: share of each class for validation, if the source has no validation images.
        holdout_last_per_class: use the last so many training images of each class for validation
            instead, in natural order of their file names or in the order of the array.
        max_bytes: limit for the files of an archive together, when unpacked.
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
        4 training and 2 validation images of 2 classes, 8 x 8 x 3
    """
    if image_size is not None:
        image_size = checks.integers("load", "image_size", image_size, 2)
    if channels is not None:
        checks.one_of("load", "channels", channels, (1, 3))
    n_last = checks.integer("load", "holdout_last_per_class", holdout_last_per_class, 0)
    if not 0 < checks.positive("load", "validation_fraction", validation_fraction) < 1:
        raise ValueError(
            f"load: `validation_fraction` must be below 1, got {validation_fraction!r}. Use for example 0.2."
        )
    found = read(source, image_size, channels, max_bytes)
    if str(source) == "digits":
        n_last, validation_fraction = 0, 0.2
    if found.x_val is not None and not n_last:
        return Images(found.x, found.y, found.x_val, found.y_val, found.class_names)
    held = _validation(found, validation_fraction, n_last, seed)
    return Images(found.x[~held], found.y[~held], found.x[held], found.y[held], found.class_names)


def _validation(source, fraction, n_last, seed):
    """Which images are for validation, [n] of bool."""
    held = np.zeros(len(source.y), bool)
    rng = np.random.default_rng(seed)
    for label, name in enumerate(source.class_names):
        members = np.flatnonzero(source.y == label)
        if not n_last:
            members = rng.permutation(members)
        n_held = n_last or max(1, round(fraction * len(members)))
        if n_held >= len(members):
            raise ValueError(
                f"load: class {name!r} has {len(members)} images, too few to use {n_held} for "
                "validation and train on the rest. Add images, or use fewer."
            )
        held[members[-n_held:]] = True
    return held


def images_of(recipe):
    """The `Images` of a recipe; those for validation are cropped as it says."""
    data = load(
        recipe.dataset,
        image_size=recipe.image_size,
        channels=recipe.channels,
        validation_fraction=recipe.validation_fraction,
        holdout_last_per_class=recipe.holdout_last_per_class,
    )
    spatial = data.x_val.shape[1:-1]
    for name in ("crop_size", "small_crop_size"):
        crop = getattr(recipe, name) or spatial
        if len(crop) != len(spatial) or any(c > n for c, n in zip(crop, spatial, strict=True)):
            raise ValueError(
                f"train: `{name}` is {list(crop)}, but the data has {list(spatial)}. Give as many numbers, "
                "none of them larger."
            )
    size = recipe.crop_size or spatial
    return dataclasses.replace(data, x_val=center_crop(data.x_val, size))
