"""`python -m tests.exports`: a table of each network of the zoo in each format of the current backend."""

import argparse
import contextlib
import os
import pathlib
import tempfile

import keras
import numpy as np

import keras_structnets as ksn
from keras_structnets.inference.formats import FORMATS


def networks():
    """The smallest network of each family of the papers."""
    papers = {"GConvNets", "Low-cost parameterizations", "Deep SimNets"}
    names = [name for name in ksn.zoo.list_models() if ksn.zoo.info(name).paper in papers]
    return [name for name in names if not name.endswith(("_b", "_c"))]


def randomized(name, beta=None):
    """A network of the size of the zoo, with weights that are not those of the start."""
    model = ksn.zoo.build(name, classifier_activation=None)
    rng = np.random.default_rng(0)
    for weight in model.weights:
        value = keras.ops.convert_to_numpy(weight)
        weight.assign(value + np.abs(rng.normal(0, 0.05, value.shape)).astype(value.dtype))
    for layer in model.layers:
        if beta is not None and getattr(layer, "trainable_beta", False):
            layer.beta.assign(np.float32(beta))
    return model


def result(model, path, batch_size):
    """The difference of the file, or what went wrong."""
    try:
        return f"{ksn.inference.export(model, path, batch_size=batch_size).difference:.0e}"
    except ValueError as error:
        return str(error).partition(": ")[2]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="networks whose names contain this")
    parser.add_argument("--format", default="", help="a suffix")
    parser.add_argument("--beta", type=float)
    given = parser.parse_args()
    backend = keras.backend.backend()
    for name in networks():
        if given.only not in name:
            continue
        for suffix, kind in FORMATS.items():
            if backend not in kind.packages or given.format not in suffix:
                continue
            batch_size = 1 if backend in kind.fixed else None
            with tempfile.TemporaryDirectory() as folder, quiet():
                path = pathlib.Path(folder) / f"model{suffix}"
                found = result(randomized(name, given.beta), path, batch_size)
            print(f"| {backend} | {name} | {kind.title} | {found[:250]} |", flush=True)


@contextlib.contextmanager
def quiet():
    """Without the log of the exporters."""
    with open(os.devnull, "w") as null, contextlib.redirect_stderr(null):
        yield


if __name__ == "__main__":
    main()
