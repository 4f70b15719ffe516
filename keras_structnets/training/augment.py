"""Batches of randomly changed images, the same ones for the same seed and epoch."""

from collections.abc import Sequence

import keras
import numpy as np

from keras_structnets.training.extra import extra

AUGMENTATIONS = ("none", "crop", "crop_flip", "resized_crop_flip", "rand_augment")
MIX_LAYERS = {"mixup": keras.layers.MixUp, "cutmix": keras.layers.CutMix}
MIXES = ("none", *MIX_LAYERS)
RAND_AUGMENT = (  # the layers in keras.layers.RandAugment, by their names there
    "random_shear",
    "random_translation",
    "random_rotation",
    "random_brightness",
    "random_color_degeneration",
    "random_contrast",
    "random_sharpness",
    "random_posterization",
    "solarization",
    "auto_contrast",
    "equalization",
)


class Batches(keras.utils.PyDataset):
    """Shuffled batches (images [b, h, w, c], one-hot labels [b, classes]), augmented by the recipe.

    Order and augmentation depend on the seed, the epoch and the index of the batch alone. `start(epoch)`
    comes before each epoch.

    Args:
        images: pixels 0..255, [n, height, width, channels].
        labels: class numbers, [n].
        n_classes: how many classes there are.
        recipe: a `Recipe`; what it says of `batch_size`, `augmentation`, `pad`, `crop_size`,
            `crop_area`, `mix` and `seed` has a part.
    """

    def __init__(self, images, labels, n_classes, recipe):
        super().__init__()
        self.images, self.labels, self.recipe = images, one_hot(labels, n_classes), recipe
        if recipe.augmentation == "rand_augment":
            self.rand_augment = keras.layers.RandAugment((0, 255), seed=0)
        if recipe.mix != "none":
            self.mix = MIX_LAYERS[recipe.mix](seed=0)
        self.start(0)

    def start(self, epoch):
        """Shuffle anew for the epoch."""
        self.epoch = epoch
        self.order = self._rng().permutation(len(self.images))

    def __len__(self):
        return -(-len(self.images) // self.recipe.batch_size)

    def __getitem__(self, index):
        size = self.recipe.batch_size
        batch = self.order[index * size : (index + 1) * size]
        rng = self._rng(index)
        images, labels = self._augmented(self.images[batch], rng), self.labels[batch]
        if self.recipe.mix != "none":
            images, labels = mixed(self.mix, images, labels, rng)
        return images, labels

    def _augmented(self, images, rng):
        recipe = self.recipe
        size = recipe.crop_size or images.shape[1:3]
        if recipe.augmentation == "none":
            return centre_crop(images, size)
        if recipe.augmentation == "resized_crop_flip":
            images = random_resized_crops(images, rng, recipe.crop_area)
            return random_crops(images, rng, 0, size, flip=True)
        flip = recipe.augmentation != "crop"
        images = random_crops(images, rng, recipe.pad, size, flip)
        if recipe.augmentation == "rand_augment":
            images = rand_augmented(self.rand_augment, images, rng)
        return images

    def _rng(self, *index):
        return np.random.default_rng((self.recipe.seed, self.epoch, *index))


def drawn(layer, images, rng):
    """What a preprocessing layer of Keras would do to the images: by `rng`, not by its own state."""
    seed = keras.random.SeedGenerator(int(rng.integers(2**31)))
    return layer.get_random_transformation(images, seed=seed)


def mixed(layer, images, labels, rng):
    """A batch and its one-hot labels, mixed by `keras.layers.MixUp` or `CutMix`."""
    images, labels = (keras.ops.convert_to_tensor(x, "float32") for x in (images, labels))
    mix = drawn(layer, images, rng)
    images, labels = layer.transform_images(images, mix), layer.transform_labels(labels, mix)
    return keras.ops.convert_to_numpy(images), keras.ops.convert_to_numpy(labels)


def rand_augmented(layer, images, rng):
    """What `keras.layers.RandAugment` makes of a batch.

    It would do all eleven operations twice and keep the two that it draws; here only those are done.
    """
    for name in rng.choice(RAND_AUGMENT, layer.num_ops):
        if name == "equalization":
            images = equalized(images)
        else:
            operation = getattr(layer, name)
            images = keras.ops.convert_to_tensor(images, "float32")
            images = operation.transform_images(images, drawn(operation, images, rng))
            images = keras.ops.convert_to_numpy(images)
    return images.clip(0, 255)  # interpolation rounds


def equalized(images):
    """Pixels 0..255 so that each channel of each image has each value about as often.

    `keras.layers.Equalization` takes one histogram for the whole batch, and on JAX a loop for it.

    Shapes: [n, h, w, c] -> [n, h, w, c], float32.
    """
    n, height, width, channels = images.shape
    size = height * width
    pixels = np.moveaxis(images, -1, 1).reshape(n * channels, size)
    values = pixels.clip(0, 255).astype("uint8")
    rows = np.arange(len(values))[:, None]
    counts = np.bincount((256 * rows + values).ravel(), minlength=256 * len(values))
    counts = counts.reshape(-1, 256)
    lowest = counts[rows, values.min(1, keepdims=True)]  # pixels of the lowest value
    table = np.round((counts.cumsum(1) - lowest) * 255 / np.maximum(size - lowest, 1))
    pixels = np.where(lowest == size, pixels, table[rows, values])
    pixels = pixels.reshape(n, channels, height, width).astype("float32")
    return np.moveaxis(pixels, 1, -1)


def random_crops(
    images: np.ndarray,
    rng: np.random.Generator,
    pad: int = 0,
    size: Sequence[int] | None = None,
    flip: bool = False,
) -> np.ndarray:
    """Each image padded with zeros by `pad` and cropped to `size` at a place of its own.

    Keras' `RandomCrop` takes one place for the whole batch (keras issue 16399).

    Shapes: [n, h, w, c] -> [n, *size, c].

    Args:
        images: NumPy array.
        rng: a `numpy.random.Generator`.
        pad: pixels added on each side.
        size: (height, width) of the crops; None for that of the images.
        flip: whether half of the images, at random, are mirrored too.

    Example:
        >>> images = np.arange(8.0).reshape(2, 1, 4, 1)  # two rows of pixels
        >>> crops = ksn.training.random_crops(images, np.random.default_rng(1), size=(1, 3))
        >>> crops[..., 0].tolist()
        [[[0.0, 1.0, 2.0]], [[5.0, 6.0, 7.0]]]
    """
    n, height, width, _ = images.shape
    rows, columns = size or (height, width)
    padded = np.pad(images, ((0, 0), (pad, pad), (pad, pad), (0, 0)))
    top = rng.integers(0, height + 2 * pad - rows + 1, (n, 1))
    left = rng.integers(0, width + 2 * pad - columns + 1, (n, 1))
    rows, columns = top + np.arange(rows), left + np.arange(columns)  # [n, h], [n, w]
    if flip:
        columns = np.where(rng.random((n, 1)) < 0.5, columns[:, ::-1], columns)
    return padded[np.arange(n)[:, None, None], rows[:, :, None], columns[:, None, :]]


def random_resized_crops(images: np.ndarray, rng: np.random.Generator, area: float) -> np.ndarray:
    """A part of each image, at a place of its own, resized to the whole (bilinear, by Pillow).

    The part has the image's proportions, and a share of its area that is uniform in [`area`, 1].

    Shapes: [n, h, w, c] -> [n, h, w, c], of the same type.

    Args:
        images: NumPy array.
        rng: a `numpy.random.Generator`.
        area: smallest share of the area, above 0 and at most 1.

    Raises:
        ImportError: if the extra `train` is not installed.

    Example:
        >>> images = np.zeros((2, 32, 32, 3), "uint8")
        >>> images[:, :, 16:] = 255  # dark on the left, bright on the right
        >>> parts = ksn.training.random_resized_crops(images, np.random.default_rng(0), area=0.9)
        >>> parts.shape, parts[:, :, 0].max().item(), parts[:, :, -1].min().item()
        ((2, 32, 32, 3), 0, 255)
    """
    n, height, width, _ = images.shape
    share = np.sqrt(rng.uniform(area, 1, n))  # of each side
    left, top = rng.random((2, n)) * (1 - share) * [[width], [height]]
    boxes = np.stack([left, top, left + share * width, top + share * height], -1)
    return np.stack([_resized(*pair) for pair in zip(images, boxes, strict=True)])


def _resized(image, box):
    """The part of `image` [h, w, c] in `box` (left, top, right, bottom), resized to the whole."""
    pillow = extra("PIL.Image")
    size, kind = image.shape[1::-1], pillow.Resampling.BILINEAR
    if image.dtype == "uint8" and image.shape[-1] == 3:
        return np.asarray(pillow.fromarray(image).resize(size, kind, tuple(box)))
    planes = [np.ascontiguousarray(plane) for plane in np.moveaxis(image, -1, 0)]
    parts = [pillow.fromarray(plane).resize(size, kind, tuple(box)) for plane in planes]
    return np.stack([np.asarray(part) for part in parts], -1)


def centre_crop(images, size):
    """The middle of each image: [n, h, w, c] -> [n, *size, c]."""
    top, left = ((n - s) // 2 for n, s in zip(images.shape[1:3], size, strict=True))
    return images[:, top : top + size[0], left : left + size[1]]


def one_hot(labels, n_classes):
    """Class numbers [n] -> float32 [n, classes]."""
    return np.eye(n_classes, dtype="float32")[labels]
