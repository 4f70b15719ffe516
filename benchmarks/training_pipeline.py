"""What training costs beside the network: how long it waits for batches, and memory.

    KERAS_BACKEND=jax python -m benchmarks.training_pipeline [--model simnet_2layer] [--batch-size 128]

Trains on 45,000 made images of 32x32 pixels, for each augmentation in alternation on batches that are
made as training makes them and on one batch that is there already. Writes to
benchmarks/results/training_pipeline_<backend>.json the median time of a step of both, the share of the
step that the network waits (the median over the rounds), and the largest memory of the process so far.
"""

import argparse
import statistics
import time

import keras
import numpy as np

import keras_structnets as ksn
from benchmarks import timing
from keras_structnets.training.augment import MIXES, Batches

AUGMENTATIONS = {
    "none": [],
    "crop": ["crop"],
    "crop_flip": ["crop", "flip"],
    "resized_crop_flip": ["resized_crop", "flip"],
    "rand_augment": ["crop", "flip", "rand_augment"],
}
N_CLASSES = 10


class Short(Batches):
    """Batches of which an epoch takes `steps`, each epoch others; with `ready`, always that one."""

    steps, ready = 10, None

    def on_epoch_begin(self):
        self.start(self.epoch + 1)

    def __len__(self):
        return self.steps

    def __getitem__(self, index):
        return self.ready or super().__getitem__(index)


class Clock(keras.callbacks.Callback):
    """Milliseconds of a step in each epoch, without what Keras does before the second and after the last."""

    def __init__(self):
        super().__init__()
        self.times = []

    def on_train_batch_end(self, batch, logs=None):
        last = self.params["steps"] - 1
        if batch in (0, last):
            float(logs["loss"])  # waits for the step to end
            if batch == last:
                self.times.append(1e3 * (time.perf_counter() - self.begin) / last)
            self.begin = time.perf_counter()


def main():
    ksn.training.keep_memory()
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="simnet_2layer")
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--images", type=int, default=45_000)
    parser.add_argument("--steps", type=int, default=10, help="in a turn")
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (options.images, 32, 32, 3), "uint8")
    labels = rng.integers(0, N_CLASSES, options.images)
    model = ksn.zoo.build(options.model, num_classes=N_CLASSES)
    model.compile("adam", "categorical_crossentropy")
    found = {}
    cases = [(name, "none") for name in AUGMENTATIONS]
    cases += [("crop_flip", mix) for mix in MIXES[1:]]
    for augmentation, mix in cases:
        recipe = ksn.training.Recipe(
            options.model,
            batch_size=options.batch_size,
            augmentation=AUGMENTATIONS[augmentation],
            mix=mix,
        )
        made, ready = (Short(images, labels, N_CLASSES, recipe) for _ in range(2))
        made.steps = ready.steps = options.steps
        ready.ready = made[0]
        name = augmentation if mix == "none" else f"{augmentation}, {mix}"
        found[name] = measure(model, made, ready, options.rounds)
        print(name, found[name], flush=True)
    timing.save(
        "training_pipeline",
        {"model": options.model, "batch size": options.batch_size, "images": options.images}
        | {"augmentations": found},
    )


def measure(model, made, ready, rounds):
    """Train on both in alternation."""
    batches, clocks = {"made": made, "ready": ready}, {"made": Clock(), "ready": Clock()}

    def turn(name):
        model.fit(batches[name], verbose=0, shuffle=False, callbacks=[clocks[name]])

    timing.alternate({name: lambda name=name: turn(name) for name in batches}, rounds, warm_up=1)
    made, ready = (clocks[name].times[1:] for name in batches)
    shares = [1 - r / m for r, m in zip(ready, made, strict=True)]
    return {
        "milliseconds per step": timing.median(made),
        "with a ready batch": timing.median(ready),
        "share of waiting": round(max(0.0, statistics.median(shares)), 3),
        "largest memory, GiB": timing.peak_memory(),
    }


if __name__ == "__main__":
    keras.utils.set_random_seed(0)
    main()
