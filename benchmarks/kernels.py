"""Networks of the zoo with each kernel of a backend, and with the generic form instead.

    KERAS_BACKEND=jax python -m benchmarks.kernels [depthwise]

Times a training step on 128 images of 32x32 and the predictor on 256 in one process, in alternation. Writes
benchmarks/results/kernels_<backend>.json with how many times faster each is with the kernel. A kernel
stays if one of them is at least 1.25 times faster.
"""

import sys
from unittest import mock

import keras
import numpy as np

import keras_structnets as ksn
from keras_structnets.ops import kernels

from . import timing
from .baselines import mean_square, stepper

NETWORKS = {  # a network of the zoo in which the kernel runs often
    "average_pool": "simnet_3layer",
    "batch_normalization": "explicit_rd_a",
    "conv": "g_conv_net",
    "depthwise": "explicit_rd_a",
    "max_pool": "simnet_2layer",
    "pointwise": "linear_mix_a",
    "spectral_filter": "circulant_rd_a",
    "stop_fusion": "explicit_rd_a",
}
BATCH, PREDICTED = 128, 256


def main(pattern="", rounds=9):
    """Measure the kernels of this backend whose name contains `pattern`."""
    found = {"rounds": rounds}
    for operation, name in NETWORKS.items():
        if keras.backend.backend() in kernels.BACKENDS[operation] and pattern in operation:
            figures = found[f"{operation}, {name}"] = measure(operation, name, rounds)
            print(operation, figures, flush=True)
    timing.save("kernels", found)


def measure(operation, name, rounds):
    """{what: figure} of one kernel in one network."""
    x = np.random.default_rng(0).normal(size=(PREDICTED, 32, 32, 3)).astype("float32")
    backends = {"kernel": kernels.BACKENDS[operation], "generic": ()}
    steps = {how: steps_of(name, x, operation, allowed) for how, allowed in backends.items()}
    found = {}
    for what in ("training", "predictor"):
        pair = {how: steps[how][what] for how in steps}
        found |= timing.compare(pair, rounds, "kernel", "generic", what, warm_up=2)
    return found


def steps_of(name, x, operation, backends):
    """A training step and a prediction, in which `backends` have a kernel for the operation."""
    with_backends = mock.patch.dict(kernels.BACKENDS, {operation: backends})
    model = ksn.zoo.build(name, include_preprocessing=False, classifier_activation=None)
    predict = with_backends(lambda: ksn.zoo.predictor(model, batch_size=len(x)))()
    model.compile(keras.optimizers.SGD(1e-6), mean_square)
    return {
        "training": with_backends(stepper(model, x[:BATCH], training=True)),
        "predictor": with_backends(lambda: predict(x)),
    }


if __name__ == "__main__":
    main(*sys.argv[1:])
