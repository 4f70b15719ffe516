"""Forward and gradients of one layer through public Keras alone; runs inside one backend."""

import keras
import numpy as np


class Probe(keras.Model):
    """Holds a layer's input as a weight, so that one SGD(1.0) step on sum(cotangent * y) shows every gradient."""

    def __init__(self, layer, x, cotangent):
        super().__init__()
        self.layer = layer
        self.x = self.add_weight(shape=x.shape, initializer="zeros", name="x")
        self.x.assign(x)
        self.cotangent = cotangent

    def call(self, _):
        y = self.layer(keras.ops.convert_to_tensor(self.x))
        return keras.ops.sum(y * keras.ops.convert_to_tensor(self.cotangent))


def build(case):
    """The case's layer, built, with the case's weights."""
    import keras_structnets as ksn

    layer = getattr(ksn.layers, case.layer)(**case.config)
    layer.build(case.input_shape)
    for weight in layer.weights:
        weight.assign(case.values(weight.name, tuple(weight.shape)))
    return layer


def run(case):
    """{"y": ..., "grad/x": ..., "grad/<weight>": ...} and the values they belong to, as float32."""
    layer = build(case)
    x = case.values("x", case.input_shape)
    y = keras.ops.convert_to_numpy(layer(keras.ops.convert_to_tensor(x)))
    cotangent = case.values("cotangent", y.shape)
    for weight in layer.weights:
        weight.constraint = None  # a projection after the step would hide the gradient
    probe = Probe(layer, x, cotangent)
    before = _values(probe)
    probe.compile(optimizer=keras.optimizers.SGD(1.0), loss=lambda _, y: y, run_eagerly=True)
    probe.train_on_batch(np.zeros((1, 1), "float32"), np.zeros((1,), "float32"))
    after = _values(probe)
    result = {"y": y, "cotangent": cotangent}
    result |= {f"value/{name}": value for name, value in before.items()}
    result |= {f"grad/{name}": before[name].astype("float64") - after[name] for name in before}
    return result


def _values(probe):
    return {w.name: np.array(w.numpy() if hasattr(w, "numpy") else w, copy=True) for w in probe.trainable_variables}
