"""Image files as arrays, by Pillow."""

import pathlib
import warnings

import keras
import numpy as np

from keras_structnets.training._io import printable, require

FORMATS = ("PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "PPM")  # no EPS, which runs Ghostscript
GREY = ("1", "L", "LA", "I", "F")


def read_images(files, size=None, channels=None, sort=list):
    """Pixels [n, h, w, c] of the images among `files`, uint8, and their paths in the order of `sort`.

    Files that are not images are named in a warning. `files` are paths, or (path, file object) pairs,
    which are gone through twice: first for the sizes, then for the pixels. `size` None: that of the
    first image. `channels` None: 3 if any image has colour, else 1.
    """
    headers = {path: _or_none(_header, path, file) for path, file in _pairs(files)}
    headers = {path: headers[path] for path in sort(headers)}
    found = {path: header for path, header in headers.items() if header}
    if found:
        size = size or _size_of_first(found)
        channels = channels or _channels_of_any(found)
    images = {}
    for path, file in _pairs(files):
        if path in found:
            images[path] = _or_none(_pixels, path, file, size, channels)
    kept = [path for path in found if images[path] is not None]
    bad = [path for path in headers if images.get(path) is None]
    _warn("left out", bad, headers, "not readable images")
    pixels = [images[path] for path in kept]
    return np.stack(pixels) if kept else np.zeros((0, 1, 1, 1), "uint8"), kept


def resized(images, size):
    """[n, h, w, c] -> [n, *size, c], bilinear; `size` None or that of the images changes nothing."""
    if images is not None and size is not None and images.ndim != 4:
        raise ValueError(
            f"load: `image_size` {tuple(size)} resizes images [n, height, width, channels], but the data is "
            f"{list(images.shape)}. Leave `image_size` out."
        )
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


def _pairs(files):
    """The path of each file, and what Pillow opens."""
    return (file if isinstance(file, tuple) else (file, file) for file in files)


def _or_none(read, path, file, *options):
    """`read(image, *options)`, or None for what is not a readable image."""
    pillow = require("PIL.Image")
    try:
        with pillow.open(file, formats=FORMATS) as image:
            return read(image, *options)
    except FileNotFoundError:
        if isinstance(path, pathlib.Path) and path.is_symlink():
            return None
        raise
    except Exception:  # Pillow's readers of damaged files raise exceptions of many kinds
        return None


def _header(image):
    """Size (height, width) and whether it is grey; the pixels are not read."""
    sideways = image.getexif().get(0x0112, 1) >= 5  # the orientation turns it
    size = image.size if sideways else image.size[::-1]
    return size, image.mode in GREY or image.mode.startswith("I;16")


def _pixels(image, size, channels):
    """An image as uint8 [height, width, channels]."""
    pillow, image_ops = require("PIL.Image"), require("PIL.ImageOps")
    image = _eight_bits(image_ops.exif_transpose(image), pillow)
    image = image.convert("L" if channels == 1 else "RGB")
    if image.size != (size[1], size[0]):
        image = image.resize((size[1], size[0]), pillow.Resampling.BILINEAR)
    return np.asarray(image).reshape(*size, channels)


def _eight_bits(image, pillow):
    """Grey levels of 16 bits, or floats 0..1, as 8 bits; `convert` would clip them."""
    if image.mode not in ("I", "F") and not image.mode.startswith("I;16"):
        return image
    levels, top = np.asarray(image), 1 if image.mode == "F" else 65535
    if not (levels.min() >= 0 and levels.max() <= top):
        raise ValueError(f"grey levels outside 0..{top}")
    levels = np.rint(levels * 255.0) if image.mode == "F" else levels >> 8
    return pillow.fromarray(levels.astype("uint8"))
