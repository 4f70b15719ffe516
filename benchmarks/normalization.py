"""Training steps with our batch normalization against the same with Keras' own.

    KERAS_BACKEND=tensorflow python -m benchmarks.normalization

Writes benchmarks/results/normalization_<backend>.json. The two models of a network take turns in one
process, with 128 images a step; the best round counts.
"""

from unittest import mock

import keras
import numpy as np

import keras_structnets as ksn
from keras_structnets import layers
from keras_structnets.blocks import simnets

from . import timing

NAMES = ("explicit_rd_a", "linear_mix_a", "implicit_rd_a", "simnet_2layer", "g_conv_net")
CLASSES = {"ours": layers.BatchNormalization, "keras": keras.layers.BatchNormalization}


def step_of(name, normalization, batch):
    """A training step of the model with this class of batch normalization."""
    with (
        mock.patch.object(layers, "BatchNormalization", normalization),
        mock.patch.object(simnets, "BatchNormalization", normalization),
    ):
        model = ksn.zoo.build(name)
    assert any(type(layer) is normalization for layer in model.layers)
    model.compile("adam", "sparse_categorical_crossentropy")
    return lambda: model.train_on_batch(*batch)


def main(batch=128, rounds=14):
    """Measure all networks and write the file."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (batch, 32, 32, 3)).astype("float32"), rng.integers(0, 10, batch)
    rows = {}
    for name in NAMES:
        steps = {whose: step_of(name, norm, images) for whose, norm in CLASSES.items()}
        best = {whose: min(times) for whose, times in timing.alternate(steps, rounds).items()}
        rows[name] = {f"{whose}_ms": round(time, 1) for whose, time in best.items()}
        rows[name]["ratio"] = round(best["keras"] / best["ours"], 2)
        print(name, rows[name], flush=True)
    timing.save("normalization", rows)


if __name__ == "__main__":
    main()
