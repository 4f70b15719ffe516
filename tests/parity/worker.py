"""What one backend computes; started by `tests.parity` with KERAS_BACKEND set."""

import fnmatch
import pathlib
import sys

import keras
import numpy as np

import keras_structnets as ksn
from tests.cases import catalogue
from tests.cases.models import chosen, images, randomize
from tests.parity import probe


def layers(folder, only, backends):
    """The cases, in <backend>.npz."""
    found = {}
    for case in catalogue():
        if fnmatch.fnmatch(case.name, only):
            found |= {f"{case.name}|{key}": value for key, value in probe.run(case).items()}
    np.savez(folder / f"{keras.backend.backend()}.npz", **found)


def save(folder, only, backends):
    """The models of ours with the same weights: a .keras file, and what it predicts."""
    here = folder / keras.backend.backend()
    here.mkdir()
    for name in chosen(only):
        model = ksn.zoo.build(name, classifier_activation=None)
        randomize(model)
        model.save(here / f"{name}.keras")
        np.save(here / f"{name}.npy", _predict(model))
        keras.utils.clear_session()


def load(folder, only, backends):
    """What every model saved by the other backends predicts here."""
    here = keras.backend.backend()
    for other in backends:
        for name in chosen(only):
            if other != here:
                model = keras.saving.load_model(folder / other / f"{name}.keras", compile=False)
                np.save(folder / other / f"{name}.{here}.npy", _predict(model))
                keras.utils.clear_session()


def _predict(model):
    return keras.ops.convert_to_numpy(model(images(model.input_shape[1:]), training=False))


if __name__ == "__main__":
    task, folder, only, *backends = sys.argv[1:]
    {"layers": layers, "save": save, "load": load}[task](pathlib.Path(folder), only, backends)
