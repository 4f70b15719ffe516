"""With default arguments every layer trains: digits, 20 epochs of default Adam, at least 95%."""

import keras
import numpy as np
import pytest
from sklearn.datasets import load_digits

import keras_structnets as ksn
from tests.cases import LAYERS

pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="training once, on TensorFlow, is enough"
)
GOAL, VALIDATION = 0.95, 360
VECTORS = ("Similarity", "LinearSimilarity", "MEX")
RESHAPED = {1: (16, 4), 2: (8, 8, 1), 3: (4, 4, 4, 1)}  # 64 pixels with 1, 2 or 3 spatial axes


def rank_of(name):
    return int(name[-2]) if name[-2:] in ("1D", "2D", "3D") else 2


def digits(shape):
    """Images of unit variance, shuffled: [n, *shape], and their classes."""
    data = load_digits()
    order = np.random.default_rng(0).permutation(len(data.target))
    x = ((data.data - data.data.mean()) / data.data.std()).astype("float32")[order]
    return x.reshape(-1, *shape), data.target[order]


class StopAtGoal(keras.callbacks.Callback):
    """End training once the network has learned: most do in a few of the 20 epochs."""

    def on_epoch_end(self, epoch, logs):
        self.model.stop_training = logs["val_accuracy"] >= GOAL


def accuracy(layers, shape):
    """Of validation images, after at most 20 epochs of a `Sequential` of `layers`."""
    keras.utils.set_random_seed(0)
    x, y = digits(shape)
    model = keras.Sequential([keras.Input(shape), *layers])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("adam", loss, metrics=["accuracy"], steps_per_execution=45)
    validation = x[:VALIDATION], y[:VALIDATION]
    history = model.fit(
        x[VALIDATION:],
        y[VALIDATION:],
        epochs=20,
        validation_data=validation,
        callbacks=[StopAtGoal()],
        verbose=0,
    )
    return history.history["val_accuracy"][-1]


def network(name):
    """Three layers: one of Keras, ours, and one of Keras."""
    layer, rank = getattr(ksn.layers, name), rank_of(name)
    dense, flatten = keras.layers.Dense(10), keras.layers.Flatten()
    if name in VECTORS:
        return [keras.layers.Dense(64, activation="relu"), layer(64), dense], (64,)
    if name in ("Structure", "Destructure"):
        structured = [ksn.layers.Structure((4, 4)), ksn.layers.Destructure()]
        return [keras.layers.Conv2D(32, 3, activation="relu"), *structured, flatten, dense], (
            8,
            8,
            1,
        )
    conv = getattr(keras.layers, f"Conv{rank}D")
    if name.startswith("Global"):  # a few positions, whose features tell the digit
        wide = conv(64, {1: 10, 2: 6, 3: 3}[rank], activation="relu")
        return [wide, layer(), flatten, dense], RESHAPED[rank]
    first = conv(32, 3, padding="same", activation="relu")
    if name.startswith("GConv"):
        return [first, layer(4, (4,), 3), flatten, dense], RESHAPED[rank]
    if "Similarity" in name or name.startswith("LinearMix"):
        return [first, layer(64, 3), flatten, dense], RESHAPED[rank]
    return [first, layer(), flatten, dense], RESHAPED[rank]


@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_with_default_arguments_learns_digits(name):
    layers, shape = network(name)
    assert accuracy(layers, shape) >= GOAL


def test_a_bare_similarity_and_mex_learn_digits():
    similarity, mex = ksn.layers.Similarity2D(128, 8), ksn.layers.MEX(10)
    assert accuracy([similarity, mex, keras.layers.Flatten()], (8, 8, 1)) >= GOAL
