"""Images and labels: scikit-learn's digits, folders of images, and per-image crops."""

import shutil
import sys

import keras
import numpy as np
import pytest
from PIL import Image

from keras_structnets import training
from keras_structnets.training._io import natural


def write(path, value=0, size=(6, 4), mode="RGB"):
    """A picture of one colour, `size` being (width, height)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, value if mode == "L" else (value, 0, 255 - value)).save(path)


@pytest.fixture
def folder(tmp_path):
    """Three classes of five pictures; the red of a picture tells its class and number."""
    for label, name in enumerate(["class 1", "class 2", "class 10"]):
        for i in range(5):
            write(tmp_path / name / f"{i + 8}.png", 50 * label + i)
    return tmp_path


def test_digits_are_raw_pixels_with_a_fifth_of_each_class_validation():
    data = training.load("digits")
    assert data.x_train.shape[1:] == data.x_val.shape[1:] == (8, 8, 1)
    assert len(data.x_train) + len(data.x_val) == 1797
    assert data.x_train.min() == 0
    assert data.x_train.max() == 255
    assert data.class_names == list("0123456789")
    share = np.bincount(data.y_val) / np.bincount(np.concatenate([data.y_train, data.y_val]))
    np.testing.assert_allclose(share, 0.2, atol=0.003)


def test_digits_are_split_the_same_way_each_time_and_no_image_is_on_both_sides():
    first, second = training.load("digits"), training.load("digits")
    np.testing.assert_array_equal(first.x_val, second.x_val)
    training_images = {image.tobytes() for image in first.x_train}
    assert not any(image.tobytes() in training_images for image in first.x_val)
    other = training.load("digits", seed=1)
    assert not np.array_equal(first.x_val, other.x_val)


def test_a_folder_gives_pixels_and_labels_with_classes_in_natural_order(folder):
    data = training.load(folder)
    assert data.class_names == ["class 1", "class 2", "class 10"]
    assert data.x_train.shape == (12, 4, 6, 3)
    assert data.x_train.dtype == "uint8"
    assert data.x_val.shape == (3, 4, 6, 3)
    for images, labels in [(data.x_train, data.y_train), (data.x_val, data.y_val)]:
        np.testing.assert_array_equal(images[:, 0, 0, 0] // 50, labels)
        np.testing.assert_array_equal(images[:, 0, 0, 0] + images[:, 0, 0, 2].astype(int), 255)
    assert str(data) == "12 training and 3 validation images of 3 classes, 4 x 6 x 3"


def test_the_last_files_of_each_class_are_validation_on_request(folder):
    data = training.load(folder, holdout_last_per_class=2)
    # files 8 to 12: as texts, 8 and 9 would come last
    assert sorted(data.x_val[:, 0, 0, 0]) == [3, 4, 53, 54, 103, 104]


def test_images_of_several_sizes_become_one_size(folder):
    write(folder / "class 1" / "99.png", 0, size=(12, 20))
    assert training.load(folder).x_train.shape[1:] == (4, 6, 3)
    assert training.load(folder, image_size=(5, 7)).x_train.shape[1:] == (5, 7, 3)


def test_grey_images_have_one_channel_and_16_bits_are_scaled(tmp_path):
    ramp = np.array([[0, 65535], [32768, 256]], "uint16")
    for name in "ab":
        (tmp_path / name).mkdir()
        for i in range(2):
            Image.fromarray(ramp).save(tmp_path / name / f"{i}.png")
    data = training.load(tmp_path)
    assert data.x_train.shape == (2, 2, 2, 1)
    np.testing.assert_array_equal(data.x_train[0, ..., 0], [[0, 255], [128, 1]])


def test_a_file_that_is_no_image_is_named_and_the_rest_is_loaded(folder):
    (folder / "class 2" / "notes.png").write_text("no picture")
    whole = (folder / "class 1" / "8.png").read_bytes()
    (folder / "class 2" / "torn.png").write_bytes(whole[: len(whole) // 2])
    (folder / "class 2" / ".hidden").write_text("left alone")
    with pytest.warns(UserWarning, match=r"left out 2 of 17 files.*notes\.png.*torn\.png"):
        data = training.load(folder)
    assert len(data.x_train) + len(data.x_val) == 15


ARCHIVES = {
    "tar": ".tar",
    "gztar": ".tar.gz",
    "bztar": ".tar.bz2",
    "xztar": ".tar.xz",
    "zip": ".zip",
}


def packed(kind, folder, tmp_path, inside="."):
    """The archive of a folder, which is then the archive's `inside`."""
    root = tmp_path / "packed" / inside
    shutil.copytree(folder, root)
    (root / ".hidden").mkdir()
    (root / ".hidden" / "x.png").write_bytes(b"")
    shutil.make_archive(str(tmp_path / "images"), kind, tmp_path / "packed")
    shutil.rmtree(tmp_path / "packed")
    return tmp_path / f"images{ARCHIVES[kind]}"


@pytest.mark.parametrize("inside", [".", "train"])
@pytest.mark.parametrize("kind", ARCHIVES)
def test_an_archive_gives_what_its_folder_gives(kind, inside, folder, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp(kind)
    archive = packed(kind, folder, elsewhere, inside)
    before = sorted(elsewhere.iterdir())
    for options in ({}, {"holdout_last_per_class": 2}, {"image_size": (8, 8)}):
        expected, found = training.load(folder, **options), training.load(archive, **options)
        assert found.class_names == expected.class_names
        for name in ("x_train", "y_train", "x_val", "y_val"):
            np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))
    assert sorted(elsewhere.iterdir()) == before  # nothing was unpacked


def test_an_archive_with_two_folders_of_a_name_is_refused(folder, tmp_path_factory):
    for part in ("train", "test"):
        shutil.copytree(folder / "class 1", folder / part / "cat")
        shutil.copytree(folder / "class 2", folder / part / "dog")
    archive = packed("zip", folder, tmp_path_factory.mktemp("zip"))
    with pytest.raises(ValueError, match=r"images\.zip' has images in .*test/cat.*train/dog.*Pack"):
        training.load(archive)


@pytest.mark.parametrize("kind", ARCHIVES)
@pytest.mark.parametrize("damage", ["truncated", "corrupt"])
def test_a_damaged_archive_is_named(kind, damage, folder, tmp_path_factory):
    noise = np.random.default_rng(0).integers(0, 256, (40, 40, 3), "uint8")
    for i in range(8):
        Image.fromarray(noise + np.uint8(i)).save(folder / "class 1" / f"noise {i}.png")
    archive = packed(kind, folder, tmp_path_factory.mktemp(kind))
    data = archive.read_bytes()
    archive.write_bytes(data[: len(data) // 2] if damage == "truncated" else b"no archive" * 99)
    with pytest.raises(ValueError, match=rf"`source` .*images{ARCHIVES[kind]}' is damaged"):
        training.load(archive)


def test_arrays_are_read_with_the_images_that_they_hold_out(tmp_path):
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 256, (20, 4, 5), "uint8"), np.arange(20) % 2
    np.savez(tmp_path / "own.npz", x_train=x, y_train=y[:, None], class_names=["no", "yes"])
    data = training.load(tmp_path / "own.npz")
    assert data.class_names == ["no", "yes"]
    assert (data.x_train.shape, data.x_val.shape) == ((16, 4, 5, 1), (4, 4, 5, 1))
    np.savez(tmp_path / "two.npz", x_train=x, y_train=y, x_test=x[:3], y_test=y[:3])
    data = training.load(tmp_path / "two.npz")
    assert data.class_names == ["0", "1"]
    np.testing.assert_array_equal(data.x_train[..., 0], x)
    np.testing.assert_array_equal(data.x_val[..., 0], x[:3])
    data = training.load(tmp_path / "two.npz", holdout_last_per_class=1)
    np.testing.assert_array_equal(data.x_val[..., 0], x[18:])


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"x": np.zeros((2, 4, 4))}, ["['x']", "x_train and y_train"]),
        ({"x_train": np.zeros((2, 4, 4))}, ["x_train", "y_train"]),
        ({"x_train": np.zeros((2, 4)), "y_train": [0, 1]}, ["(2, 4)", "height"]),
        ({"x_train": np.zeros((3, 4, 4)), "y_train": [0, 1]}, ["(3, 4, 4)", "(2,)"]),
        ({"x_train": np.zeros((2, 4, 4)), "y_train": [0.0, 1.0]}, ["float64", "class numbers"]),
        ({"x_train": np.zeros((2, 4, 4)), "y_train": [0, -1]}, ["class numbers"]),
        (
            {"x_train": np.zeros((2, 4, 5)), "y_train": [0, 1], "class_names": ["a"]},
            ["1 class_names", "up to 1"],
        ),
        ({"x_train": np.array([{}, 1]), "y_train": [0, 1]}, ["plain arrays"]),
    ],
)
def test_wrong_arrays_are_named(arrays, words, tmp_path):
    np.savez(tmp_path / "own.npz", **arrays)
    with pytest.raises(ValueError) as error:
        training.load(tmp_path / "own.npz")
    assert all(word in str(error.value) for word in ["own.npz", *words]), error.value


@pytest.mark.parametrize(("name", "n_classes"), [("cifar10", 10), ("cifar100", 100)])
def test_cifar_comes_from_keras_with_its_test_images_validation(name, n_classes, monkeypatch):
    def parts():
        y = np.arange(2 * n_classes)[:, None] % n_classes
        x = np.zeros((len(y), 32, 32, 3), "uint8") + y[:, :, None, None].astype("uint8")
        return (x, y), (x[:n_classes] + 1, y[:n_classes])

    monkeypatch.setattr(getattr(keras.datasets, name), "load_data", parts)
    data = training.load(name)
    assert len(set(data.class_names)) == n_classes
    assert data.class_names == sorted(data.class_names)
    np.testing.assert_array_equal(data.x_train[:, 0, 0, 0], data.y_train)
    np.testing.assert_array_equal(data.x_val[:, 0, 0, 0], data.y_val + 1)
    data = training.load(name, holdout_last_per_class=1)
    np.testing.assert_array_equal(data.x_val[:, 0, 0, 0], data.y_val)
    assert len(data.x_val) == len(data.x_train) == n_classes


def test_a_path_that_is_missing_or_a_file_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"`source` .*nowhere' is missing\. Give 'digits'"):
        training.load(tmp_path / "nowhere")
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="is not a folder"):
        training.load(tmp_path / "file")


def test_a_folder_without_classes_is_refused(tmp_path):
    with pytest.raises(ValueError, match="has 0 class sub-folders.*Put the images"):
        training.load(tmp_path)
    write(tmp_path / "loose.png")
    with pytest.raises(ValueError, match="has 0 class sub-folders.*Put the images"):
        training.load(tmp_path)
    write(tmp_path / "one" / "picture.png")
    with pytest.raises(ValueError, match="has 1 class sub-folders.*Put the images"):
        training.load(tmp_path)


def test_a_class_without_images_is_refused(folder):
    (folder / "class 3").mkdir()
    with pytest.raises(ValueError, match="class 3' holds no image.*remove it"):
        training.load(folder)


def test_folders_of_classes_that_are_all_empty_are_refused(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    with pytest.raises(ValueError, match="a' holds no image"):
        training.load(tmp_path)


def test_a_class_too_small_to_be_split_is_refused(folder):
    write(folder / "class 3" / "only.png")
    with pytest.raises(
        ValueError, match="class 'class 3' has 1 images, too few to use 1 for validation"
    ):
        training.load(folder)
    with pytest.raises(
        ValueError, match="class 'class 1' has 5 images, too few to use 5 for validation"
    ):
        training.load(folder, holdout_last_per_class=5)


@pytest.mark.parametrize("module", ["PIL.Image", "sklearn.datasets"])
def test_a_missing_library_says_what_to_install(monkeypatch, folder, module):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ImportError, match=r"pip install 'keras_structnets\[train\]'"):
        training.load(folder if module == "PIL.Image" else "digits")


def test_names_sort_by_the_values_of_their_numbers(tmp_path):
    paths = [tmp_path / name for name in ("x10", "x9", "X1", "10", "9", "a", "x9b2")]
    assert [path.name for path in natural(paths)] == ["9", "10", "a", "X1", "x9", "x9b2", "x10"]
