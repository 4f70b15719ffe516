"""Baselines: what the layers are compared with, in the same backend."""

import keras
import numpy as np
from keras import ops

import keras_structnets as ksn


class Held(keras.layers.Layer):
    """A weight instead of the input: a training step computes its gradient too."""

    def __init__(self, shape):
        super().__init__()
        normal = keras.initializers.RandomNormal(stddev=1.0)
        self.held = self.add_weight(shape=shape, initializer=normal, name="held")

    def call(self, x):
        return ops.convert_to_tensor(self.held)


class Einsum(keras.layers.Layer):
    """Partial contraction of structure (s, t): an einsum for each entry of a 3x3 kernel."""

    def build(self, input_shape):
        n_in, _, t = input_shape[-3:]
        self.kernel = self.add_weight(shape=(3, 3, n_in, t, 1, t), name="kernel")

    def call(self, x):
        height, width = x.shape[1:3]
        x = ops.pad(x, [(0, 0), (1, 1), (1, 1), (0, 0), (0, 0), (0, 0)])
        kernel = ops.convert_to_tensor(self.kernel)
        return sum(
            ops.einsum("bhwmst,mtce->bhwcse", x[:, i : i + height, j : j + width], kernel[i, j])
            for i in range(3)
            for j in range(3)
        )


def two_products():
    """Two products of matrices of 64 channels, the least that a weighted l2 similarity needs."""
    first, second = (keras.layers.Dense(64, use_bias=False) for _ in range(2))
    return lambda x: first(x) + second(x)


class BroadcastSimilarity(ksn.layers.Similarity2D):
    """The similarity by its formula, through a tensor of [b, h, w, inputs, templates]."""

    def call(self, x):
        z, u = self.templates[0, 0], self.similarity_weights[0, 0]
        return -ops.sum(u * ops.abs(x[..., None] - z) ** self.p, axis=-2)


class BroadcastMEX(ksn.layers.MEX):
    """MEX by logsumexp over a tensor of [b, h, w, inputs, outputs]."""

    def call(self, x):
        beta = ops.convert_to_tensor(self.beta)
        terms = beta * (x[..., None] + ops.convert_to_tensor(self.offsets))
        return (ops.logsumexp(terms, axis=-2) - ops.log(float(x.shape[-1]))) / beta


def fully_coupled(channels, size=3):
    """An ordinary convolution."""
    return keras.layers.Conv2D(channels, size, padding="same", use_bias=False)


def mean_square(_, y):
    """A loss that needs no labels."""
    return ops.mean(ops.square(y))


def model_of(layer, shape, held):
    """`layer` compiled as `fit` compiles it, on a weight of `shape`, or on an input [b, ...]."""
    x = keras.Input(batch_shape=(shape[0], 1) if held else shape)
    model = keras.Model(x, layer(Held(shape)(x)) if held else layer(x))
    model.compile(keras.optimizers.SGD(1e-6), mean_square)
    return model


def stepper(model, x, training):
    """A function that runs one step of the model and waits for its end."""
    target = np.zeros((len(x), 1), "float32")
    if training:
        return lambda: model.train_on_batch(x, target)
    return lambda: model.predict_on_batch(x)
