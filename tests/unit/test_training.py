"""Recipes, training runs, and what can be done with a finished run."""

import csv
import dataclasses
import json
import pathlib

import keras
import numpy as np
import pytest
from PIL import Image

from keras_structnets import training
from keras_structnets.training import catalogue, report

RECIPE = training.Recipe("tiny", epochs=2, batch_size=128, learning_rate=0.01)


pytestmark = pytest.mark.usefixtures("tiny_models")


@pytest.fixture(scope="module")
def run(tiny_models, tmp_path_factory):
    """The folder and the results of one run on the digits."""
    out = tmp_path_factory.mktemp("runs") / "first"
    return out, training.train(RECIPE, out, verbose=0)


@pytest.mark.no_backend
def test_a_recipe_survives_its_file(tmp_path):
    recipe = training.Recipe(
        'a "model" \\ é',
        dataset="some/folder",
        optimizer="nesterov",
        learning_rate=1e-05,
        schedule="step",
        drop_epochs=[3, 7],
        weight_decay=1e-4,
        augmentation=["crop", "flip"],
        image_size=(32, 48),
        sizes={"channels": 16, "p": 2.5, "padded": True, "form": "l2", "widths": [1, 2]},
    )
    recipe.write(tmp_path / "recipe.toml", "one line\nand another")
    text = (tmp_path / "recipe.toml").read_text(encoding="utf-8")
    assert text.startswith("# one line\n# and another\nmodel = ")
    assert training.Recipe.read(tmp_path / "recipe.toml") == recipe


@pytest.mark.no_backend
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('model = "tiny"\nepoch = 3', "unknown `key` 'epoch'. Did you mean 'epochs'"),
        ("epochs = 3", "the key `model` is missing"),
        ("model =", "is not TOML"),
    ],
)
def test_a_recipe_file_with_a_wrong_key_is_refused(tmp_path, text, message):
    (tmp_path / "recipe.toml").write_text(text)
    with pytest.raises(ValueError, match=message):
        training.Recipe.read(tmp_path / "recipe.toml")


@pytest.mark.no_backend
@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("model", ""),
        ("dataset", 3),
        ("epochs", 0),
        ("batch_size", 1.5),
        ("optimizer", "adm"),
        ("learning_rate", -1.0),
        ("learning_rate", float("nan")),
        ("schedule", "cosin"),
        ("warmup_epochs", -1.0),
        ("warmup_epochs", 100.0),
        ("drop_epochs", [7, 3]),
        ("drop_factor", 0),
        ("weight_decay", -1e-4),
        ("l2", -1e-4),
        ("augmentation", ["flop"]),
        ("augmentation", "flip"),
        ("clipnorm", -1.0),
        ("flip", "always"),
        ("small_crop_size", (8, 8)),
        ("small_crop_epochs", 1),
        ("channels", 2),
        ("pad", -1),
        ("crop_size", (8, 8)),
        ("crop_area", 0),
        ("mix", "mix"),
        ("label_smoothing", 1.0),
        ("ema", -0.1),
        ("seed", "0"),
        ("image_size", (32, 0)),
        ("validation_fraction", 1.0),
        ("holdout_last_per_class", -1),
        ("sizes", [1]),
        ("select", "best"),
        ("normalize", 1),
    ],
)
def test_a_recipe_with_a_wrong_value_names_the_key(key, value):
    with pytest.raises(ValueError, match=f"`{key}`"):
        dataclasses.replace(RECIPE, **{key: value})


@pytest.mark.no_backend
def test_the_learning_rate_follows_the_schedule():
    def rates(**settings):
        recipe = dataclasses.replace(RECIPE, learning_rate=0.1, epochs=10, **settings)
        rate = recipe.make_optimizer(steps_per_epoch=5)._learning_rate
        return [float(rate(step)) if callable(rate) else 0.1 for step in (0, 10, 11, 25, 50)]

    assert rates() == [0.1] * 5
    assert rates(schedule="cosine") == pytest.approx(
        [0.05 * (1 + np.cos(np.pi * step / 50)) for step in (0, 10, 11, 25, 50)], abs=1e-7
    )
    warm = rates(schedule="cosine", warmup_epochs=2.2)  # 11 steps
    assert warm == pytest.approx(
        [0, 0.1 * 10 / 11, *(0.05 * (1 + np.cos(np.pi * i / 39)) for i in (0, 14, 39))], abs=1e-7
    )
    cycle = rates(schedule="one_cycle")  # 15 steps up
    assert cycle == pytest.approx(
        [
            0.1 / 25,
            0.1 / 25 + (0.1 - 0.1 / 25) * 10 / 15,
            0.1 / 25 + (0.1 - 0.1 / 25) * 11 / 15,
            0.05 * (1 + np.cos(np.pi * 10 / 35)),
            0,
        ],
        abs=1e-7,
    )
    steps = rates(schedule="step", drop_epochs=[2, 6], drop_factor=0.5)
    assert steps == pytest.approx([0.1, 0.1, 0.05, 0.05, 0.025])


@pytest.mark.parametrize("name", ["adam", "adamw", "sgd", "nesterov"])
def test_each_optimizer_takes_rate_and_decay(name):
    recipe = dataclasses.replace(RECIPE, optimizer=name, weight_decay=0.01)
    optimizer = recipe.make_optimizer(steps_per_epoch=5)
    assert float(optimizer.learning_rate) == pytest.approx(0.01)
    assert optimizer.weight_decay == 0.01


@pytest.mark.parametrize("name", ["adam", "adamw", "sgd", "nesterov"])
def test_each_optimizer_works_by_itself_and_clips_gradients_if_asked(name):
    optimizer = dataclasses.replace(RECIPE, optimizer=name).make_optimizer(steps_per_epoch=5)
    assert optimizer.clipnorm is None
    clipped = dataclasses.replace(RECIPE, optimizer=name, clipnorm=2.0)
    assert clipped.make_optimizer(steps_per_epoch=5).clipnorm == 2.0


@pytest.mark.parametrize("name", ["adam", "adamw", "sgd", "nesterov"])
def test_l2_is_a_part_of_the_gradient(name):
    """With it a step is that of gradient + l2 * weight without it."""
    start, gradient = np.array([2.0, -3.0], "float32"), np.array([0.1, 0.5], "float32")

    def after_three_steps(l2, gradient_of):
        recipe = dataclasses.replace(RECIPE, optimizer=name, learning_rate=0.1, l2=l2, ema=0.9)
        optimizer, weight = recipe.make_optimizer(steps_per_epoch=5), keras.Variable(start)
        optimizer.build([weight])
        for _ in range(3):
            found = gradient_of(weight.numpy())
            optimizer.apply([keras.ops.convert_to_tensor(found)], [weight])
        return weight.numpy()

    decayed = after_three_steps(0.01, lambda weight: gradient)
    expected = after_three_steps(0.0, lambda weight: gradient + 0.01 * weight)
    np.testing.assert_allclose(decayed, expected, rtol=1e-6)


def test_l2_adds_to_the_momentum_in_training():
    """Without another gradient Nesterov's momentum alone moves the weights; the file keeps l2."""
    recipe = dataclasses.replace(RECIPE, optimizer="nesterov", learning_rate=0.1, l2=0.3)
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3, use_bias=False)])
    model.compile(recipe.make_optimizer(4), lambda y, found: 0.0 * keras.ops.sum(found, -1))
    (weight,), velocity = model.get_weights(), 0.0
    model.fit(np.ones((8, 2)), np.ones((8, 3)), batch_size=2, verbose=0)
    for _ in range(4):
        velocity = 0.9 * velocity - 0.1 * 0.3 * weight
        weight = weight + 0.9 * velocity - 0.1 * 0.3 * weight
    np.testing.assert_allclose(model.get_weights()[0], weight, rtol=1e-6)
    stored = keras.saving.serialize_keras_object(model.optimizer)
    assert keras.saving.deserialize_keras_object(stored).l2 == 0.3


def accuracy_of(results):
    return results["runs"][0]["accuracy"]


def test_a_run_writes_its_folder(run):
    out, results = run
    assert {path.name for path in out.iterdir()} == {
        "first.keras",
        "history.csv",
        "curves.png",
        "confusion.png",
        "recipe.toml",
        "results.json",
        "card.md",
    }
    assert (out / "card.md").read_text() == report.record_card_of(out)
    assert json.loads((out / "results.json").read_text()) == results
    assert results["parameters"] == (9 * 8 + 8) + (36 * 8 * 10 + 10)
    (only,) = results["runs"]
    assert only["seed"] == 0
    assert only["epochs"] == 2
    assert only["seconds"] > 0
    assert only["backend"] == keras.backend.backend()
    assert "unknown" not in only["versions"].values()
    assert only["machine"]["cores"] >= 1
    assert only["machine"]["device"] in ("cpu", "gpu", "tpu")
    assert training.Recipe.read(out / "recipe.toml") == RECIPE
    with open(out / "history.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["1", "2"]
    assert float(rows[-1]["val_accuracy"]) == pytest.approx(accuracy_of(results))
    with Image.open(out / "curves.png") as image:
        assert image.format == "PNG"
        assert len(np.unique(np.asarray(image.convert("L")))) > 10


def test_a_run_learns_and_its_accuracy_is_that_of_the_saved_model(run):
    out, results = run
    assert accuracy_of(results) > 0.8  # chance is 0.1
    data = training.load("digits")
    model = keras.saving.load_model(out / "first.keras")
    accuracy = np.mean(np.argmax(model.predict(data.x_val, verbose=0), -1) == data.y_val)
    assert accuracy_of(results) == pytest.approx(accuracy)


@pytest.mark.no_backend
def test_an_earlier_run_is_not_overwritten_unless_asked(run, monkeypatch):
    out, _ = run
    before = (out / "results.json").read_bytes()
    with pytest.raises(ValueError, match="holds an earlier run.*--out.*--overwrite"):
        training.train(RECIPE, out, verbose=0)
    assert (out / "results.json").read_bytes() == before
    with pytest.raises(ValueError, match="is a file"):
        training.train(RECIPE, out / "results.json", verbose=0)


def test_the_same_seed_gives_the_same_run_and_another_seed_another(run, tmp_path):
    out, _ = run
    (tmp_path / "again").mkdir()
    (tmp_path / "again" / "old").write_text("of an earlier run")
    training.train(RECIPE, tmp_path / "again", overwrite=True, verbose=0)
    training.train(dataclasses.replace(RECIPE, seed=1), tmp_path / "other", verbose=0)
    first, again, other = (
        np.loadtxt(folder / "history.csv", delimiter=",", skiprows=1)
        for folder in (out, tmp_path / "again", tmp_path / "other")
    )
    np.testing.assert_allclose(again, first, rtol=1e-5)
    assert np.abs(other - first).max() > 1e-3


def test_a_run_with_augmentation_decay_and_schedule_trains(tmp_path):
    recipe = dataclasses.replace(
        RECIPE,
        epochs=3,
        augmentation=["crop"],
        pad=1,
        schedule="cosine",
        weight_decay=1e-4,
    )
    results = training.train(recipe, tmp_path / "out", verbose=0)
    assert accuracy_of(results) > 0.5
    assert training.evaluate(tmp_path / "out")["accuracy"] == accuracy_of(results)


@pytest.mark.no_backend
def test_the_confusion_matrix_has_a_row_for_each_class():
    predictions = np.eye(3)[[0, 1, 1, 2, 0]]
    counts = report.confusion(predictions, np.array([0, 1, 2, 2, 0]))
    np.testing.assert_array_equal(counts, [[2, 0, 0], [0, 1, 0], [0, 1, 1]])


@pytest.mark.no_backend
def test_data_sets_have_their_own_names_in_titles():
    for dataset, title in (
        ("cifar10", "CIFAR-10"),
        ("data/cifar100", "CIFAR-100"),
        ("data/cifar10.tar.xz", "CIFAR-10"),
        ("data/cifar10_jpeg", "CIFAR-10 (JPEG)"),
        ("some/where.zip", "where"),
    ):
        assert report.title(dataset) == title


def test_weights_that_are_not_finite_are_refused(run, tmp_path):
    model = keras.saving.load_model(run[0] / "first.keras")
    weights = model.get_weights()
    weights[0][0] = np.nan
    model.set_weights(weights)
    model.save(tmp_path / "nan.keras")
    with pytest.raises(ValueError, match=r"nan\.keras.* is not finite"):
        training.evaluate(tmp_path / "nan.keras", "digits")


def test_small_crops_need_weights_that_do_not_depend_on_the_image_size(tmp_path):
    recipe = dataclasses.replace(RECIPE, small_crop_size=(6, 6), small_crop_epochs=1)
    with pytest.raises(ValueError, match=r"'tiny' depend on the image size"):
        training.train(recipe, tmp_path / "out", verbose=0)
    assert not (tmp_path / "out").exists()


def test_a_run_on_crops_with_mixing_smoothing_and_average_trains(tmp_path, pictures):
    recipe = dataclasses.replace(
        RECIPE,
        epochs=4,
        image_size=(10, 10),
        crop_size=(8, 8),
        augmentation=["crop"],
        pad=0,
        mix="mixup",
        label_smoothing=0.1,
        ema=0.9,
    )
    results = training.train(recipe, tmp_path / "out", verbose=0)
    assert results["input_shape"] == [8, 8, 1]
    assert accuracy_of(results) > 0.5
    assert training.evaluate(tmp_path / "out")["accuracy"] == accuracy_of(results)
    folder, _ = pictures
    paths = sorted(folder.rglob("*.png"))
    right = [name == path.parent.name for path, (_, name, _) in _predicted(tmp_path / "out", paths)]
    assert sum(right) > 10  # of 20


def _predicted(out, paths):
    return zip(paths, training.predict(out, paths), strict=True)


def test_a_model_that_saves_badly_is_found_out(tmp_path):
    recipe = dataclasses.replace(RECIPE, model="forgetful", epochs=1)
    with pytest.raises(RuntimeError, match="predicts otherwise"):
        training.train(recipe, tmp_path / "out", verbose=0)


def test_a_loss_that_is_not_finite_ends_the_run(tmp_path):
    recipe = dataclasses.replace(RECIPE, optimizer="sgd", learning_rate=1e30)
    with pytest.raises(ValueError, match="not finite.*learning_rate below 1e\\+30"):
        training.train(recipe, tmp_path / "out", verbose=0)
    assert not (tmp_path / "out").exists()


@pytest.mark.skipif(
    keras.backend.backend() != "tensorflow",
    reason="TensorFlow, which writes the logs, loads slowly",
)
def test_a_run_writes_logs_for_tensorboard_where_asked(tmp_path):
    recipe = dataclasses.replace(RECIPE, epochs=1)
    training.train(recipe, tmp_path / "out", tensorboard=True, verbose=0)
    assert list((tmp_path / "out" / "tensorboard").rglob("events.out.tfevents.*"))


def test_a_saved_model_is_evaluated_on_what_it_was_trained_on(run):
    out, results = run
    expected = {"accuracy": accuracy_of(results), "images": 359, "classes": 10, "dataset": "digits"}
    assert training.evaluate(out) == pytest.approx(expected)
    assert training.evaluate(out / "first.keras", "digits") == pytest.approx(expected)


@pytest.fixture
def pictures(tmp_path):
    """The first twenty held-out digits as files, in folders by class."""
    data = training.load("digits")
    for i in range(20):
        label = data.class_names[data.y_val[i]]
        (tmp_path / "data" / label).mkdir(parents=True, exist_ok=True)
        image = data.x_val[i, ..., 0].round().astype("uint8")
        Image.fromarray(image).save(tmp_path / "data" / label / f"{i}.png")
    return tmp_path / "data", data.x_val[:20].round()


def test_a_saved_model_predicts_files(run, pictures):
    out, _ = run
    folder, images = pictures
    paths = sorted(folder.rglob("*.png"), key=lambda path: int(path.stem))
    model = keras.saving.load_model(out / "first.keras")
    expected = model.predict(images, verbose=0)
    found = training.predict(out, paths)
    assert [path for path, _, _ in found] == [str(path) for path in paths]
    assert [name for _, name, _ in found] == [str(label) for label in expected.argmax(-1)]
    np.testing.assert_allclose([p for _, _, p in found], expected.max(-1), rtol=1e-5)


@pytest.mark.no_backend
def test_predicting_names_files_that_are_no_images(run, pictures, tmp_path):
    out, _ = run
    picture = next(pictures[0].rglob("*.png"))
    broken = tmp_path / "broken.png"
    broken.write_text("no picture")
    with pytest.warns(UserWarning, match="left out 1 of 2 files.*broken"):
        assert len(training.predict(out, [broken, picture])) == 1
    with pytest.warns(UserWarning, match="broken"), pytest.raises(ValueError, match="none of 1"):
        training.predict(out, [broken])
    with pytest.raises(FileNotFoundError):
        training.predict(out, [tmp_path / "missing.png"])


@pytest.mark.no_backend
def test_evaluating_on_other_classes_or_without_a_model_is_refused(run, pictures, tmp_path):
    out, _ = run
    folder = pictures[0]
    next(folder.iterdir()).rename(folder / "unicorn")
    with pytest.raises(ValueError, match="unicorn.*are not among those of the model"):
        training.evaluate(out, folder)
    with pytest.raises(ValueError, match="is missing. Give a run's folder"):
        training.evaluate(tmp_path / "nothing")
    (tmp_path / "text.keras").write_text("no model")
    with pytest.raises(ValueError, match="is not a saved Keras model"):
        training.evaluate(tmp_path / "text.keras", "digits")
    alone = pathlib.Path(tmp_path / "alone.keras")
    alone.write_bytes((out / "first.keras").read_bytes())
    with pytest.raises(ValueError, match="no recipe.toml beside it"):
        training.evaluate(alone)
    assert training.evaluate(alone, "digits") == training.evaluate(out)


def test_a_run_trains_on_a_folder_and_evaluates_on_its_held_out_images(tmp_path):
    rng = np.random.default_rng(0)
    for name, brightness in (("dark", 40), ("light", 200)):
        (tmp_path / "data" / name).mkdir(parents=True)
        for i in range(10):
            pixels = (brightness + rng.integers(-30, 30, (9, 9, 3))).astype("uint8")
            Image.fromarray(pixels).save(tmp_path / "data" / name / f"{i}.png")
    recipe = dataclasses.replace(
        RECIPE,
        dataset=str(tmp_path / "data"),
        epochs=20,
        batch_size=8,
        image_size=(8, 8),
        holdout_last_per_class=3,
    )
    results = training.train(recipe, tmp_path / "out", verbose=0)
    assert results["class_names"] == ["dark", "light"]
    assert results["images"] == {"training": 14, "validation": 6}
    assert accuracy_of(results) == 1.0
    assert training.evaluate(tmp_path / "out")["images"] == 6
    (tmp_path / "data").rename(tmp_path / "moved")
    assert training.evaluate(tmp_path / "out", tmp_path / "moved")["images"] == 20


@pytest.mark.no_backend
def test_parameters_are_counted_without_weights():
    assert catalogue.parameter_count("tiny", 10) == 80 + 2890
    assert catalogue.parameter_count("tiny", 100) == 80 + 28900
    layer = keras.layers.Dense(2)  # counting leaves nothing behind that would spoil a later model
    layer.build((None, 3))
    assert np.isfinite(keras.ops.convert_to_numpy(layer(np.ones((1, 3), "float32")))).all()


@pytest.mark.no_backend
def test_default_folders_carry_model_and_dataset():
    assert report.default_folder(RECIPE) == pathlib.Path("runs/tiny_digits")
    moved = dataclasses.replace(RECIPE, dataset="some/where/")
    assert report.default_folder(moved) == pathlib.Path("runs/tiny_where")
