"""Image files as arrays, by Pillow."""

import dataclasses
import io
import pathlib
import warnings

import keras
import numpy as np

from keras_structnets.training._io import printable, require

FORMATS = ("PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "PPM")  # no EPS, which runs Ghostscript
GREY = ("1", "L", "LA", "I", "F")


@dataclasses.dataclass(frozen=True, eq=False)
class Member:
    """A file of an archive in memory, with the attributes of a `pathlib.Path` that are used."""

    archive: str
    path: pathlib.PurePosixPath
    data: bytes

    @property
    def name(self):
        """The last part of its path."""
        return self.path.name

    def __str__(self):
        return f"{self.archive}/{self.path}"


def read_images(paths, size=None, channels=None):
    """Pixels [n, h, w, c] of the images among `paths`, uint8, and the paths that are images.

    Files that are not images are named in a warning. `size` None: that of the first image. `channels`
    None: 3 if any image has colour, else 1.
    """
    headers = {path: header for path in paths if (header := _header(path))}
    if headers:
        size = size or _size_of_first(headers)
        channels = channels or _channels_of_any(headers)
    images, kept = [], []
    for path in headers:
        image = _or_none(path, lambda path: _pixels(path, size, channels))
        if image is not None:
            images.append(image)
            kept.append(path)
    read = set(kept)
    _warn("left out", [path for path in paths if path not in read], paths, "not readable images")
    return (np.stack(images) if images else np.zeros((0, 1, 1, 1), "uint8")), kept


def resized(images, size):
    """[n, h, w, c] -> [n, *size, c], bilinear; `size` None or that of the images changes nothing."""
    if images is None or size is None or images.shape[1:3] == tuple(size):
        return images
    whole = images.dtype.kind in "ui"
    parts = []
    for start in range(0, len(images), 1000):  # few at a time, for they are floats meanwhile
        part = images[start : start + 1000].astype("float32")
        part = keras.ops.convert_to_numpy(keras.ops.image.resize(part, size, antialias=True))
        parts.append(part.round().astype(images.dtype) if whole else part)
    return np.concatenate(parts)


def _size_of_first(headers):
    """(height, width) of the first image, with a warning if others are much smaller."""
    height, width = next(iter(headers.values()))[0]
    small = [path for path, ((h, w), _) in headers.items() if 4 * h * w < height * width]
    which = f"less than a quarter of the {height} x {width} pixels of the first"
    _warn("enlarged", small, headers, which)
    return height, width


def _channels_of_any(headers):
    """3 if any image has colour, with a warning that names the others."""
    grey = [path for path, (_, is_grey) in headers.items() if is_grey]
    if len(grey) == len(headers):
        return 1
    _warn("converted to colour", grey, headers, "grey")
    return 3


def _warn(what, paths, all_paths, which):
    if paths:
        names = ", ".join(printable(path) for path in paths[:20])
        more = f" and {len(paths) - 20} more" if len(paths) > 20 else ""
        warnings.warn(
            f"{what} {len(paths)} of {len(all_paths)} files that are {which}: {names}{more}",
            stacklevel=3,
        )


def _or_none(path, read):
    """`read(path)`, or None for what is not a readable image."""
    require("PIL.Image")
    try:
        return read(path)
    except FileNotFoundError:
        if isinstance(path, pathlib.Path) and path.is_symlink():
            return None
        raise
    except Exception:  # Pillow's readers of damaged files raise exceptions of many kinds
        return None


def _header(path):
    """Size (height, width) and whether it is grey, or None; the pixels are not read."""

    def read(path):
        with _open(path) as image:
            sideways = image.getexif().get(0x0112, 1) >= 5  # the orientation turns it
            size = image.size if sideways else image.size[::-1]
            return size, image.mode in GREY or image.mode.startswith("I;16")

    return _or_none(path, read)


def _open(path):
    file = io.BytesIO(path.data) if isinstance(path, Member) else path
    return require("PIL.Image").open(file, formats=FORMATS)


def _pixels(path, size, channels):
    """One image as uint8 [height, width, channels]."""
    pillow, image_ops = require("PIL.Image"), require("PIL.ImageOps")
    with _open(path) as image:
        image = _eight_bits(image_ops.exif_transpose(image), pillow)
        image = image.convert("L" if channels == 1 else "RGB")
        if image.size != (size[1], size[0]):
            image = image.resize((size[1], size[0]), pillow.Resampling.BILINEAR)
        pixels = np.asarray(image)
    return pixels[..., None] if channels == 1 else pixels


def _eight_bits(image, pillow):
    """Grey levels of 16 bits, or floats 0..1, as 8 bits; `convert` would clip them."""
    if image.mode not in ("I", "F") and not image.mode.startswith("I;16"):
        return image
    levels, top = np.asarray(image), 1 if image.mode == "F" else 65535
    if not (levels.min() >= 0 and levels.max() <= top):
        raise ValueError(f"grey levels outside 0..{top}")
    levels = np.rint(levels * 255.0) if image.mode == "F" else levels >> 8
    return pillow.fromarray(levels.astype("uint8"))
