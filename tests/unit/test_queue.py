"""A queue of recipes: ended runs are skipped, interrupted ones resumed, failures do not stop it."""

import dataclasses
import json

import keras
import pytest

from keras_structnets import training
from keras_structnets.__main__ import main
from keras_structnets.training import checkpoint
from tests.unit.test_resume import same_weights

pytestmark = [pytest.mark.usefixtures("tiny_models"), pytest.mark.no_backend]
RECIPE = training.Recipe("tiny", epochs=2, batch_size=256, learning_rate=0.01)


@pytest.fixture
def recipes(tmp_path, monkeypatch):
    """Paths of two recipes that differ in their seed; their runs go into `tmp_path`."""
    monkeypatch.chdir(tmp_path)
    paths = [tmp_path / f"{name}.toml" for name in ("first", "second")]
    for seed, path in enumerate(paths):
        dataclasses.replace(RECIPE, seed=seed).write(path)
    return [str(path) for path in paths]


def test_an_interrupted_queue_goes_on_where_it_was(recipes, tmp_path, monkeypatch, capsys):
    out, epochs = tmp_path / "runs", []
    method = checkpoint.Checkpoint.on_epoch_end

    def interrupted(self, epoch, logs=None):
        epochs.append(epoch)
        if len(epochs) == 4:
            raise KeyboardInterrupt
        return method(self, epoch, logs)

    command = ["train", *recipes]
    with monkeypatch.context() as patch:
        patch.setattr(checkpoint.Checkpoint, "on_epoch_end", interrupted)
        assert main(command) == 130
    assert (out / "first" / "results.json").is_file()
    assert not (out / "second" / "results.json").exists()
    before = (out / "first" / "first.keras").read_bytes()
    capsys.readouterr()
    assert main(command) == 0
    printed = capsys.readouterr().out
    assert "this run has ended" in printed
    assert "1 of 2 epochs are done" in printed
    assert (out / "first" / "first.keras").read_bytes() == before
    keras.utils.clear_session()
    whole = tmp_path / "whole"
    training.train(dataclasses.replace(RECIPE, seed=1), whole, verbose=0)
    same_weights(out / "second", whole)


def test_a_recipe_that_fails_does_not_stop_the_others(recipes, tmp_path, capsys):
    out, wrong = tmp_path / "runs", tmp_path / "wrong.toml"
    wrong.write_text('model = "tiny"\nepoch = 3\n')
    diverging = tmp_path / "diverging.toml"
    dataclasses.replace(RECIPE, optimizer="sgd", learning_rate=1e30).write(diverging)
    command = ["train", str(wrong), str(diverging), recipes[0]]
    assert main(command) == 2
    errors = capsys.readouterr().err
    assert "Did you mean 'epochs'" in errors
    assert "diverging.toml: train: the loss is not finite" in errors
    assert "2 of 3 recipes failed" in errors
    assert json.loads((out / "first" / "results.json").read_text())["runs"][0]["seed"] == 0


def test_a_queue_refuses_a_changed_recipe_and_a_folder_for_two(recipes, tmp_path, capsys):
    out = tmp_path / "runs"
    training.train(RECIPE, out / "second", verbose=0)
    assert main(["train", *recipes]) == 2
    assert "another `seed`" in capsys.readouterr().err
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        RECIPE.write(tmp_path / name / "recipe.toml")
    both = [str(tmp_path / name / "recipe.toml") for name in ("a", "b")]
    assert main(["train", *both]) == 2
    assert "have the same folder" in capsys.readouterr().err
    assert main(["train", *recipes, "--epochs", "3"]) == 2
    assert "Write settings into the recipes" in capsys.readouterr().err


def test_one_recipe_goes_where_it_goes_among_several(recipes, tmp_path, capsys):
    assert main(["train", *recipes, "--out", "runs"]) == 2
    assert "use --out for one recipe alone" in capsys.readouterr().err
    assert main(["train", recipes[0], "--epochs", "1"]) == 0
    assert (tmp_path / "runs" / "first" / "first.keras").is_file()
    assert main(["train", recipes[1], "--out", "runs"]) == 2
    assert "'runs' holds other runs" in capsys.readouterr().err
