"""Augmentation: registered operations, applied in the order of the recipe, and batches of the results."""

import dataclasses
import functools
import zlib
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from keras_structnets.training import transforms

OPERATIONS: dict[str, Any] = {}  # by name; `register` fills it
FLIPS = ("random", "alternate")
MIX_LAYERS = {"mixup": keras.layers.MixUp, "cutmix": keras.layers.CutMix}
MIXES = ("none", *MIX_LAYERS)


@dataclasses.dataclass(frozen=True, eq=False)
class Draw:
    """What an operation may use beside the images.

    Attributes:
        rng: the batch's own `numpy.random.Generator`.
        epoch: the number of the epoch, from 0.
        indices: the index of each image in the training set, [n].
        size: (height, width) of the model's input.
    """

    rng: np.random.Generator
    epoch: int
    indices: np.ndarray
    size: tuple[int, ...]


def register(name: str) -> Callable[[Any], Any]:
    """Register an operation: a class that takes a recipe, and is called on images and a `Draw`.

    Example:
        >>> from keras_structnets.training.augment import OPERATIONS, register
        >>> @register("darken")
        ... class Darken:
        ...     def __init__(self, recipe):
        ...         pass
        ...
        ...     def __call__(self, images, draw):
        ...         return images // 2
        >>> ksn.training.Recipe("simnet_2layer", augmentation=["darken", "flip"]).augmentation
        ('darken', 'flip')
        >>> OPERATIONS.pop("darken").__name__
        'Darken'
    """
    if name in OPERATIONS:
        raise ValueError(f"register: the operation {name!r} exists. Choose another name.")

    def add(operation):
        OPERATIONS[name] = operation
        return operation

    return add


@register("crop")
class Crop:
    """Pads each image with `pad` zeros and crops it at a random place."""

    def __init__(self, recipe):
        self.pad = recipe.pad

    def __call__(self, images, draw):
        """[n, h, w, c] -> [n, *draw.size, c]."""
        return transforms.random_crops(images, draw.rng, self.pad, draw.size)


@register("resized_crop")
class ResizedCrop:
    """Resizes a random part of each image to the whole, and crops it at a random place."""

    def __init__(self, recipe):
        self.area = recipe.crop_area

    def __call__(self, images, draw):
        """[n, h, w, c] -> [n, *draw.size, c]."""
        images = transforms.random_resized_crops(images, draw.rng, self.area)
        return transforms.random_crops(images, draw.rng, 0, draw.size)


@register("flip")
class Flip:
    """Mirrors half of the images: at random, or each image in every second epoch."""

    def __init__(self, recipe):
        self.alternate, self.seed = recipe.flip == "alternate", recipe.seed

    def __call__(self, images, draw):
        """[n, h, w, c] -> [n, h, w, c]."""
        if self.alternate:
            first = np.random.default_rng(self.seed).random(draw.indices.max() + 1) < 0.5
            mirrored = first[draw.indices] ^ bool(draw.epoch % 2)
        else:
            mirrored = draw.rng.random(len(images)) < 0.5
        return np.where(mirrored[:, None, None, None], images[:, :, ::-1], images)


@register("rand_augment")
class RandAugment:
    """Applies two operations of RandAugment (Cubuk et al. 2019), drawn for each batch."""

    def __init__(self, recipe):
        self.operations = transforms.rand_augment_operations()

    def __call__(self, images, draw):
        """[n, h, w, c] -> [n, h, w, c]."""
        for name in draw.rng.choice(list(self.operations), 2):
            images = self.operations[name](images, draw.rng)
        return images


class Batches(keras.utils.PyDataset):
    """Shuffled batches (images [b, h, w, c], one-hot labels [b, classes]), augmented by the recipe.

    Order and augmentation depend on the seed, the epoch and the index of the batch alone. Call
    `start(epoch)` before each epoch.

    Args:
        images: pixels 0..255, [n, height, width, channels].
        labels: class numbers, [n].
        n_classes: how many classes there are.
        recipe: a `Recipe`.
        size: (height, width) of the model's input; None for that of the recipe's crops.
    """

    def __init__(self, images, labels, n_classes, recipe, size=None):
        super().__init__()
        self.images, self.labels, self.recipe = images, one_hot(labels, n_classes), recipe
        self.size = tuple(size or recipe.crop_size or images.shape[1:3])
        self.operations = [OPERATIONS[name](recipe) for name in recipe.augmentation]
        if recipe.mix != "none":
            self.mix = transforms.ByKeras(MIX_LAYERS[recipe.mix](seed=0))
        self.start(0)

    @functools.cached_property
    def fingerprint(self):
        """A checksum of all images and labels, without augmentation."""
        return zlib.crc32(self.labels, zlib.crc32(np.ascontiguousarray(self.images)))

    def start(self, epoch):
        """Shuffle for the epoch."""
        self.epoch = epoch
        self.order = self._rng().permutation(len(self.images))

    def __len__(self):
        return -(-len(self.images) // self.recipe.batch_size)

    def __getitem__(self, index):
        size = self.recipe.batch_size
        indices = self.order[index * size : (index + 1) * size]
        draw = Draw(self._rng(index), self.epoch, indices, self.size)
        images, labels = self.images[indices], self.labels[indices]
        for operation in self.operations:
            images = operation(images, draw)
        images = transforms.center_crop(images, self.size)
        if self.recipe.mix != "none":
            images, labels = self.mix(images, draw.rng, labels)
        return images, labels

    def _rng(self, *index):
        return np.random.default_rng((self.recipe.seed, self.epoch, *index))


def one_hot(labels, n_classes):
    """Class numbers [n] -> float32 [n, classes]."""
    return np.eye(n_classes, dtype="float32")[labels]
