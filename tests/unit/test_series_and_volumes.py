"""Series and volumes are read and trained on."""

import json

import keras
import numpy as np
import pytest

from keras_structnets import training

LAYOUTS = {"series": (12, 2), "volumes": (6, 6, 6, 1)}


def write(path, shape, n=24):
    rng, y = np.random.default_rng(0), np.arange(n) % 2
    x = rng.normal(size=(n, *shape)) + y.reshape(-1, *[1] * len(shape))
    if len(shape) == 4:
        x = (x * 30 + 100).clip(0, 255).astype("uint8")
    np.savez(path, x_train=x, y_train=y)


@pytest.mark.parametrize("kind", LAYOUTS)
def test_a_network_trains_on_them(kind, tmp_path):
    write(tmp_path / "x.npz", LAYOUTS[kind])
    assert training.load(tmp_path / "x.npz").x_train.shape[1:] == LAYOUTS[kind]
    sizes = {"widths": (4, 8), "n_steps": 1}
    recipe = training.Recipe(
        "linear_mix_a", dataset=str(tmp_path / "x.npz"), sizes=sizes, epochs=1, batch_size=8
    )
    results = training.train(recipe, tmp_path / "run", verbose=0)
    assert tuple(results["input_shape"]) == LAYOUTS[kind]
    assert (tmp_path / "run" / "card.md").is_file()
    assert (tmp_path / "run" / "run.keras").is_file()


@pytest.mark.no_backend
@pytest.mark.parametrize("kind", LAYOUTS)
def test_a_folder_of_npy_files_is_read(kind, tmp_path):
    write(tmp_path / "x.npz", LAYOUTS[kind])
    with np.load(tmp_path / "x.npz") as file:
        x, y = file["x_train"], file["y_train"]
    for i, (array, label) in enumerate(zip(x, y, strict=True)):
        folder = tmp_path / "classes" / "ab"[label]
        folder.mkdir(parents=True, exist_ok=True)
        np.save(folder / f"{i}.npy", array)
    data = training.load(tmp_path / "classes", holdout_last_per_class=2)
    assert data.class_names == ["a", "b"]
    np.testing.assert_array_equal(data.x_train[data.y_train == 1], x[y == 1][:-2])
    np.testing.assert_array_equal(data.x_val[data.y_val == 0], x[y == 0][-2:])


@pytest.mark.no_backend
@pytest.mark.parametrize(
    ("wrong", "message"),
    [(np.zeros((12, 3)), "one type and shape"), (np.full((12, 2), np.nan), "Use finite numbers")],
    ids=["shape", "nan"],
)
def test_npy_files_that_do_not_fit_are_refused(wrong, message, tmp_path):
    for name, array in (("a", np.zeros((12, 2))), ("b", wrong)):
        (tmp_path / name).mkdir()
        np.save(tmp_path / name / "0.npy", array)
    with pytest.raises(ValueError, match=message):
        training.load(tmp_path)
    (tmp_path / "b" / "0.npy").write_bytes(b"no array")
    with pytest.raises(ValueError, match="damaged"):
        training.load(tmp_path)


@pytest.mark.no_backend
@pytest.mark.parametrize("kind", LAYOUTS)
def test_a_network_is_pretrained_and_trains_on_random_crops_of_them(kind, tmp_path):
    write(tmp_path / "x.npz", LAYOUTS[kind])
    crop = tuple(n - 1 for n in LAYOUTS[kind][:-1])
    recipe = training.Recipe(
        "simnet_2layer",
        dataset=str(tmp_path / "x.npz"),
        sizes={"channels": (3, 4), "kernel_size": 3, "padding": "same"},
        epochs=1,
        batch_size=8,
        augmentation=["crop", "flip"],
        pad=1,
        crop_size=crop,
        pretrain="mixture",
    )
    training.train(recipe, tmp_path / "run", verbose=0)
    model = keras.saving.load_model(tmp_path / "run" / "run.keras", compile=False)
    assert model.input_shape[1:-1] == crop
    found = training.evaluate(tmp_path / "run")
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert found["accuracy"] == results["runs"][0]["accuracy"]


@pytest.mark.no_backend
@pytest.mark.parametrize("crop", [(5,), (6, 6), (7, 6, 6)])
def test_crops_of_another_rank_or_too_large_are_refused(crop, tmp_path):
    write(tmp_path / "x.npz", LAYOUTS["volumes"])

    def train():
        recipe = training.Recipe("linear_mix_a", str(tmp_path / "x.npz"), 1, crop_size=crop)
        training.train(recipe, tmp_path / "run", verbose=0)

    with pytest.raises(ValueError, match="`crop_size`"):
        train()


@pytest.mark.no_backend
@pytest.mark.parametrize("option", [{"augmentation": ("rand_augment",)}, {"mix": "mixup"}], ids=str)
def test_augmentation_of_images_is_refused(option, tmp_path):
    write(tmp_path / "x.npz", LAYOUTS["series"])
    recipe = training.Recipe("linear_mix_a", dataset=str(tmp_path / "x.npz"), epochs=1, **option)
    with pytest.raises(ValueError, match=f"`{next(iter(option))}` .* works on images"):
        training.train(recipe, tmp_path / "run", verbose=0)


@pytest.mark.no_backend
def test_series_are_not_resized(tmp_path):
    write(tmp_path / "x.npz", LAYOUTS["series"])
    with pytest.raises(ValueError, match="`image_size` .* resizes images"):
        training.load(tmp_path / "x.npz", image_size=(8, 8))


@pytest.mark.no_backend
def test_series_of_the_ucr_archive_have_their_class_first(tmp_path):
    (tmp_path / "A_TRAIN.tsv").write_text("2\t0.5\t1\t2\n-1\t3\t4\t5\n")
    (tmp_path / "A_TEST.tsv").write_text("2\t7\t8\t9\n")
    data = training.load(tmp_path / "A_TRAIN.tsv")
    assert (data.class_names, data.y_train.tolist(), data.y_val.tolist()) == (
        ["-1", "2"],
        [1, 0],
        [1],
    )
    assert data.x_train[..., 0].tolist() == [[0.5, 1, 2], [3, 4, 5]]
    (tmp_path / "B_TRAIN.tsv").write_text("1\t0.5\tNaN\n")
    with pytest.raises(ValueError, match="finite series of one length"):
        training.load(tmp_path / "B_TRAIN.tsv")
