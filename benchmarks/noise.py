"""Robustness of the trained networks to noise, and their generalization gap.

These are claims of Low-cost parameterizations, section 4, and of GConvNets, section 4.4.

    KERAS_BACKEND=jax python -m benchmarks.noise FOLDER [--images 200] [--only "linear*"]

FOLDER holds the training images of CIFAR-10, one sub-folder for each class; the last 500 of each class, by
file name, are for validation. So many images of each class are taken, with one draw of the noise. The
figures go to benchmarks/results/noise.json, noise.md and gap.md.

- pixels: Gaussian noise of this deviation, where pixels are 0..255; the result is clipped to that range.
- weights: Gaussian noise on each trainable weight, of this share of the root mean square of its tensor.
- gap: the accuracy on training images less that on validation images, both without augmentation.
"""

import argparse
import fnmatch
import json
import pathlib

import keras
import numpy as np

import keras_structnets as ksn
from benchmarks.timing import RESULTS
from keras_structnets.zoo import records

PIXELS = (5, 10, 20, 40)
WEIGHTS = (0.01, 0.03, 0.1)
KNOWN = "cifar10"  # records of other data may have been trained on these validation images


def accuracy(model, images, labels):
    """Share of images whose class is found."""
    found = model.predict(images, batch_size=100, verbose=0)
    return float(np.mean(np.argmax(found, axis=-1) == labels))


def with_noise(images, deviation):
    """Pixels with noise."""
    noise = np.random.default_rng(0).normal(0, deviation, images.shape)
    return np.clip(images + noise, 0, 255).astype("float32")


def accuracy_of_noisy_weights(model, share, images, labels):
    """The accuracy while the weights have noise."""
    rng, before = np.random.default_rng(0), model.get_weights()
    for weight in model.trainable_variables:
        value = keras.ops.convert_to_numpy(weight)
        size = np.sqrt(np.mean(value**2))
        noisy = value + rng.normal(0, share * size, value.shape)
        weight.assign(weight.constraint(noisy.astype("float32")) if weight.constraint else noisy)
    found = accuracy(model, images, labels)
    model.set_weights(before)
    return found


def measure(record, data):
    """What one record reaches."""
    model = ksn.zoo.build(record.model, weights=record.dataset)
    x, y = data["validation"]
    training = accuracy(model, *data["training"])
    found = {
        "images": len(y),
        "epochs": record.runs[0]["epochs"],
        "parameters": model.count_params(),
    }
    return found | {
        "training": training,
        "validation": accuracy(model, x, y),
        "pixels": {str(d): accuracy(model, with_noise(x, d), y) for d in PIXELS},
        "weights": {str(s): accuracy_of_noisy_weights(model, s, x, y) for s in WEIGHTS},
    }


def images_of(folder, count):
    """So many training and validation images of each class."""
    data = ksn.training.load(folder, holdout_last_per_class=500)
    found = {}
    for part, x, y in (
        ("training", data.x_train, data.y_train),
        ("validation", data.x_val, data.y_val),
    ):
        chosen = [np.flatnonzero(y == label)[:count] for label in range(len(data.class_names))]
        found[part] = x[np.concatenate(chosen)], y[np.concatenate(chosen)]
    return found


def noise_table(found):
    """Accuracy without noise, and how many points of it each noise takes."""
    heads = ["network", "no noise", *(f"pixels {d}" for d in PIXELS)]
    heads += [f"weights {100 * s:g}%" for s in WEIGHTS]
    lines = [_row(heads), _row(["---", *["---:"] * (len(heads) - 1)])]
    for name, row in found.items():
        noisy = [*row["pixels"].values(), *row["weights"].values()]
        drops = (f"{100 * (value - row['validation']):+.1f}" for value in noisy)
        lines.append(_row([f"`{name}`", f"{row['validation']:.1%}", *drops]))
    return "\n".join(lines) + "\n"


def gap_table(found):
    """Accuracy on training and on validation images."""
    lines = [_row(["network", "parameters", "epochs", "training", "validation", "gap in points"])]
    lines.append(_row(["---", *["---:"] * 5]))
    for name, row in found.items():
        gap = 100 * (row["training"] - row["validation"])
        shares = (f"{row['training']:.1%}", f"{row['validation']:.1%}", f"{gap:.1f}")
        lines.append(_row([f"`{name}`", f"{row['parameters']:,}", row["epochs"], *shares]))
    return "\n".join(lines) + "\n"


def _row(cells):
    return f"| {' | '.join(map(str, cells))} |"


def main():
    """Measure the records that are asked for, and write the tables of all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder")
    parser.add_argument("--images", type=int, default=200, help="images of each class")
    parser.add_argument("--only", default="*", help="names of records, with wildcards")
    options = parser.parse_args()
    data, path = images_of(options.folder, options.images), RESULTS / "noise.json"
    for folder in records.folders():
        record = records.read(folder)
        if record.dataset == KNOWN and fnmatch.fnmatch(record.name, options.only):
            found = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
            found = dict(sorted((found | {record.name: measure(record, data)}).items()))
            path.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
            write_tables(found, RESULTS)


def write_tables(found, folder):
    """Both tables as Markdown."""
    pathlib.Path(folder, "noise.md").write_text(noise_table(found), encoding="utf-8")
    pathlib.Path(folder, "gap.md").write_text(gap_table(found), encoding="utf-8")


if __name__ == "__main__":
    main()
