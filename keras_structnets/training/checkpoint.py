"""A run's state on disk: all that the rest of the run depends on."""

import csv
import functools
import io
import json
import pathlib
import time
import zipfile
import zlib

import keras
import numpy as np

from keras_structnets.training import _io

NAME = "checkpoint.npz"


class Checkpoint(keras.callbacks.Callback):
    """Saves the state of a run in one file after each epoch.

    The state is every variable of the model (weights, moving statistics and random seeds of layers)
    and of the optimizer (slots, step, averages), and the history. The order of the images, their
    augmentation and the global random state are functions of the seed and the epoch. A resumed run is
    therefore bit-identical to an uninterrupted one.

    An epoch whose loss is not finite is not saved.

    Args:
        folder: the run's folder.
        recipe: the run's `Recipe`.
        batches: the `Batches` that the model is fitted on.
    """

    def __init__(self, folder, recipe, batches):
        super().__init__()
        self.path = pathlib.Path(folder, NAME)
        self.recipe, self.batches = recipe, batches
        self.history = []  # one dict of measures per epoch
        self.best = {}  # arrays of the model's variables, where the recipe selects an epoch
        self.seconds = 0.0
        self._since = time.perf_counter()

    def on_epoch_begin(self, epoch, logs=None):
        """Draw the epoch's seed and shuffle its batches."""
        keras.utils.set_random_seed(epoch_seed(self.recipe.seed, epoch))
        self.batches.start(epoch)

    def on_test_end(self, logs=None):
        """Keep the weights of the lowest validation loss."""
        losses = (row["val_loss"] for row in self.history)
        lowest = min(filter(np.isfinite, losses), default=np.inf)
        if self.recipe.select == "best_val_loss" and logs["loss"] < lowest:
            variables = enumerate(self._network().variables)
            self.best = {f"best_{i}": np.array(_array(v)) for i, v in variables}

    def on_epoch_end(self, epoch, logs=None):
        """Keep the epoch, if its loss is finite."""
        if np.isfinite(logs["loss"]):
            self.history.append({name: float(value) for name, value in logs.items()})
            self.save()
            self.write_history()

    def save(self):
        """Write the file."""
        now = time.perf_counter()
        self.seconds += now - self._since
        self._since = now
        about = {
            "backend": keras.backend.backend(),
            "recipe": self.recipe.text(),
            "data": self.batches.fingerprint,
            "teacher": self._teacher_fingerprint(),
            "history": self.history,
            "seconds": self.seconds,
        }
        arrays = {k: _array(v) for k, v in self._variables().items()} | self.best
        _io.write_by(self.path, lambda file: np.savez(file, about=json.dumps(about), **arrays))

    def select(self):
        """Give the model the weights that the recipe selects; the number of their epoch."""
        if not self.best:
            return len(self.history)
        for variable, value in zip(self._network().variables, self.best.values(), strict=True):
            variable.assign(value)
        losses = [row["val_loss"] for row in self.history]
        return 1 + losses.index(min(filter(np.isfinite, losses)))

    def write_history(self):
        """`history.csv`: a row of measures per epoch."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["epoch", *self.history[0]])
        writer.writerows([i, *row.values()] for i, row in enumerate(self.history, start=1))
        _io.write(self.path.with_name("history.csv"), text.getvalue())

    def restore(self):
        """Restore model, optimizer and history; the number of epochs done.

        Raises:
            ValueError: if the file is of another backend, model, recipe or data set.
        """
        try:
            with np.load(self.path, allow_pickle=False) as file:
                arrays = dict(file)
            about = json.loads(str(arrays.pop("about")))
        except (zipfile.BadZipFile, EOFError, ValueError, KeyError) as error:
            raise ValueError(
                f"train: {str(self.path)!r} is no checkpoint: {error}. Begin again with --overwrite."
            ) from error
        backend = keras.backend.backend()
        if about["backend"] != backend:
            raise ValueError(
                f"train: the run in {str(self.path.parent)!r} began on {about['backend']}, and this is "
                f"{backend}. Resume it with --backend {about['backend']}."
            )
        self._refuse_changes(about)
        best = {name: arrays.pop(name) for name in list(arrays) if name.startswith("best_")}
        variables = self._variables()
        shapes = {name: tuple(array.shape) for name, array in arrays.items()}
        if shapes != {name: tuple(variable.shape) for name, variable in variables.items()}:
            raise ValueError(
                f"train: {str(self.path)!r} holds the state of another model or optimizer. Was the "
                "recipe beside it changed? Begin again with --overwrite."
            )
        for name, variable in variables.items():
            variable.assign(arrays[name])
        self.best = best
        self.history, self.seconds = about["history"], about["seconds"]
        self._since = time.perf_counter()
        if self.history:
            self.write_history()  # a kill may have come between the two files
        return len(self.history)

    def _refuse_changes(self, about):
        """A ValueError if the recipe or the data are not those that the run began with."""
        changed = self.recipe.difference(type(self.recipe).from_text(about["recipe"]))
        if changed:
            raise ValueError(
                f"train: the `{changed[0]}` of {str(self.path.with_name('recipe.toml'))!r} was changed "
                "since the run began. Undo the change, or begin again with --overwrite."
            )
        if about["data"] != self.batches.fingerprint:
            raise ValueError(
                f"train: the images of {self.recipe.dataset!r} were changed since the run in "
                f"{str(self.path.parent)!r} began. Restore them, or begin again with --overwrite."
            )
        if about.get("teacher") != self._teacher_fingerprint():
            raise ValueError(
                f"train: the weights of the `teacher` {self.recipe.teacher!r} were changed since the run in "
                f"{str(self.path.parent)!r} began. Restore them, or begin again with --overwrite."
            )

    def _teacher_fingerprint(self):
        teacher = getattr(self.model, "teacher", None)
        return teacher and functools.reduce(lambda c, w: zlib.crc32(w, c), teacher.get_weights(), 0)

    def _network(self):
        return getattr(self.model, "student", self.model)  # of a distiller

    def _variables(self):
        named = {f"model_{i}": v for i, v in enumerate(self._network().variables)}
        return named | {f"optimizer_{i}": v for i, v in enumerate(self.model.optimizer.variables)}


def _array(variable):
    return keras.ops.convert_to_numpy(variable)


def epoch_seed(seed, epoch):
    """A seed of its own for each epoch, of 31 bits."""
    return int(np.random.SeedSequence((seed, epoch)).generate_state(1)[0] >> 1)
