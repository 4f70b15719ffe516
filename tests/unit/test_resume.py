"""A run that is stopped or killed goes on to the weights that it would have had."""

import csv
import dataclasses
import errno
import json
import os

import keras
import numpy as np
import pytest

from keras_structnets import training
from keras_structnets.training import _io, checkpoint, report, trainer
from tests.fuzz import kills
from tests.unit import killed
from tests.unit.tiny_model import own_registry

RECIPE = dataclasses.replace(killed.RECIPE, epochs=4)


@pytest.fixture(scope="module", autouse=True)
def noisy():
    with own_registry():
        killed.register()
        yield


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run that was not stopped."""
    out = tmp_path_factory.mktemp("runs") / "run"
    training.train(RECIPE, out, verbose=0)
    return out


class StopError(Exception):
    """Something comes between."""


def train_and_stop(out, monkeypatch, number, name="on_epoch_end", recipe=RECIPE):
    """Train until the Checkpoint's method `name` is called for the `number`th time."""
    calls, method = [], getattr(checkpoint.Checkpoint, name)

    def stopping(self, *args, **kwargs):
        calls.append(name)
        if len(calls) == number:
            raise StopError
        return method(self, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint.Checkpoint, name, stopping)
        with pytest.raises(StopError):
            training.train(recipe, out, verbose=0)


def same_weights(first, second):
    first, second = (
        keras.saving.load_model(folder / f"{folder.name}.keras", compile=False).weights
        for folder in (first, second)
    )
    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(*map(keras.ops.convert_to_numpy, (one, other)))


@pytest.mark.parametrize(
    ("name", "number"),
    [("on_epoch_end", 3), ("write_history", 2), ("save", 1)],
)
def test_a_run_that_was_stopped_ends_as_one_that_was_not(
    whole, tmp_path, monkeypatch, name, number
):
    out = tmp_path / "run"
    train_and_stop(out, monkeypatch, number, name)
    assert not (out / "results.json").exists()
    results = training.resume(out, verbose=0)
    same_weights(out, whole)
    assert (out / "history.csv").read_text() == (whole / "history.csv").read_text()
    expected = json.loads((whole / "results.json").read_text())
    for one in (*results["runs"], *expected["runs"]):
        del one["seconds"]
    assert results == expected
    assert {p.name for p in out.iterdir()} == {p.name for p in whole.iterdir()}


def test_a_run_that_was_stopped_after_its_last_epoch_ends_as_one_that_was_not(
    whole, tmp_path, monkeypatch
):
    with monkeypatch.context() as patch:
        patch.setattr(report, "draw_curves", lambda *_: (_ for _ in ()).throw(StopError))
        with pytest.raises(StopError):
            training.train(RECIPE, tmp_path / "run", verbose=0)
    training.resume(tmp_path / "run", verbose=0)
    same_weights(tmp_path / "run", whole)


SMALL = dataclasses.replace(RECIPE, epochs=3, small_crop_size=(6, 6), small_crop_epochs=2)


@pytest.mark.parametrize("number", [2, 3])  # in the phase of small crops, and after it
def test_a_run_on_small_crops_goes_on_as_if_it_had_not_been_stopped(tmp_path, monkeypatch, number):
    sizes, fit = [], keras.Model.fit

    def noting(self, *args, **kwargs):
        sizes.append((self.input_shape[1:3], kwargs["initial_epoch"], kwargs["epochs"]))
        return fit(self, *args, **kwargs)

    monkeypatch.setattr(keras.Model, "fit", noting)
    training.train(SMALL, tmp_path / "whole", verbose=0)
    assert sizes == [((6, 6), 0, 2), ((8, 8), 2, 3)]
    train_and_stop(tmp_path / "run", monkeypatch, number, recipe=SMALL)
    training.resume(tmp_path / "run", verbose=0)
    same_weights(tmp_path / "run", tmp_path / "whole")
    model = keras.saving.load_model(tmp_path / "run" / "run.keras", compile=False)
    assert model.input_shape[1:3] == (8, 8)


SELECTING = dataclasses.replace(RECIPE, learning_rate=0.5, select="best_val_loss")


@pytest.mark.no_backend
def test_a_run_that_selects_an_epoch_goes_on_to_the_same_one(tmp_path, monkeypatch):
    results = training.train(SELECTING, tmp_path / "whole", verbose=0)
    with open(tmp_path / "whole" / "history.csv") as file:
        rows = [{k: float(v) for k, v in row.items()} for row in csv.DictReader(file)]
    best = min(rows, key=lambda row: row["val_loss"])
    run = results["runs"][0]
    assert run["selected_epoch"] == best["epoch"] < RECIPE.epochs  # else nothing is shown
    assert run["accuracy"] == pytest.approx(best["val_accuracy"], abs=1e-6)
    assert f"number {run['selected_epoch']}" in (tmp_path / "whole" / "card.md").read_text()
    train_and_stop(tmp_path / "run", monkeypatch, RECIPE.epochs, recipe=SELECTING)
    again = training.resume(tmp_path / "run", verbose=0)["runs"][0]
    assert (again["selected_epoch"], again["accuracy"]) == (run["selected_epoch"], run["accuracy"])
    same_weights(tmp_path / "run", tmp_path / "whole")


def test_a_run_that_has_ended_is_left_as_it_is(whole):
    before = {path: path.read_bytes() for path in whole.iterdir()}
    assert training.resume(whole, verbose=0) == json.loads((whole / "results.json").read_text())
    assert {path: path.read_bytes() for path in whole.iterdir()} == before


@pytest.mark.no_backend
def test_an_unfinished_run_is_not_begun_again_by_mistake(tmp_path, monkeypatch):
    out = tmp_path / "run"
    train_and_stop(out, monkeypatch, 2)
    with pytest.raises(ValueError, match="Resume it with --resume"):
        training.train(RECIPE, out, verbose=0)
    state = out / checkpoint.NAME
    whole_state = state.read_bytes()
    state.write_bytes(whole_state[:100])
    with pytest.raises(ValueError, match="is no checkpoint.*--overwrite"):
        training.resume(out, verbose=0)
    state.write_bytes(whole_state)
    with monkeypatch.context() as patch:
        patch.setattr(keras.backend, "backend", lambda: "another")
        with pytest.raises(ValueError, match="--backend"):
            training.resume(out, verbose=0)
    recipe = (out / "recipe.toml").read_text()
    (out / "recipe.toml").write_text(recipe.replace('"adam"', '"sgd"'))
    with pytest.raises(ValueError, match="the `optimizer` of .*recipe.toml' was changed"):
        training.resume(out, verbose=0)
    (out / "recipe.toml").write_text(recipe)
    with monkeypatch.context() as patch:
        patch.setattr(trainer.Batches, "fingerprint", 0)
        with pytest.raises(ValueError, match="images of 'digits' were changed"):
            training.resume(out, verbose=0)
    with pytest.raises(ValueError, match="no run to resume"):
        training.resume(tmp_path, verbose=0)


def test_a_loss_that_is_not_finite_stops_the_run_and_the_last_good_model_is_kept(
    tmp_path, monkeypatch
):
    batches = trainer.Batches.__getitem__

    def poisoned(self, index):
        images, labels = batches(self, index)
        return images * (np.nan if self.epoch == 2 else 1.0), labels

    monkeypatch.setattr(trainer.Batches, "__getitem__", poisoned)
    out = tmp_path / "run"
    with pytest.raises(ValueError, match=r"not finite in epoch 3.*run\.keras.*after epoch 2"):
        training.train(RECIPE, out, verbose=0)
    kept = keras.saving.load_model(out / "run.keras", compile=False)
    assert all(np.isfinite(keras.ops.convert_to_numpy(w)).all() for w in kept.weights)
    assert len((out / "history.csv").read_text().splitlines()) == 3
    assert not (out / "results.json").exists()


@pytest.mark.no_backend
def test_a_full_disk_is_named_and_nothing_is_lost(tmp_path, monkeypatch):
    out = tmp_path / "run"
    train_and_stop(out, monkeypatch, 3)
    before = {path.name: path.read_bytes() for path in out.iterdir()}

    def full(file):
        if (out / f"{_io.PART}{checkpoint.NAME}").exists():
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match=r"cannot write .*checkpoint\.npz.*No space left"):
        training.resume(out, verbose=0)
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before


@pytest.mark.no_backend
def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OSError, match="cannot make the folder"):
        training.train(RECIPE, tmp_path / "file" / "run", verbose=0)


@pytest.mark.no_backend
@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_run_that_is_killed_five_times_ends_as_one_that_is_not():
    assert {end for _, _, end in kills.outcomes(seed=0, count=5)} == {"same weights"}


@pytest.mark.no_backend
def test_a_folder_has_one_writer(whole, tmp_path, monkeypatch):
    out = tmp_path / "run"
    train_and_stop(out, monkeypatch, 2)
    for folder in (out, tmp_path / "new"):
        with _io.held(folder), pytest.raises(ValueError, match="another process writes to"):
            training.train(RECIPE, folder, overwrite=True, verbose=0)
    with _io.held(out), pytest.raises(ValueError, match="another process writes to"):
        training.resume(out, verbose=0)
    assert not (tmp_path / "new").exists()
    training.resume(out, verbose=0)
    same_weights(out, whole)


@pytest.mark.no_backend
def test_a_run_that_was_killed_before_it_replaced_another_is_named(tmp_path, monkeypatch):
    out, other = tmp_path / "run", dataclasses.replace(RECIPE, seed=5)
    train_and_stop(out, monkeypatch, 2)
    seen = []

    def stopping(recipe):
        seen.append((out / trainer.COMING).read_text())
        raise StopError

    with monkeypatch.context() as patch:
        patch.setattr(trainer, "images_of", stopping)
        with pytest.raises(StopError):
            training.train(other, out, overwrite=True, verbose=0)
    assert training.Recipe.from_text(seen[0]) == other
    assert training.Recipe.read(out / "recipe.toml") == RECIPE
    assert not (out / trainer.COMING).exists()
    (out / trainer.COMING).write_text(seen[0])  # as a kill leaves it
    with pytest.raises(ValueError, match="to overwrite .* killed before it began.*--overwrite"):
        training.resume(out, verbose=0)
    results = training.train(other, out, overwrite=True, verbose=0)
    assert results["runs"][0]["seed"] == 5


@pytest.mark.no_backend
def test_what_a_kill_after_the_end_leaves_is_taken_away(whole):
    (whole / checkpoint.NAME).write_bytes(b"state")
    training.resume(whole, verbose=0)
    assert not (whole / checkpoint.NAME).exists()


@pytest.mark.no_backend
def test_files_are_written_through_no_symbolic_link(tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("mine")
    (tmp_path / f"{_io.PART}new").symlink_to(victim)
    _io.write(tmp_path / "new", "content")
    assert victim.read_text() == "mine"
    assert (tmp_path / "new").read_text() == "content"
    assert not (tmp_path / "new").is_symlink()


@pytest.mark.no_backend
def test_damaged_files_of_a_run_are_named(tmp_path, monkeypatch):
    out = tmp_path / "run"
    train_and_stop(out, monkeypatch, 2)
    (out / checkpoint.NAME).write_bytes(b"")
    with pytest.raises(ValueError, match=r"checkpoint\.npz' is no checkpoint"):
        training.resume(out, verbose=0)
    (out / "results.json").write_text('{"runs": [')
    for use in (training.resume, training.evaluate, lambda out: training.publish([out])):
        (out / "run.keras").write_bytes(b"")
        with pytest.raises(ValueError, match=r"(results\.json|run\.keras)' is"):
            use(out)
