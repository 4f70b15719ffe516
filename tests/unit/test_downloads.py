"""SVHN, STL-10 and Tiny ImageNet are read from small files of their real formats."""

import hashlib
import io
import tarfile
import zipfile

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from keras_structnets import training
from keras_structnets.training.datasets import downloads

pytestmark = pytest.mark.no_backend

RNG = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """An empty cache of Keras."""
    monkeypatch.setattr(downloads, "CACHE", str(tmp_path / "cache"))


def serve(monkeypatch, name, paths, checksum=None):
    """Let the data set's addresses be those of the files."""
    files = {
        path.as_uri(): checksum or hashlib.md5(path.read_bytes()).hexdigest() for path in paths
    }
    monkeypatch.setitem(downloads.FILES, name, files)


@pytest.fixture
def svhn(tmp_path):
    """The files, and images and labels of training."""
    paths, made = [], []
    for part, n in (("train", 30), ("test", 20)):
        images = RNG.integers(0, 256, (n, 32, 32, 3)).astype("uint8")
        labels = np.arange(n) % 10
        path = tmp_path / f"{part}_32x32.mat"
        y = np.where(labels == 0, 10, labels)[:, None].astype("uint8")
        savemat(path, {"X": np.moveaxis(images, 0, -1), "y": y})
        paths.append(path)
        made.append((images, labels))
    return paths, made


def test_svhn_is_read_with_ten_as_the_digit_zero(svhn, monkeypatch):
    paths, ((images, labels), (held, held_labels)) = svhn
    serve(monkeypatch, "svhn", paths)
    data = training.load("svhn")
    np.testing.assert_array_equal(data.x_train, images)
    np.testing.assert_array_equal(data.y_train, labels)
    np.testing.assert_array_equal(data.x_val, held)
    np.testing.assert_array_equal(data.y_val, held_labels)
    assert data.class_names == list("0123456789")


def test_the_extra_images_of_svhn_are_for_training(svhn, tmp_path, monkeypatch):
    paths, ((images, labels), (held, held_labels)) = svhn
    extra = RNG.integers(0, 256, (7, 32, 32, 3)).astype("uint8")
    path = tmp_path / "extra_32x32.mat"
    savemat(path, {"X": np.moveaxis(extra, 0, -1), "y": np.full((7, 1), 3, "uint8")})
    serve(monkeypatch, "svhn_extra", [*paths, path])
    data = training.load("svhn_extra")
    np.testing.assert_array_equal(data.x_train, np.concatenate([images, extra]))
    np.testing.assert_array_equal(data.y_train, [*labels, *[3] * 7])
    np.testing.assert_array_equal(data.x_val, held)
    np.testing.assert_array_equal(data.y_val, held_labels)


def test_stl10_is_read_upright_without_unpacking(tmp_path, monkeypatch):
    images = RNG.integers(0, 256, (12, 96, 96, 3)).astype("uint8")
    labels = np.arange(12) % 10
    names = [f"class{i}" for i in range(10)]
    files = {"class_names.txt": "\n".join(names).encode()}
    for part in ("train", "test"):
        files[f"{part}_X.bin"] = images.transpose(0, 3, 2, 1).tobytes()  # planes by column
        files[f"{part}_y.bin"] = (labels + 1).astype("uint8").tobytes()
    path = tmp_path / "stl10_binary.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(f"stl10_binary/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    serve(monkeypatch, "stl10", [path])
    data = training.load("stl10")
    for x, y in ((data.x_train, data.y_train), (data.x_val, data.y_val)):
        np.testing.assert_array_equal(x, images)
        np.testing.assert_array_equal(y, labels)
    assert data.class_names == names


def test_tiny_imagenet_is_read_with_its_validation_held_out(tmp_path, monkeypatch):
    classes, words = ["n02", "n01", "n03"], {"n01": "gold fish, carp", "n02": "frog", "n03": "bus"}
    path, root = tmp_path / "tiny-imagenet-200.zip", "tiny-imagenet-200"

    def jpeg(level):
        buffer = io.BytesIO()
        mode = "L" if level % 2 else "RGB"  # some of the real ones are grey
        Image.new(mode, (64, 64), level if mode == "L" else (level,) * 3).save(buffer, "JPEG")
        return buffer.getvalue()

    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{root}/wnids.txt", "\n".join(classes))
        archive.writestr(f"{root}/words.txt", "\n".join(f"{k}\t{v}" for k, v in words.items()))
        rows = []
        for i, name in enumerate(classes):
            for j in range(4):
                archive.writestr(f"{root}/train/{name}/images/{name}_{j}.JPEG", jpeg(50 * i + 7))
            archive.writestr(f"{root}/train/{name}/{name}_boxes.txt", "0 0 0 0")
            archive.writestr(f"{root}/val/images/val_{i}.JPEG", jpeg(50 * i + 8))
            rows.append(f"val_{i}.JPEG\t{name}\t0\t0\t62\t62")
        archive.writestr(f"{root}/val/val_annotations.txt", "\n".join(rows))
        archive.writestr(f"{root}/test/images/test_0.JPEG", jpeg(9))
    serve(monkeypatch, "tiny_imagenet", [path])
    data = training.load("tiny_imagenet")
    assert data.x_train.shape == (12, 64, 64, 3)
    np.testing.assert_allclose(data.x_train.mean((1, 2, 3)), 50 * data.y_train + 7, atol=2)
    np.testing.assert_allclose(data.x_val.mean((1, 2, 3)), 50 * data.y_val + 8, atol=2)
    assert data.class_names == ["frog", "gold_fish", "bus"]


def test_a_file_of_another_checksum_or_a_broken_one_is_named(svhn, tmp_path, monkeypatch):
    paths, _ = svhn
    serve(monkeypatch, "svhn", paths, checksum="0" * 32)
    with pytest.raises(ValueError, match="svhn cannot be downloaded from .*train_32x32.mat"):
        training.load("svhn")
    whole = paths[0].read_bytes()
    for name, content in (("cut", whole[: len(whole) // 2]), ("empty", b""), ("text", b"no mat")):
        path = tmp_path / f"{name}.mat"
        path.write_bytes(content)
        serve(monkeypatch, "svhn", [path, paths[1]])
        with pytest.raises(ValueError, match=rf"svhn in .*{name}\.mat.* is damaged"):
            training.load("svhn")
