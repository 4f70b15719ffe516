"""Twelve tasks that a user has, each as the documentation says to do it, in one process."""

import csv
import io
import json
import pathlib
import subprocess
import sys

import keras
import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

import keras_structnets as ksn
from keras_structnets.__main__ import main
from keras_structnets.training.checkpoint import Checkpoint

ROOT = pathlib.Path(__file__).parent.parent
SMALLEST = min(ksn.zoo.results(), key=lambda row: row["flops"])
SHORT = ["--epochs", "2", "--batch-size", "16", "--lr", "0.01"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """An empty folder to work in."""
    return tmp_path_factory.mktemp("tasks")


@pytest.fixture(scope="module")
def photos(folder):
    """`photos/`: a sub-folder of images per class, of two colours."""
    rng = np.random.default_rng(0)
    for name, colour in {"day": (220, 150, 60), "night": (30, 40, 130)}.items():
        (folder / "photos" / name).mkdir(parents=True)
        for i in range(10):
            pixels = rng.normal(colour, 20, (36, 32, 3)).clip(0, 255).astype("uint8")
            Image.fromarray(pixels).save(folder / "photos" / name / f"{i}.jpg")
    return folder / "photos"


def run(capsys, *argv):
    """What a command prints."""
    assert main([str(argument) for argument in argv]) == 0
    return capsys.readouterr().out


def test_classify_a_photo(photos, capsys):
    command = ("predict", SMALLEST["model"], "--weights", SMALLEST["weights"])
    printed = run(capsys, *command, photos / "day" / "0.jpg", "--top", "5").splitlines()
    assert printed[0].split() == ["image", "class", "probability"]
    assert len(printed) == 6


def test_list_trained_weights_by_accuracy(capsys):
    rows = json.loads(run(capsys, "list", "--pretrained", "--json"))
    assert rows == ksn.zoo.results()
    assert rows[0]["accuracy"] == max(row["accuracy"] for row in rows)
    assert len([*csv.reader(io.StringIO(run(capsys, "list", "--pretrained", "--csv")))]) > len(rows)


def test_evaluate_a_record(folder, capsys):
    classes = ksn.zoo.info(SMALLEST["model"]).records[SMALLEST["weights"]].class_names
    for name in classes[:3]:
        (folder / "few" / name).mkdir(parents=True)
        Image.fromarray(np.full((32, 32, 3), 90, "uint8")).save(folder / "few" / name / "0.png")
    printed = run(capsys, "evaluate", SMALLEST["name"], "--dataset", folder / "few")
    found = ksn.training.predict(SMALLEST["name"], [folder / "few"])
    right = np.mean([name == pathlib.Path(path).parent.name for path, name, _ in found])
    assert printed.startswith(f"accuracy {right:.2%} on 3 images of")


def test_fine_tune_on_a_folder_and_predict_with_class_names(photos, folder, capsys):
    out, options = folder / "tuned", ["--freeze", "--dataset", photos, *SHORT]
    run(
        capsys, "train", SMALLEST["model"], "--weights", SMALLEST["weights"], *options, "--out", out
    )
    rows = json.loads(run(capsys, "predict", out, photos, "--json"))
    assert len(rows) == 20
    assert {row["class"] for row in rows} <= {"day", "night"}


def test_extract_features():
    given = {"weights": SMALLEST["weights"], "include_top": False}
    vectors = ksn.zoo.build(SMALLEST["model"], **given, pooling="avg")
    images = np.zeros((2, *vectors.input_shape[1:]), "uint8")
    assert vectors.predict(images, verbose=0).shape == (2, vectors.output_shape[-1])
    maps = ksn.zoo.features(ksn.zoo.build(SMALLEST["model"], weights=SMALLEST["weights"]))
    assert all(found.ndim == 4 for found in maps.predict(images, verbose=0).values())


def test_train_on_a_folder(photos, folder, capsys):
    options = ["--dataset", photos, "--image-size", "16", *SHORT]
    printed = run(capsys, "train", "simnet_3layer_compact", *options, "--out", folder / "trained")
    assert "validation accuracy" in printed
    assert (folder / "trained" / "trained.keras").is_file()


def test_one_layer_in_a_sequential_learns_digits():
    keras.utils.set_random_seed(0)
    images, labels = load_digits(return_X_y=True)
    images = ((images - images.mean()) / images.std()).reshape(-1, 8, 8, 1)
    order = np.random.default_rng(0).permutation(len(images))
    x, y = images[order], labels[order]
    layers = [ksn.layers.Similarity2D(128, 8), ksn.layers.MEX(10), keras.layers.Flatten()]
    model = keras.Sequential([keras.Input((8, 8, 1)), *layers])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("adam", loss, metrics=["accuracy"])
    model.fit(x[360:], y[360:], epochs=20, verbose=0)
    assert model.evaluate(x[:360], y[:360], verbose=0)[1] > 0.95


def test_count_the_flops_of_a_model_of_keras():
    model = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(4, 3, use_bias=False)])
    multiplications = 36 * 4 * 27  # places, filters, and the size of a patch
    assert ksn.zoo.flops(model).multiplies == multiplications


@pytest.mark.no_backend
def test_change_the_backend_with_one_file(photos, folder):
    model = ksn.zoo.build(SMALLEST["model"], weights=SMALLEST["weights"])
    model.save(folder / "moved.keras")
    given = ["predict", str(folder / "moved.keras"), str(photos / "day" / "0.jpg"), "--json"]
    other = "jax" if keras.backend.backend() == "torch" else "torch"
    command = [sys.executable, "-m", "keras_structnets", *given, "--backend", other]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode == 2 and "No module named" in done.stderr:
        pytest.skip(f"{other} is not installed")
    (row,) = json.loads(done.stdout)
    ((_, _, expected),) = ksn.training.predict(folder / "moved.keras", [photos / "day" / "0.jpg"])
    assert row["probability"] == pytest.approx(expected, abs=1e-5)


def test_resume_an_interrupted_run(photos, folder, capsys, monkeypatch):
    command = [
        "train",
        "simnet_3layer_compact",
        "--dataset",
        str(photos),
        "--image-size",
        "16",
        *SHORT,
    ]
    out, on_epoch_end = folder / "stopped", Checkpoint.on_epoch_end

    def stop(self, epoch, logs=None):
        on_epoch_end(self, epoch, logs)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Checkpoint, "on_epoch_end", stop)
        assert main([*command, "--out", str(out)]) == 130
    assert not (out / "results.json").exists()
    assert "1 of 2 epochs are done" in run(capsys, "train", "--resume", out)
    assert json.loads((out / "results.json").read_text())["runs"][0]["epochs"] == 2


def test_pretrain_without_labels():
    images = load_digits().images[:200, ..., None] * (255 / 16)
    model = ksn.zoo.build("simnet_1layer_l2", input_shape=(8, 8, 1), templates=8)
    before = model.get_weights()
    report = ksn.pretraining.pretrain(model, images, n_patches=500, templates="keep", verbose=0)
    assert report.layers
    assert any(np.any(one != two) for one, two in zip(before, model.get_weights(), strict=True))


@pytest.mark.no_backend
def test_cite():
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for number in ("1506.03059", "1805.07821", "2303.17061"):
        assert f"https://arxiv.org/abs/{number}" in readme
        assert number in citation
    assert f"version: {ksn.__version__}" in citation
