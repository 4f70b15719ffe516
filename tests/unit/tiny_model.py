"""A small architecture for the tests of training, taken out of the zoo again afterwards."""

import contextlib

import keras
import pytest

from keras_structnets import zoo
from keras_structnets.zoo import registry


@keras.saving.register_keras_serializable(package="keras_structnets_tests")
class Forgetful(keras.layers.Layer):
    """Multiplies by a factor that it does not save."""

    def __init__(self, factor=1.0, **kwargs):
        super().__init__(**kwargs)
        self.factor = factor

    def call(self, x):
        return x * self.factor

    def get_config(self):
        return {"name": self.name}


def head(features, num_classes):
    return keras.layers.Dense(num_classes, name="logits")(keras.layers.Flatten()(features))


@contextlib.contextmanager
def own_registry():
    """What is registered within is taken out of the zoo again afterwards."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(registry, "_ENTRIES", dict(registry._ENTRIES))
        yield


@contextlib.contextmanager
def tiny_zoo():
    """The zoo with three small names.

    `tiny` is one convolution, `forgetful` saves badly, `bookish` needs a library that is not there.
    """
    with own_registry():
        register = {"paper": "none", "input_shape": (8, 8, 1), "head": head}

        @zoo.register("tiny", summary="one convolution", printed={10: "3.0K"}, **register)
        def tiny(x, *, filters=8):
            return keras.layers.Conv2D(filters, 3, activation="relu", name="convolution")(x)

        @zoo.register("forgetful", summary="saves badly", **register)
        def forgetful(x, *, filters=8):
            return Forgetful(3.0)(tiny(x, filters=filters))

        @zoo.register("bookish", summary="needs a library", **register)
        def bookish(x):
            raise ImportError("bookish needs books: pip install keras_structnets[books]")

        yield
