"""Training steps with our batch normalization against the same with Keras' own.

KERAS_BACKEND=tensorflow python -m benchmarks.normalization

It writes benchmarks/results/normalization_<backend>.json. The two models of a network take turns in one
process, with 128 images a step; the best round counts.
"""

import json
import pathlib
import time
from unittest import mock

import keras
import numpy as np

import keras_structnets as ksn
from keras_structnets import layers
from keras_structnets.blocks import simnets

NAMES = ("explicit_rd_a", "linear_mix_a", "implicit_rd_a", "simnet_2layer", "g_conv_net")
BATCH, ROUNDS, STEPS = 128, 7, 2


def model_of(name, normalization):
    """The compiled model with this class of batch normalization."""
    with (
        mock.patch.object(layers, "BatchNormalization", normalization),
        mock.patch.object(simnets, "BatchNormalization", normalization),
    ):
        model = ksn.zoo.build(name)
    assert any(type(layer) is normalization for layer in model.layers)
    model.compile("adam", "sparse_categorical_crossentropy")
    return model


def milliseconds(model, x, y):
    """Time of one training step."""
    start = time.perf_counter()
    for _ in range(STEPS):
        model.train_on_batch(x, y)
    return 1000 * (time.perf_counter() - start) / STEPS


def main():
    """Measure all networks and write the file."""
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, (BATCH, 32, 32, 3)).astype("float32")
    y = rng.integers(0, 10, BATCH)
    rows = {}
    for name in NAMES:
        classes = (layers.BatchNormalization, keras.layers.BatchNormalization)
        models = [model_of(name, normalization) for normalization in classes]
        for model in models:
            milliseconds(model, x, y)  # traces and compiles
        rounds = [[milliseconds(model, x, y) for model in models] for _ in range(ROUNDS)]
        ours, keras_own = np.min(rounds, axis=0)
        rows[name] = {
            "ours_ms": round(float(ours), 1),
            "keras_ms": round(keras_own, 1),
            "ratio": round(keras_own / ours, 2),
        }
        print(name, rows[name], flush=True)
    path = pathlib.Path(__file__).parent / f"results/normalization_{keras.backend.backend()}.json"
    path.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
