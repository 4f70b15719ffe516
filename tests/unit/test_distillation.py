"""Training of saved models, and of any model with a teacher."""

import dataclasses

import keras
import numpy as np
import pytest

from keras_structnets import training
from keras_structnets.__main__ import main
from keras_structnets.training import distillation
from keras_structnets.training.conversion import convert_and_save
from tests.unit.test_resume import same_weights, train_and_stop

OPTIONS = {"epochs": 2, "batch_size": 256, "learning_rate": 0.01}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A teacher of the zoo that was trained for two epochs, and its conversion."""
    folder = tmp_path_factory.mktemp("runs")
    sizes = {"widths": (16,), "n_steps": 1}
    recipe = training.Recipe("resnet_a", **OPTIONS, sizes=sizes)
    training.train(recipe, folder / "teacher", verbose=0)
    convert_and_save(
        folder / "teacher", dataset="digits", out=folder / "converted", n_images=64, verbose=0
    )
    return folder


def recipe_of(folder, **options):
    both = {"model": str(folder / "converted"), "teacher": str(folder / "teacher")}
    return training.Recipe(**both | OPTIONS | options)


def weights_of(folder):
    return keras.saving.load_model(folder / f"{folder.name}.keras", compile=False).get_weights()


def logits_model(seed=0):
    keras.utils.set_random_seed(seed)
    return keras.Sequential(
        [keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(10)]
    )


def test_a_converted_model_is_trained_with_its_teacher_by_the_command_line(folder, tmp_path):
    out = tmp_path / "run"
    command = ["train", str(folder / "converted"), "--teacher", str(folder / "teacher")]
    options = ["--distillation", "0.8", "--distillation-temperature", "2", "--epochs", "2"]
    assert main([*command, *options, "--lr", "0.01", "--out", str(out)]) == 0
    recipe = training.Recipe.read(out / "recipe.toml")
    assert (recipe.distillation, recipe.distillation_temperature) == (0.8, 2.0)
    assert recipe.image_size == (8, 8)
    assert f"| teacher | {folder / 'teacher'} |" in (out / "card.md").read_text()
    assert "distillation_loss" in (out / "history.csv").read_text()
    before = training.evaluate(folder / "converted" / "converted.keras", "digits")["accuracy"]
    assert training.evaluate(out)["accuracy"] > before + 0.1
    model = keras.saving.load_model(out / "run.keras", compile=False)
    assert all(layer.trainable for layer in model.layers)


def test_a_teacher_stays_as_it_is_and_its_student_learns_if_both_are_one_file(folder, tmp_path):
    recipe = recipe_of(folder, model=str(folder / "teacher"), epochs=1)
    training.train(recipe, tmp_path / "run", verbose=0)
    new, old = weights_of(tmp_path / "run"), weights_of(folder / "teacher")
    assert all(np.abs(a - b).max() > 0 for a, b in zip(new, old, strict=True))
    assert training.evaluate(tmp_path / "run")["accuracy"] > 0.5
    model = keras.saving.load_model(tmp_path / "run" / "run.keras", compile=False)
    teacher = keras.saving.load_model(folder / "teacher" / "teacher.keras", compile=False)
    assert len(model.trainable_variables) == len(teacher.trainable_variables) > 0


@pytest.mark.parametrize("number", [1, 2])
def test_a_run_with_a_teacher_that_was_stopped_ends_as_one_that_was_not(
    folder, tmp_path, monkeypatch, number
):
    recipe = recipe_of(folder, ema=0.9, schedule="cosine", select="best_val_loss")
    training.train(recipe, tmp_path / "whole", verbose=0)
    train_and_stop(tmp_path / "run", monkeypatch, number, recipe=recipe)
    training.resume(tmp_path / "run", verbose=0)
    same_weights(tmp_path / "run", tmp_path / "whole")
    whole, run = ((tmp_path / name / "history.csv").read_text() for name in ("whole", "run"))
    assert whole == run


@pytest.mark.no_backend
def test_a_teacher_that_was_changed_ends_the_resumed_run(folder, tmp_path, monkeypatch):
    teacher = tmp_path / "teacher.keras"
    logits_model().save(teacher)
    recipe = recipe_of(folder, teacher=str(teacher))
    train_and_stop(tmp_path / "run", monkeypatch, 2, recipe=recipe)
    logits_model(seed=1).save(teacher)
    with pytest.raises(ValueError, match="weights of the `teacher` .* were changed"):
        training.resume(tmp_path / "run", verbose=0)


def test_the_loss_is_that_of_labels_and_of_the_teacher():
    teacher, student = logits_model(0), logits_model(1)
    x, y = np.random.default_rng(0).uniform(size=(6, 8, 8, 1)), np.eye(10)[:6]
    of_teacher, of_student = (keras.ops.convert_to_numpy(m(x)) for m in (teacher, student))
    softmax = keras.Sequential([teacher, keras.layers.Softmax()])
    softmax.build((None, 8, 8, 1))

    def log_softmax(z):
        return z - np.log(np.exp(z).sum(-1, keepdims=True))

    wanted, cold = np.zeros(2), [log_softmax(z / 4) for z in (of_teacher, of_student)]
    wanted[0] = -np.mean(np.sum(y * log_softmax(of_student), axis=-1))
    wanted[1] = 4**2 * np.mean(np.sum(np.exp(cold[0]) * (cold[0] - cold[1]), axis=-1))
    for model in (teacher, softmax):
        distiller = keras.distillation.Distiller(
            distillation.as_logits(model, x),
            distillation.as_logits(student, x),
            distillation.loss_of(4.0),
            student_loss_weight=0.3,
        )
        distiller.compile(loss=keras.losses.CategoricalCrossentropy(from_logits=True))
        found = distiller.evaluate(x, y, verbose=0, return_dict=True)
        np.testing.assert_allclose(found["loss"], wanted @ [0.3, 0.7], rtol=1e-4)


def test_a_saved_model_of_logits_is_trained_by_their_loss(tmp_path):
    model = logits_model()
    model.save(tmp_path / "mine.keras")
    recipe = training.Recipe(str(tmp_path / "mine.keras"), **OPTIONS | {"epochs": 5})
    training.train(recipe, tmp_path / "run", verbose=0)
    found = training.evaluate(tmp_path / "run")
    assert found["accuracy"] > 0.8
    assert "`mine`: a trained model" in (tmp_path / "run" / "card.md").read_text()
    with pytest.raises(ValueError, match="records are of models of the zoo"):
        training.publish([tmp_path / "run"], tmp_path / "record")


@pytest.fixture(scope="module")
def others(tmp_path_factory):
    """Models for other classes or images, or of frozen layers."""
    folder, layers = tmp_path_factory.mktemp("others"), keras.layers
    for name, shape, units in (("size", (9, 8, 1), 10), ("classes", (8, 8, 1), 9)):
        model = keras.Sequential([keras.Input(shape), layers.Flatten(), layers.Dense(units)])
        model.save(folder / f"{name}.keras")
    frozen = logits_model()
    frozen.trainable = False
    frozen.save(folder / "frozen.keras")
    (folder / "text.keras").write_text("no model")
    return folder


@pytest.mark.no_backend
@pytest.mark.parametrize(
    ("key", "name", "message"),
    [
        ("teacher", "missing.keras", "`teacher` .* is no trained model.*is missing"),
        ("teacher", "text.keras", "`teacher` .* is no trained model"),
        ("teacher", "size.keras", r"`teacher` .* takes inputs of \(9, 8, 1\).*`image_size`"),
        ("teacher", "classes.keras", "`teacher` .* knows 9 classes"),
        ("model", "missing.keras", "`model` .* is missing"),
        ("model", "size.keras", r"`model` .* takes inputs of \(9, 8, 1\).*`image_size`"),
        ("model", "classes.keras", "`model` .* has outputs .9,.*10 classes"),
        ("model", "frozen.keras", "all layers of the `model` .* are frozen"),
    ],
)
def test_what_does_not_fit_is_named_before_a_folder_is_made(
    folder, others, tmp_path, key, name, message
):
    recipe = recipe_of(folder, image_size=(8, 8), **{key: str(others / name)})
    with pytest.raises(ValueError, match=message):
        training.train(recipe, tmp_path / "run", verbose=0)
    assert not (tmp_path / "run").exists()


@pytest.mark.no_backend
def test_a_teacher_of_other_class_names_is_refused(folder, tmp_path):
    images = np.zeros((20, 8, 8, 1), "uint8")
    images[:10] = 255
    np.savez(
        tmp_path / "two.npz",
        x_train=images,
        y_train=np.arange(20) % 10,
        class_names=[f"class {i}" for i in range(10)],
    )
    recipe = recipe_of(folder, dataset=str(tmp_path / "two.npz"))
    with pytest.raises(
        ValueError, match="'0', '1'.* and .*'class 0', .*Give a teacher of the same"
    ):
        training.train(recipe, tmp_path / "run", verbose=0)


@pytest.mark.no_backend
@pytest.mark.parametrize("key", ["weights", "pretrain", "sizes", "normalize"])
def test_keys_of_the_zoo_are_refused_for_a_saved_model(folder, tmp_path, key):
    values = {"weights": "digits", "pretrain": "whitening", "sizes": {"filters": 4}}
    recipe = dataclasses.replace(recipe_of(folder), **{key: values.get(key, False)})
    with pytest.raises(ValueError, match=f"`{key}` is for models of the zoo"):
        training.train(recipe, tmp_path / "run", verbose=0)


@pytest.mark.no_backend
@pytest.mark.parametrize("key", ["model", "teacher"])
def test_a_run_does_not_overwrite_what_it_starts_from(folder, key):
    recipe = recipe_of(folder)
    with pytest.raises(ValueError, match=f"holds the `{key}`.*--out"):
        training.train(recipe, getattr(recipe, key), overwrite=True, verbose=0)


@pytest.mark.no_backend
@pytest.mark.parametrize("key", ["distillation", "distillation_temperature"])
def test_weight_and_temperature_are_checked(key):
    with pytest.raises(ValueError, match=f"`{key}` must be a number"):
        training.Recipe("resnet_a", **{key: 0})
