"""Images of every mode and format give the pixels that were meant, wherever they stand in the folder."""

import collections
import itertools
import warnings

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies
from PIL import Image, ImageCms

from keras_structnets import training

pytestmark = pytest.mark.no_backend
MODES = ["1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr", "LAB", "HSV", "I", "I;16", "F"]
FORMATS = {"PNG": {}, "TIFF": {}, "WEBP": {"lossless": True}, "GIF": {}, "BMP": {}}
FORMATS["JPEG"] = {"quality": 100, "subsampling": 0}
GREY = ("1", "L", "LA", "I", "I;16", "F")
# the largest differences measured were 2, 3, 4, 19 and 15
TOLERANCE = {"JPEG": 3, "YCbCr": 4, "HSV": 5, "LAB": 20, "RGBA GIF": 16}

SRGB, LAB = (ImageCms.createProfile(name) for name in ("sRGB", "LAB"))
Y, X = np.mgrid[:8, :8]
LEVELS = (255 / 63 * (8 * Y + X)).round().astype("uint8")
COLOURS = np.stack([30 * X, 30 * Y, 8 * (X + Y) + 50], -1).astype("uint8")


def meant(mode):
    """The pixels [8, 8, 3] that an image of `mode` shows."""
    if mode == "1":
        return np.repeat(np.where(LEVELS > 127, 255, 0)[..., None], 3, -1)
    return np.repeat(LEVELS[..., None], 3, -1) if mode in GREY else COLOURS


def image(mode):
    """That image."""
    if mode in ("I", "I;16"):
        levels = LEVELS.astype("int32" if mode == "I" else "uint16") * 257
        return Image.fromarray(levels)
    if mode == "F":
        return Image.fromarray((LEVELS / 255).astype("float32"))
    if mode in ("1", "L"):
        return Image.fromarray(meant(mode)[..., 0].astype("uint8")).convert(mode)
    if mode in ("P", "PA"):
        made = Image.fromarray(np.arange(64, dtype="uint8").reshape(8, 8), "L").convert("P")
        made.putpalette(COLOURS.tobytes())
        return made if mode == "P" else made.convert("PA")
    made = Image.fromarray(meant(mode).astype("uint8"))
    if mode == "LAB":
        return ImageCms.profileToProfile(made, SRGB, LAB, outputMode="LAB")
    return made.convert(mode)


def write(path, mode, form):
    """Whether Pillow can write an image of this mode, and as it is, in this format."""
    made = image(mode)
    try:
        made.save(path, form, **FORMATS[form])
    except (OSError, KeyError, ValueError):
        path.unlink(missing_ok=True)
        return False
    with Image.open(path) as found:  # some formats make 8 bits of more, by clipping
        kept = mode not in ("I", "I;16", "F") or found.mode[0] in "IF"
    if not kept:
        path.unlink()
    return kept


def check(folder, files):
    """Load {path: (mode, format)}; each has the pixels that were meant, or a warning names it."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        data = training.load(folder, holdout_last_per_class=1)
    left_out = [str(w.message) for w in caught if "left out" in str(w.message)]
    changed = [str(w.message) for w in caught if "converted" in str(w.message)]
    for label, name in enumerate(data.class_names):
        kept = [
            p for p in files if p.parent.name == name and not any(p.name in w for w in left_out)
        ]
        found = [*data.x_train[data.y_train == label], *data.x_val[data.y_val == label]]
        for path, pixels in zip(sorted(kept), found, strict=True):
            mode, form = files[path]
            tolerance = max(TOLERANCE.get(key, 1) for key in (mode, form, f"{mode} {form}"))
            expected = meant(mode)[..., : pixels.shape[-1]]
            if pixels.shape[-1] == 1:
                assert mode in GREY
            elif mode in GREY:
                assert any(path.name in text for text in changed) or form in ("GIF", "WEBP", "JPEG")
            np.testing.assert_allclose(pixels, expected, atol=tolerance, err_msg=f"{mode} {form}")


def write_folder(folder, kinds):
    """{path: (mode, format)} of two classes of the same images."""
    files = {}
    for name, (i, (mode, form)) in itertools.product("ab", enumerate(kinds)):
        path = folder / name / f"{i}-{mode.replace(';', '')}.{form.lower()}"
        path.parent.mkdir(parents=True, exist_ok=True)
        if write(path, mode, form):
            files[path] = mode, form
    return files


KINDS = list(itertools.product(MODES, FORMATS))


@pytest.mark.parametrize("place", [0, 3], ids=["first", "last"])
@pytest.mark.parametrize("others", ["L", "RGB"])
def test_every_mode_and_format_is_read_as_it_was_meant(tmp_path, place, others):
    read = collections.Counter()
    for i, kind in enumerate(KINDS):
        kinds = [(others, "PNG")] * 3
        kinds.insert(place, kind)
        files = write_folder(tmp_path / str(i), kinds)
        if len(files) == 8:
            check(tmp_path / str(i), files)
            read[kind[1]] += 1
    assert all(read[form] > 3 for form in FORMATS), read


@hypothesis.settings(max_examples=50, deadline=None, database=None)
@hypothesis.given(strategies.lists(strategies.sampled_from(KINDS), min_size=3, max_size=6))
def test_images_of_any_modes_are_read_together(tmp_path_factory, kinds):
    kinds = [("L", "PNG"), *kinds, ("RGB", "TIFF")]
    folder = tmp_path_factory.mktemp("kinds")
    check(folder, write_folder(folder, kinds))
