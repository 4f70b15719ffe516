"""Damaged image files: each is read, or left out with a warning that names it."""

import io
import pathlib
import random
import tempfile

import numpy as np
from PIL import Image

from keras_structnets import training
from tests.fuzz import limits
from tests.fuzz.archives import DAMAGES
from tests.fuzz.limits import table

__all__ = ["outcomes", "table"]
FORMATS = (
    "PNG",
    "JPEG",
    "GIF",
    "BMP",
    "TIFF",
    "WEBP",
    "PPM",
    "ICO",
    "TGA",
    "PCX",
    "EPS",
    "PDF",
    "DDS",
)


def outcomes(seed=0, count=1000, only=None):
    """(format, damage, end) of `count` images, each beside four that are whole."""
    rng = random.Random(seed)
    pixels = np.random.default_rng(seed).integers(0, 256, (24, 20, 3)).astype("uint8")
    whole = {name: saved(pixels, name) for name in FORMATS if only in (None, name)}
    with tempfile.TemporaryDirectory() as place:
        folder = pathlib.Path(place, "inner")
        for name in "ab":
            (folder / name).mkdir(parents=True)
            for i in range(2):
                (folder / name / f"{i}.png").write_bytes(saved(pixels, "PNG"))
        for i in range(count):
            kind, damage = rng.choice(list(whole)), rng.choice(list(DAMAGES))
            path = folder / "a" / f"{rng.choice((0, 9))}0.{rng.choice(('png', kind.lower()))}"
            path.write_bytes(DAMAGES[damage](bytearray(whole[kind]), rng))
            yield kind, f"{damage} {i}", limits.end_of(lambda: _load(folder), folder)
            path.unlink()


def _load(folder):
    data = training.load(folder, image_size=(24, 20), validation_fraction=0.5)
    assert len(data.x_train) + len(data.x_val) in (4, 5)


def saved(pixels, form):
    """The bytes of an image file."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, form)
    return file.getvalue()
