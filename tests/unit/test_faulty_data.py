"""Data that would be read wrongly: they are refused by name, changed with a warning, or left out."""

import io
import lzma
import os
import pathlib
import tarfile
import tracemalloc
import warnings
import zipfile

import numpy as np
import pytest
from PIL import Image

from keras_structnets import training
from tests.fuzz import archives, images, limits

pytestmark = pytest.mark.no_backend


def png(value=0, mode="RGB", size=(4, 4)):
    """The bytes of a picture of one colour."""
    file = io.BytesIO()
    Image.new(mode, size, value).save(file, "PNG")
    return file.getvalue()


@pytest.fixture
def folder(tmp_path):
    """Two classes of four colour pictures."""
    for name in "ab":
        (tmp_path / "data" / name).mkdir(parents=True)
        for i in range(4):
            (tmp_path / "data" / name / f"{i}.png").write_bytes(png((50 * i, 0, 9)))
    return tmp_path / "data"


@pytest.mark.parametrize(("mode", "top"), [("F", 1), ("I", 65535)])
def test_grey_levels_of_tiff_images_are_scaled_and_not_clipped(tmp_path, mode, top):
    levels = np.arange(64).reshape(8, 8) / 63
    values = (levels * top).astype("float32" if mode == "F" else "int32")
    for name in "ab":
        (tmp_path / name).mkdir()
        for i in range(2):
            Image.fromarray(values).save(tmp_path / name / f"{i}.tiff")
    data = training.load(tmp_path, validation_fraction=0.5)
    np.testing.assert_allclose(data.x_train[0, ..., 0], levels * 255, atol=1)


def test_grey_levels_of_an_unknown_range_are_named(folder):
    Image.fromarray(np.full((4, 4), 300, "float32")).save(folder / "a" / "float.tiff")
    with (
        pytest.warns(UserWarning, match=r"left out 1 of 9 .*float\.tiff"),
        pytest.warns(UserWarning, match=r"converted to colour 1 of 9 .*float\.tiff"),
    ):
        training.load(folder)


def test_a_folder_with_any_colour_is_in_colour(folder):
    (folder / "a" / "0.png").write_bytes(png(7, "L"))
    with pytest.warns(UserWarning, match=r"converted to colour 1 of 8 .*0\.png"):
        data = training.load(folder)
    assert data.x_train.shape[-1] == 3


def test_channels_can_be_chosen(folder):
    assert training.load(folder, channels=1).x_train.shape[-1] == 1


def test_a_first_image_that_enlarges_the_others_is_named(folder):
    (folder / "a" / "0.png").write_bytes(png((1, 2, 3), size=(40, 40)))
    with pytest.warns(UserWarning, match="enlarged 7 of 8"):
        training.load(folder)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        training.load(folder, image_size=(4, 4))


def test_a_link_that_leads_nowhere_is_named(folder):
    (folder / "a" / "gone.png").symlink_to(folder / "nowhere.png")
    with pytest.warns(UserWarning, match=r"left out 1 of 9 .*gone\.png"):
        training.load(folder)


def test_control_characters_in_file_names_are_escaped(folder):
    (folder / "a" / "x\nstructnets: forged\x1b[2J.png").write_text("no image")
    with pytest.warns(UserWarning, match="left out") as caught:
        training.load(folder)
    text = str(caught[0].message)
    assert "\n" not in text
    assert "\x1b" not in text


def test_postscript_is_not_run(folder, monkeypatch):
    started = []
    monkeypatch.setattr("PIL.EpsImagePlugin.Ghostscript", lambda *_, **__: started.append(1))
    eps = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n"
    (folder / "a" / "9.png").write_bytes(eps)
    with pytest.warns(UserWarning, match=r"left out 1 of 9 .*9\.png"):
        training.load(folder)
    assert not started


def save(path, **changes):
    x = np.random.default_rng(0).uniform(0, 255, (20, 4, 4, 1)).astype("float32")
    np.savez(path, **({"x_train": x, "y_train": np.arange(20) % 2} | changes))
    return path


def test_floats_between_0_and_1_give_a_warning(tmp_path):
    path = save(tmp_path / "x.npz", x_train=np.random.default_rng(0).random((20, 4, 4, 1)))
    with pytest.warns(UserWarning, match=r"between .* and .* take 0\.\.255. Multiply"):
        training.load(path)


def test_square_series_give_a_warning_as_they_may_be_images(tmp_path):
    path = save(tmp_path / "x.npz", x_train=np.random.default_rng(0).random((20, 4, 4)))
    with pytest.warns(UserWarning, match=r"series of 4 steps and 4 channels.*x\[\.\.\., None\]"):
        training.load(path)


def test_pixels_that_are_not_finite_are_named(tmp_path):
    x = np.zeros((20, 4, 4, 1), "float32")
    x[3, 2, 1, 0] = np.nan
    with pytest.raises(ValueError, match=r"nan in x_train at \(3, 2, 1, 0\)"):
        training.load(save(tmp_path / "x.npz", x_train=x))


def test_class_numbers_from_1_are_named(tmp_path):
    with pytest.raises(ValueError, match=r"class numbers 1\.\.2, and they start at 0"):
        training.load(save(tmp_path / "x.npz", y_train=1 + np.arange(20) % 2))


@pytest.mark.parametrize(
    "options",
    [
        {"holdout_last_per_class": -1},
        {"validation_fraction": 0.0},
        {"validation_fraction": -1.0},
        {"validation_fraction": 1.0},
        {"image_size": (0, 4)},
    ],
    ids=str,
)
def test_a_split_that_cannot_be_is_refused(options):
    with pytest.raises(ValueError, match=f"`{next(iter(options))}`"):
        training.load("digits", **options)


@pytest.fixture
def members():
    """{name in the archive: bytes} of two classes of four pictures."""
    return {f"data/{name}/{i}.png": png((50 * i, 0, 9)) for name in "ab" for i in range(4)}


def write_zip(path, members, **options):
    with zipfile.ZipFile(path, "w", **options) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


def write_tar(path, members):
    with tarfile.open(path, "w") as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


def test_a_zip_made_on_windows_is_read(tmp_path, members):
    path = write_zip(tmp_path / "x.zip", {})
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            info = zipfile.ZipInfo(name)
            info.filename = name.replace("/", "\\")
            archive.writestr(info, data)
    assert training.load(path).class_names == ["a", "b"]


@pytest.mark.parametrize("size", [-512, 2**62], ids=["negative", "huge"])
def test_a_tar_of_impossible_sizes_is_refused(tmp_path, members, size):
    path = write_tar(tmp_path / "x.tar", members)
    path.write_bytes(archives.with_size(path.read_bytes(), size))
    with pytest.raises(ValueError, match=r"(?s)x\.tar' .*the limit is"):
        training.load(path)


@pytest.mark.parametrize("write", [write_zip, write_tar])
def test_an_archive_that_is_too_large_is_refused(tmp_path, members, write):
    path = write(tmp_path / ("x.zip" if write is write_zip else "x.tar"), members)
    with pytest.raises(ValueError, match="more than 100 bytes"):
        training.load(path, max_bytes=100)


def test_a_tar_of_a_large_header_is_refused_before_it_is_read(tmp_path):
    info = tarfile.TarInfo("data/a/0.png")
    info.type, info.size = tarfile.XHDTYPE, 2**26
    path = tmp_path / "x.tar.xz"
    path.write_bytes(lzma.compress(info.tobuf() + bytes(2**26), preset=0))
    tracemalloc.start()
    with pytest.raises(ValueError, match=r"x\.tar\.xz' is damaged"):
        training.load(path)
    assert tracemalloc.get_traced_memory()[1] < 2**25
    tracemalloc.stop()


@pytest.mark.parametrize("write", [write_zip, write_tar])
def test_an_archive_is_read_one_file_at_a_time(tmp_path, write):
    noise = np.random.default_rng(0).integers(0, 256, (500, 500, 3)).astype("uint8")
    file = io.BytesIO()
    Image.fromarray(noise).save(file, "BMP")  # 750 KB
    members = {f"data/{name}/{i}.bmp": file.getvalue() for name in "ab" for i in range(20)}
    path = write(tmp_path / ("x.zip" if write is write_zip else "x.tar"), members)
    del members
    tracemalloc.start()
    data = training.load(path, image_size=(8, 8))
    assert tracemalloc.get_traced_memory()[1] < 4 * 2**20
    tracemalloc.stop()
    assert len(data.x_train) == 32


@pytest.mark.parametrize("module", [archives, images], ids=["archives", "images"])
def test_damaged_files_are_read_left_out_or_refused_by_name(module):
    found = list(module.outcomes(seed=0, count=60))
    assert not [row for row in found if row[-1] not in limits.GOOD], module.table(found)


def test_an_encrypted_zip_is_named(tmp_path, members):
    path = write_zip(tmp_path / "x.zip", members)
    data = bytearray(path.read_bytes())
    start = 0
    for signature, offset in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        while (start := data.find(signature, start)) >= 0:
            data[start + offset] |= 1
            start += 4
        start = 0
    path.write_bytes(data)
    with pytest.raises(ValueError, match="encrypted"):
        training.load(path)


def test_a_truncated_tar_is_named(tmp_path, members):
    path = write_tar(tmp_path / "x.tar", members)
    path.write_bytes(path.read_bytes()[:600])
    with pytest.raises(ValueError, match="damaged"):
        training.load(path)


@pytest.mark.skipif(not hasattr(os, "symlink"), reason="needs symbolic links")
def test_a_path_to_predict_that_is_missing_is_an_error(tmp_path):
    from keras_structnets.training.datasets.images import read_images

    with pytest.raises(FileNotFoundError):
        read_images([pathlib.Path(tmp_path / "missing.png")])
