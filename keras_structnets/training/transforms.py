"""Random transforms of images [n, h, w, c]; each draws from a NumPy generator that it is given."""

import keras
import numpy as np

from keras_structnets.ops import kernels
from keras_structnets.training._io import require

FACTOR = 0.5  # its strength, of 1


class ByKeras:
    """A preprocessing layer of Keras that draws from a NumPy generator, not from its own state.

    Args:
        layer: one of `keras.layers` that draws for the images, [n, h, w, c] with pixels 0..255.
    """

    def __init__(self, layer):
        self.layer, self.seeds = layer, keras.random.SeedGenerator(0)
        self.change = kernels.select("compiled")(self._change)
        self.transform = kernels.select("compiled")(self._transform, by_xla=True)

    def __call__(self, images, rng, labels=None):
        """The changed images, of the same type, or these and the changed one-hot labels."""
        state = np.array([rng.integers(2**31), 0], "uint32")
        given = (state, images) if labels is None else (state, images, labels)
        changed = self.change(*map(keras.ops.convert_to_tensor, given))
        images, *rest = map(keras.ops.convert_to_numpy, changed)
        return (images, *rest) if rest else images

    def _change(self, state, images, *labels):
        with keras.StatelessScope([(self.seeds.state, state)]):
            drawn = self.layer.get_random_transformation(images, seed=self.seeds)
            return self.transform(drawn, images, *labels)

    def _transform(self, drawn, images, *labels):
        dtype = keras.backend.standardize_dtype(images.dtype)
        images = self.layer.transform_images(keras.ops.cast(images, "float32"), drawn)
        labels = [self.layer.transform_labels(part, drawn) for part in labels]
        images = keras.ops.clip(images, 0, 255)  # interpolation rounds
        if keras.backend.is_int_dtype(dtype):
            images = keras.ops.round(images)
        return keras.ops.cast(images, dtype), *labels


def rand_augment_operations():
    """The operations of RandAugment (Cubuk et al. 2019), by name: functions of images and a generator.

    `keras.layers.RandAugment` computes all of them twice to keep the two that it draws. We use its
    layers but for three: on PyTorch it moves pixels image by image, it smooths with a border of zeros,
    and it equalizes a batch by one histogram.
    """
    layers, options = keras.layers, {"value_range": (0, 255), "seed": 0}
    of_keras = {
        "brightness": layers.RandomBrightness(FACTOR, **options),
        "color": layers.RandomColorDegeneration(FACTOR, **options),
        "contrast": layers.RandomContrast(FACTOR, **options),
        "posterize": layers.RandomPosterization(round(8 * FACTOR), **options),
        "solarize": layers.Solarization(FACTOR, FACTOR, **options),
        "auto_contrast": layers.AutoContrast((0, 255)),
    }
    return {name: ByKeras(layer) for name, layer in of_keras.items()} | {
        "sharpness": sharpened,
        "equalize": lambda images, rng: equalized(images),
        "shear": sheared,
        "translate": translated,
        "rotate": rotated,
    }


def sheared(images, rng):
    """Each image slanted along both axes, by up to `FACTOR` pixels a pixel."""
    matrices = np.tile(np.eye(2), (len(images), 1, 1))
    matrices[:, [0, 1], [1, 0]] = rng.uniform(-FACTOR, FACTOR, (len(images), 2))
    return moved(images, matrices)


def translated(images, rng):
    """Each image shifted along both axes, by up to `FACTOR` of its size."""
    shifts = rng.uniform(-FACTOR, FACTOR, (len(images), 2)) * images.shape[2:0:-1]
    return moved(images, np.tile(np.eye(2), (len(images), 1, 1)), shifts)


def rotated(images, rng):
    """Each image turned about its middle, by up to `FACTOR` of a whole turn."""
    angles = 2 * np.pi * rng.uniform(-FACTOR, FACTOR, len(images))
    sine, cosine = np.sin(angles), np.cos(angles)
    matrices = np.stack([np.stack([cosine, sine], -1), np.stack([-sine, cosine], -1)], -2)
    return moved(images, matrices)


def moved(images, matrices, shifts=0.0):
    """Each pixel from elsewhere in its image, which is mirrored at its border (bilinear, by Pillow).

    The pixel at (x, y) from the middle comes from `matrix @ (x, y) + shift`.

    Shapes: images [n, h, w, c], matrices [n, 2, 2], shifts [n, 2] -> [n, h, w, c], of the same type.
    """
    pillow = require("PIL.Image")
    n, height, width, _ = images.shape
    size, shifts = np.array([width, height]), np.broadcast_to(shifts, (n, 2))
    corners = size * [[0, 0], [0, 1], [1, 1], [1, 0]]
    origins = (corners - size / 2) @ np.swapaxes(matrices, 1, 2) + size / 2 + shifts[:, None]
    border = int(max(0, -origins.min(), (origins - size).max())) + 2  # one more is interpolated
    rows, columns = (np.pad(np.arange(side), border, mode="symmetric") for side in (height, width))
    padded = images.take(columns, 2).take(rows, 1)
    origins += border
    origins[..., 1] += padded.shape[1] * np.arange(n)[:, None]  # one image stands below the other
    targets = [(0, height * i, width, height * (i + 1)) for i in range(n)]
    mesh = list(zip(targets, origins.reshape(n, 8).tolist(), strict=True))

    def move(tower):
        how = pillow.Transform.MESH, mesh, pillow.Resampling.BILINEAR
        tower = pillow.fromarray(np.ascontiguousarray(tower)).transform((width, n * height), *how)
        return np.asarray(tower).reshape(n, height, width, -1)

    tower = padded.reshape(-1, *padded.shape[2:])
    if images.dtype == "uint8" and images.shape[-1] == 3:
        return move(tower)
    return np.concatenate([move(plane) for plane in np.moveaxis(tower, -1, 0)], -1)


def sharpened(images, rng):
    """Each image mixed with a smoothed one, which has a share of up to twice `FACTOR`.

    The smoothed pixel is the mean over 3x3 where the middle counts five times, as in RandAugment's
    code; pixels at the border of the image stay as they are.
    """
    shares = rng.uniform(0, 2 * FACTOR, (len(images), 1, 1, 1))
    pixels = images.astype("float32")
    inner, rows = pixels[:, 1:-1, 1:-1], pixels[:, :-2] + pixels[:, 1:-1] + pixels[:, 2:]
    smooth = (rows[:, :, :-2] + rows[:, :, 1:-1] + rows[:, :, 2:] + 4 * inner) / 13
    inner += shares.astype("float32") * (smooth - inner)
    whole = np.issubdtype(images.dtype, np.integer)
    return (np.rint(pixels) if whole else pixels).astype(images.dtype)


def equalized(images):
    """Pixels 0..255 so that each channel of each image has each value about as often.

    `keras.layers.Equalization` takes one histogram for the whole batch, and on JAX a loop for it.

    Shapes: [n, h, w, c] -> [n, h, w, c], of the same type.
    """
    planes = np.moveaxis(images, -1, 1)
    pixels = planes.reshape(-1, planes[0, 0].size)
    values = pixels.clip(0, 255).astype("uint8")
    places = values + 256 * np.arange(len(values), dtype="int32")[:, None]  # a table for each plane
    counts = np.bincount(places.ravel(), minlength=256 * len(values)).reshape(-1, 256)
    rest = pixels.shape[1] - counts[np.arange(len(counts)), values.min(1)]  # above the lowest
    rest = rest[:, None]
    tables = (counts.cumsum(1) - pixels.shape[1] + rest) * 255 / np.maximum(rest, 1)
    tables = np.rint(tables).astype(images.dtype)
    equal = np.where(rest == 0, pixels, tables.ravel()[places])
    return np.moveaxis(equal.reshape(planes.shape), 1, -1)


def random_crops(images, rng, pad=0, size=None):
    """Each image padded with zeros by `pad` and cropped to `size` at a random place.

    Keras' `RandomCrop` takes one place for the whole batch (keras issue 16399).

    Shapes: [n, h, w, c] -> [n, *size, c].
    """
    n, height, width, _ = images.shape
    rows, columns = size or (height, width)
    padded = np.pad(images, ((0, 0), (pad, pad), (pad, pad), (0, 0)))
    top = rng.integers(0, height + 2 * pad - rows + 1, n)
    left = rng.integers(0, width + 2 * pad - columns + 1, n)
    crops = np.empty((n, rows, columns, images.shape[-1]), images.dtype)
    for crop, image, i, j in zip(crops, padded, top, left, strict=True):
        crop[...] = image[i : i + rows, j : j + columns]
    return crops


def random_resized_crops(images, rng, area):
    """A random part of each image, resized to the whole (bilinear, by Pillow).

    The part has the image's proportions, and a share of its area that is uniform in [`area`, 1].

    Shapes: [n, h, w, c] -> [n, h, w, c], of the same type.
    """
    n = len(images)
    size = images.shape[2:0:-1]
    share = np.sqrt(rng.uniform(area, 1, (n, 1)))  # of each side
    places = rng.random((2, n)).T - 0.5
    return moved(images, share[..., None] * np.eye(2), places * (1 - share) * size)


def center_crop(images, size):
    """The middle of each image: [n, h, w, c] -> [n, *size, c]."""
    top, left = ((n - s) // 2 for n, s in zip(images.shape[1:3], size, strict=True))
    return images[:, top : top + size[0], left : left + size[1]]
