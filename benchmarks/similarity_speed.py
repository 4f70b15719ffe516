"""The l2 similarity by matrix products, against the same by broadcasting.

    KERAS_BACKEND=jax python -m benchmarks.similarity_speed

A step is `train_on_batch` with SGD, compiled as Keras compiles it, of a 1x1 similarity of 64 channels
to 64 templates on 16 images of 16x16, forward and backward. The figure is the median of the rounds'
ratios, at least 10. The exit code is 1 if it is missed. Both must give the same numbers.
"""

import statistics
import sys

import keras
import numpy as np

import keras_structnets as ksn
from benchmarks import timing

LIMIT = 10.0
SHAPE, TEMPLATES = (16, 16, 16, 64), 64


class Broadcast(ksn.layers.Similarity2D):
    """The similarity as its formula stands, through a tensor of [b, h, w, inputs, templates]."""

    def call(self, x):
        z, u = self.templates[0, 0], self.similarity_weights[0, 0]
        return -keras.ops.sum(u * keras.ops.square(x[..., None] - z), axis=-2)


def model_of(layer):
    """A 1x1 convolution first, so that the input of the layer needs a gradient too."""
    x = keras.Input(SHAPE[1:])
    model = keras.Model(x, layer(keras.layers.Conv2D(SHAPE[-1], 1)(x)))
    model.compile(keras.optimizers.SGD(1e-3), "mse")
    return model


def main():
    x = np.random.default_rng(0).normal(size=SHAPE).astype("float32")
    fast, slow = model_of(ksn.layers.Similarity2D(TEMPLATES)), model_of(Broadcast(TEMPLATES))
    slow.set_weights(fast.get_weights())
    y = fast.predict(x, verbose=0)
    np.testing.assert_allclose(slow.predict(x, verbose=0), y, rtol=1e-4)
    steps = {
        "matrix products": lambda: fast.train_on_batch(x, y),
        "broadcasting": lambda: slow.train_on_batch(x, y),
    }
    times = timing.alternate(steps, rounds=15)
    pairs = zip(times["broadcasting"], times["matrix products"], strict=True)
    ratio = statistics.median(a / b for a, b in pairs)
    medians = {name: round(statistics.median(values), 2) for name, values in times.items()}
    timing.save(
        "similarity_speed", {"milliseconds": medians, "ratio": round(ratio, 2), "limit": LIMIT}
    )
    return 0 if ratio >= LIMIT else 1


if __name__ == "__main__":
    sys.exit(main())
