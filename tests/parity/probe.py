"""Forward and gradients of one layer through public Keras alone; runs inside one backend."""

import keras
import numpy as np

import keras_structnets as ksn

RATE = 2.0**12  # of the one step: large, so that the change of a weight is not lost in its rounding


class Probe(keras.Model):
    """Holds the input as a weight: one SGD step on sum(cotangent * y) shows every gradient.

    The output is held too; it fits only if it has the shape that the layer computes beforehand.
    """

    def __init__(self, layer, x, cotangent):
        super().__init__()
        self.layer = layer
        self.x = self.add_weight(shape=x.shape, name="x")
        self.x.assign(np.nan_to_num(x, posinf=np.inf, neginf=-np.inf))
        self.missing = np.where(np.isnan(x), x, 0)  # added, so that its gradient shows
        self.y = self.add_weight(shape=cotangent.shape, name="y", trainable=False)
        self.cotangent = cotangent

    def call(self, _, training=None):
        y = self.layer(self.x + self.missing, training=training)
        self.y.assign(y)
        y = keras.ops.cast(y, "float32")
        return keras.ops.sum(y * keras.ops.convert_to_tensor(self.cotangent))


def build(case):
    """The case's layer, built, with the case's weights."""
    layer = getattr(ksn.layers, case.layer)(**case.config)
    layer.build(case.input_shape)
    for weight in layer.weights:
        weight.assign(case.values(weight.name, tuple(weight.shape)))
        weight.constraint = None  # a projection after the step would hide the gradient
    return layer


def run(case):
    """{"y", "cotangent", "value/x", "grad/x", "value/<weight>", "grad/<weight>"} of the case."""
    layer = build(case)
    x = case.values("x", case.input_shape)
    cotangent = case.values("cotangent", layer.compute_output_shape(case.input_shape))
    y, before, slopes = _step(layer, x, cotangent, RATE)
    result = {"y": y, "cotangent": cotangent}
    result |= {f"value/{name}": value for name, value in before.items()}
    return result | {f"grad/{name}": slope for name, slope in slopes.items()}


def gradients(layer, x):
    """{"x" or weight: gradient of the sum of the outputs} of a layer as it stands."""
    if not layer.built:
        layer.build(x.shape)
    for weight in layer.weights:
        weight.constraint = None
    cotangent = np.ones(layer.compute_output_shape(x.shape), "float32")
    _, before, slopes = _step(layer, x, cotangent, 1.0)
    for weight in layer.trainable_weights:
        weight.assign(before[weight.name])
    return slopes


def _step(layer, x, cotangent, rate):
    """The output, the values before one step of SGD, and the gradients that the step shows."""
    probe = Probe(layer, x, cotangent)
    eager = keras.backend.backend() != "jax"  # where compiling is slower than running
    probe.compile(keras.optimizers.SGD(rate), loss=lambda _, y: y, run_eagerly=eager)
    before = _values(probe)
    probe.train_on_batch(np.zeros((1, 1), "float32"), np.zeros((1,), "float32"))
    slopes = {}
    for name, after in _values(probe).items():
        with np.errstate(invalid="ignore"):  # infinity less infinity, which is not taken
            moved = np.where(before[name] == after, 0.0, before[name].astype("float64") - after)
        slopes[name] = moved / rate  # an infinite weight that did not move has slope 0
    return np.array(keras.ops.convert_to_numpy(probe.y)), before | {"x": np.array(x)}, slopes


def _values(probe):
    return {w.name: np.array(keras.ops.convert_to_numpy(w)) for w in probe.trainable_variables}
