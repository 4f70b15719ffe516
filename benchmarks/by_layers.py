"""Where a step of training goes: each layer of a network by itself.

    KERAS_BACKEND=jax python -m benchmarks.by_layers [--models explicit_rd_a g_conv_net]

Forward and backward of 128 images of 32x32, compiled as `fit` compiles it, for each layer on an input
that is a weight, less the time that the same takes with a layer that does nothing; that one has one
input also where the layer has several. Writes the milliseconds by kind of layer, and those of the whole
step of SGD, to benchmarks/results/by_layers_<backend>.json. In the whole step a compiler may merge
layers, so that the sum need not be equal.
"""

import argparse
import statistics

import keras
import numpy as np

import keras_structnets as ksn
from benchmarks import timing
from benchmarks.contenders import Held, mean_square, stepper

BATCH = 128
MODELS = ("explicit_rd_a", "implicit_rd_a", "linear_mix_a", "g_conv_net")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", default=MODELS, choices=ksn.zoo.list_models())
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    ksn.training.keep_memory()
    found = {f"milliseconds, {name}": profile(name, options.rounds) for name in options.models}
    timing.save("by_layers", found)


def profile(name, rounds):
    """{kind of layer: milliseconds of all of that kind, "step": of the whole network}."""
    model = ksn.zoo.build(name, include_preprocessing=False, classifier_activation=None)
    sums, known = {}, {}
    for layer in model.layers:
        if isinstance(layer, keras.layers.InputLayer):
            continue
        given = layer.input if isinstance(layer.input, list) else [layer.input]
        shapes = tuple(tuple(x.shape[1:]) for x in given)
        config = {k: v for k, v in layer.get_config().items() if k != "name"}
        key = (type(layer).__name__, str(config), shapes)
        if key not in known:
            known[key] = alone(layer, shapes, rounds)
        sums[key[0]] = sums.get(key[0], 0.0) + known[key]
    model.compile(keras.optimizers.SGD(1e-6), mean_square)
    x = np.random.default_rng(0).normal(size=(BATCH, 32, 32, 3)).astype("float32")
    times = timing.alternate({"step": stepper(model, x, training=True)}, rounds)
    sums = dict(sorted(sums.items(), key=lambda item: -item[1]))
    found = {kind: float(f"{value:.3g}") for kind, value in sums.items()}
    found |= {"all": float(f"{sum(sums.values()):.3g}"), "step": timing.median(times["step"])}
    print(f"{name}: {found}", flush=True)
    return found


def alone(layer, shapes, rounds):
    """Milliseconds that a layer like `layer` adds to a step."""
    copy = type(layer).from_config(layer.get_config())
    nothing = keras.layers.Activation("linear")
    dummy = np.zeros((BATCH, 1), "float32")
    steps = {}
    for name, f in (("layer", copy), ("nothing", nothing)):
        x = keras.Input(batch_shape=(BATCH, 1))
        inputs = [Held((BATCH, *shape))(x) for shape in shapes]
        several = len(shapes) > 1 and name == "layer"
        model = keras.Model(x, f(inputs if several else inputs[0]))
        model.compile(keras.optimizers.SGD(1e-6), mean_square)
        steps[name] = stepper(model, dummy, training=True)
    times = timing.alternate(steps, rounds)
    pairs = zip(times["layer"], times["nothing"], strict=True)
    return max(0.0, statistics.median(a - b for a, b in pairs))


if __name__ == "__main__":
    main()
