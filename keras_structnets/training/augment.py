"""Augmentation: registered operations, applied in the order of the recipe, and batches of the results."""

import dataclasses
import functools
import zlib
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from keras_structnets.training._io import require

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
        size: (height, width) of the model's input; (steps,) of series, (depth, height, width) of volumes.
    """

    rng: np.random.Generator
    epoch: int
    indices: np.ndarray
    size: tuple[int, ...]


def register(name: str) -> Callable[[Any], Any]:
    """Register an operation: a class that takes a recipe, and is called on images and a `Draw`.

    Its attribute `ranks`, (2,) if it has none, are the numbers of spatial axes that it takes.
    """
    if name in OPERATIONS:
        raise ValueError(f"register: the operation {name!r} exists. Choose another name.")

    def add(operation):
        OPERATIONS[name] = operation
        return operation

    return add


@register("crop")
class Crop:
    """Pads each image with `pad` zeros and crops it at a random place.

    Keras' `RandomCrop` takes one place for the whole batch (keras issue 16399).
    """

    ranks = (1, 2, 3)

    def __init__(self, recipe):
        self.pad = (recipe.pad, recipe.pad)

    def __call__(self, images, draw):
        """[n, *spatial, c] -> [n, *draw.size, c]."""
        border = [self.pad] * len(draw.size)
        return random_crops(np.pad(images, ((0, 0), *border, (0, 0))), draw)


def random_crops(images, draw):
    """A part of each image at a random place: [n, *spatial, c] -> [n, *draw.size, c]."""
    axes = list(zip(images.shape[1:-1], draw.size, strict=True))
    starts = np.stack([draw.rng.integers(0, n - size + 1, len(images)) for n, size in axes], axis=1)
    places = [
        tuple(slice(i, i + size) for i, size in zip(start, draw.size, strict=True))
        for start in starts
    ]
    return np.stack([image[place] for image, place in zip(images, places, strict=True)])


@register("resized_crop")
class ResizedCrop:
    """Resizes a random part of each image to the whole (bilinear, by Pillow), and crops that.

    The part has the image's proportions, and a share of its area that is uniform in [`crop_area`, 1].
    """

    def __init__(self, recipe):
        self.area, self.pillow = recipe.crop_area, require("PIL.Image")

    def __call__(self, images, draw):
        """[n, h, w, c] -> [n, *draw.size, c]."""
        n, size = len(images), np.array(images.shape[2:0:-1])
        sides = np.sqrt(draw.rng.uniform(self.area, 1, (n, 1))) * size
        starts = draw.rng.random((n, 2)) * (size - sides)
        planes = images.transpose(0, 3, 1, 2).astype("float32")
        for image, box in zip(planes, np.hstack([starts, starts + sides]).tolist(), strict=True):
            for plane in image:
                part = self.pillow.fromarray(plane)
                plane[:] = part.resize(part.size, self.pillow.Resampling.BILINEAR, box)
        return random_crops(_like(planes.transpose(0, 2, 3, 1), images), draw)


@register("flip")
class Flip:
    """Mirrors half of the images along the last axis: at random, or each in every second epoch."""

    ranks = (1, 2, 3)

    def __init__(self, recipe):
        self.alternate, self.seed = recipe.flip == "alternate", recipe.seed

    def __call__(self, images, draw):
        """[n, *spatial, c] -> [n, *spatial, c]."""
        if self.alternate:
            first = np.random.default_rng(self.seed).random(draw.indices.max() + 1) < 0.5
            mirrored = first[draw.indices] ^ bool(draw.epoch % 2)
        else:
            mirrored = draw.rng.random(len(images)) < 0.5
        mirrored = mirrored.reshape(-1, *[1] * (images.ndim - 1))
        return np.where(mirrored, np.flip(images, axis=-2), images)


@register("rand_augment")
class RandAugment:
    """Changes each image by two operations of RandAugment (Cubuk et al. 2019), by Pillow.

    `keras.layers.RandAugment` takes 2 s for 100 images of 32 x 32 on PyTorch, and draws two operations
    for the whole batch.
    """

    def __init__(self, recipe):
        self.pillow, self.operations = (
            require("PIL.Image"),
            list(rand_augment_operations().values()),
        )

    def __call__(self, images, draw):
        """[n, h, w, c] -> [n, h, w, c]; one channel or three."""
        chosen = draw.rng.integers(len(self.operations), size=(len(images), 2))
        strengths = draw.rng.uniform(-1, 1, chosen.shape)
        changed = np.rint(images).clip(0, 255).astype("uint8")
        for image, which, strength in zip(changed, chosen, strengths, strict=True):
            picture = self.pillow.fromarray(image[..., 0] if image.shape[-1] == 1 else image)
            for i, s in zip(which, strength, strict=True):
                picture = self.operations[i](picture, s)
            image[:] = np.asarray(picture).reshape(image.shape)
        return changed.astype(images.dtype)


def rand_augment_operations():
    """The operations of RandAugment by name: functions of a picture and a strength in -1..1."""
    pillow, ops, enhance = map(require, ("PIL.Image", "PIL.ImageOps", "PIL.ImageEnhance"))

    def enhanced(kind):
        return lambda picture, s: kind(picture).enhance(1 + 0.9 * s)

    def moved(matrix):
        """Each pixel (x, y) from `matrix(s) @ (x, y, 1)`, grey where that is outside."""
        how = {"resample": pillow.Resampling.BILINEAR, "fillcolor": "gray"}
        affine = pillow.Transform.AFFINE
        return lambda picture, s: picture.transform(
            picture.size, affine, matrix(s, *picture.size), **how
        )

    return {
        "auto_contrast": lambda picture, s: ops.autocontrast(picture),
        "equalize": lambda picture, s: ops.equalize(picture),
        "posterize": lambda picture, s: ops.posterize(picture, 8 - round(4 * abs(s))),
        "solarize": lambda picture, s: ops.solarize(picture, round(256 * (1 - abs(s)))),
        "color": enhanced(enhance.Color),
        "contrast": enhanced(enhance.Contrast),
        "brightness": enhanced(enhance.Brightness),
        "sharpness": enhanced(enhance.Sharpness),
        "rotate": lambda picture, s: picture.rotate(
            30 * s, pillow.Resampling.BILINEAR, fillcolor="gray"
        ),
        "shear_x": moved(lambda s, width, height: (1, 0.3 * s, -0.15 * s * height, 0, 1, 0)),
        "shear_y": moved(lambda s, width, height: (1, 0, 0, 0.3 * s, 1, -0.15 * s * width)),
        "translate_x": moved(lambda s, width, height: (1, 0, 0.3 * s * width, 0, 1, 0)),
        "translate_y": moved(lambda s, width, height: (1, 0, 0, 0, 1, 0.3 * s * height)),
    }


class Batches(keras.utils.PyDataset):
    """Shuffled batches (images [b, h, w, c], one-hot labels [b, classes]), augmented by the recipe.

    Order and augmentation depend on the seed, the epoch and the index of the batch alone. Call
    `start(epoch)` before each epoch.

    Args:
        images: pixels 0..255, [n, height, width, channels], or series or volumes.
        labels: class numbers, [n].
        n_classes: how many classes there are.
        recipe: a `Recipe`.
        size: spatial sizes of the model's input; None for those of the recipe's crops.
    """

    def __init__(self, images, labels, n_classes, recipe, size=None):
        super().__init__()
        self.images, self.labels, self.recipe = images, one_hot(labels, n_classes), recipe
        self.size = tuple(size or recipe.crop_size or images.shape[1:-1])
        _check_rank(images, recipe)
        self.operations = [OPERATIONS[name](recipe) for name in recipe.augmentation]
        if recipe.mix != "none":
            self.mix = MIX_LAYERS[recipe.mix]()
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
        images = center_crop(images, self.size)
        if self.recipe.mix != "none":
            images, labels = self._mixed(images, labels, draw.rng)
        return images, labels

    def _mixed(self, images, labels, rng):
        """Images and labels mixed by Keras' layer, which draws from `rng` and not from its own state."""
        pixels = keras.ops.convert_to_tensor(images, "float32")
        seed = keras.random.SeedGenerator(int(rng.integers(2**31)))
        drawn = self.mix.get_random_transformation(pixels, seed=seed)
        pixels = self.mix.transform_images(pixels, drawn)
        labels = self.mix.transform_labels(keras.ops.convert_to_tensor(labels), drawn)
        pixels, labels = map(keras.ops.convert_to_numpy, (pixels, labels))
        return _like(pixels, images), labels

    def _rng(self, *index):
        return np.random.default_rng((self.recipe.seed, self.epoch, *index))


def one_hot(labels, n_classes):
    """Class numbers [n] -> float32 [n, classes]."""
    return np.eye(n_classes, dtype="float32")[labels]


def center_crop(images, size):
    """The middle of each image, series or volume: [n, *spatial, c] -> [n, *size, c]."""
    starts = ((n - s) // 2 for n, s in zip(images.shape[1:-1], size, strict=True))
    return images[(slice(None), *(slice(i, i + s) for i, s in zip(starts, size, strict=True)))]


def _check_rank(images, recipe):
    """Refuse what does not work on series or volumes."""
    rank = images.ndim - 2
    given = [("augmentation", name, OPERATIONS[name]) for name in recipe.augmentation]
    given += [] if recipe.mix == "none" else [("mix", recipe.mix, None)]
    for key, name, operation in given:
        if rank not in getattr(operation, "ranks", (2,)):
            raise ValueError(
                f"train: `{key}` {name!r} works on images [n, height, width, channels], but the data is "
                f"{list(images.shape)}. Leave it out."
            )


def _like(pixels, images):
    """`pixels` rounded and clipped to the type of `images`."""
    return (np.rint(pixels).clip(0, 255) if images.dtype.kind in "ui" else pixels).astype(
        images.dtype
    )
