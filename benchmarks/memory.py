"""Memory that each build and prediction of a network keeps, in MiB: `python -m benchmarks.memory`.

It writes benchmarks/results/memory_<backend>.json. Memory is the resident memory of the process, on Linux,
after a garbage collection; the first builds, which also load code, do not count.
"""

import gc
import os
import pathlib

import keras
import numpy as np

import keras_structnets as ksn

from . import timing

ROUNDS, WARM_UP = 20, 5
IMAGES = np.zeros((4, 16, 16, 3), "float32")
NETWORKS = {
    "caffe_convnet": {},  # plain Keras layers
    "simnet_2layer": {"channels": (8, 8)},
    "simnet_1layer_l1": {"templates": 8},
}


def resident():
    """The resident memory of this process in MiB."""
    pages = int(pathlib.Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def kept(f):
    """The MiB that a call of `f` keeps, as a mean over ROUNDS calls."""
    for turn in range(-WARM_UP, ROUNDS):
        if not turn:
            before = resident()
        f()
        gc.collect()
    return round((resident() - before) / ROUNDS, 2)


def predict(name, predictor):
    """Build a network, and predict a few images."""
    model = ksn.zoo.build(name, input_shape=IMAGES.shape[1:], **NETWORKS[name])
    (ksn.zoo.predictor(model) if predictor else model.predict_on_batch)(IMAGES)
    keras.utils.clear_session()


def main():
    """Measure each network by itself and with its predictor."""
    found = {}
    for name in NETWORKS:
        for predictor in (False, True):
            what = f"{name}, predictor" if predictor else name
            found[what] = kept(lambda name=name, predictor=predictor: predict(name, predictor))
            print(f"{what}: {found[what]} MiB", flush=True)
    timing.save("memory", {"MiB kept by each build and prediction": found})


if __name__ == "__main__":
    main()
