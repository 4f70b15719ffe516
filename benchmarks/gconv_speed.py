"""What structured neurons cost: a training step of GConv2D over one of an equally large Conv2D.

    KERAS_BACKEND=jax python -m benchmarks.gconv_speed [--rounds 40]

Each model is two 3x3 convolutions in a row, so that the gradients of weights and of an input are in
it: full contractions of one channel of structure (9, 9), and Conv2D from 81 to 81 channels, on 32
images of 32x32. A step is `train_on_batch` with SGD, compiled as Keras compiles it. In each round
both models take one step, in turn first and second; the figure is the median of the rounds' ratios,
at most 1.05. The ratio of processor times stands beside it: it suffers less from what else runs.
The models start from equal weights and must end at equal ones. Results go to
benchmarks/results/gconv_speed_<backend>.json; the exit code is 1 if the figure is missed.
"""

import argparse
import json
import os
import pathlib
import platform
import statistics
import sys
import time

import keras
import numpy as np

import keras_structnets as ksn

LIMIT = 1.05
BATCH, SIZE, STRUCTURE = 32, 32, (9, 9)
N_CHANNELS = STRUCTURE[0] * STRUCTURE[1]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=40)
    rounds = parser.parse_args().rounds
    x = np.random.default_rng(0).normal(size=(BATCH, SIZE, SIZE, N_CHANNELS)).astype("float32")
    structured, plain = gconv_model(), conv_model()
    for ours, theirs in zip(structured.weights, plain.weights, strict=True):
        theirs.assign(folded(ours))
    steps = {
        "gconv": (structured, x.reshape(BATCH, SIZE, SIZE, 1, *STRUCTURE)),
        "conv": (plain, x),
    }
    wall, processor = paired(steps, rounds)
    for ours, theirs in zip(structured.weights, plain.weights, strict=True):
        assert np.allclose(folded(ours), numpy(theirs), atol=1e-3), "the two did not do equal work"
    return report(wall, processor)


def gconv_model():
    """[b, h, w, 1, 9, 9] -> the same, through two full contractions."""
    layers = [ksn.layers.GConv2D(1, STRUCTURE, 3, padding="same") for _ in range(2)]
    return compiled([keras.Input((SIZE, SIZE, 1, *STRUCTURE)), *layers])


def conv_model():
    """[b, h, w, 81] -> the same, through two convolutions."""
    layers = [keras.layers.Conv2D(N_CHANNELS, 3, padding="same") for _ in range(2)]
    return compiled([keras.Input((SIZE, SIZE, N_CHANNELS)), *layers])


def compiled(layers):
    model = keras.Sequential(layers)
    model.compile(keras.optimizers.SGD(1e-3), loss=lambda _, y: keras.ops.mean(keras.ops.square(y)))
    return model


def folded(weight):
    """A weight of GConv2D as its Conv2D has it: contracted axes in the order of the input."""
    value = numpy(weight)
    if value.ndim == 3:
        return value.reshape(N_CHANNELS)  # bias
    return np.swapaxes(value, 3, 4).reshape(3, 3, N_CHANNELS, N_CHANNELS)


def paired(steps, rounds, warm_up=3):
    """Wall and processor milliseconds of each step by name; each round turns the order round."""
    target = np.zeros((BATCH, 1), "float32")
    wall, processor = {name: [] for name in steps}, {name: [] for name in steps}
    for i in range(warm_up + rounds):
        for name in sorted(steps, reverse=i % 2 == 0):
            model, x = steps[name]
            start = time.perf_counter(), time.process_time()
            model.train_on_batch(x, target)
            numpy(model.weights[-1])  # waits until the step is done
            if i >= warm_up:
                wall[name].append(1000 * (time.perf_counter() - start[0]))
                processor[name].append(1000 * (time.process_time() - start[1]))
    return wall, processor


def ratio(milliseconds):
    """(lower quartile, median, upper quartile) of the rounds' ratios."""
    pairs = zip(milliseconds["gconv"], milliseconds["conv"], strict=True)
    return [round(q, 4) for q in statistics.quantiles((a / b for a, b in pairs), n=4)]


def report(wall, processor):
    low, median, high = ratio(wall)
    result = {
        "backend": keras.backend.backend(),
        "keras": keras.__version__,
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "rounds": len(wall["conv"]),
        "gconv_ms": round(statistics.median(wall["gconv"]), 2),
        "conv_ms": round(statistics.median(wall["conv"]), 2),
        "ratio": median,
        "quartiles": [low, high],
        "processor_ratio": ratio(processor)[1],
        "limit": LIMIT,
    }
    path = pathlib.Path(__file__).parent / "results" / f"gconv_speed_{result['backend']}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result))
    return 0 if median <= LIMIT else 1


def numpy(weight):
    return keras.ops.convert_to_numpy(weight)


if __name__ == "__main__":
    sys.exit(main())
