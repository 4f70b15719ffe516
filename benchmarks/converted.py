"""A trained ResNet of the zoo after conversion and distillation, beside LinearMix trained alone.

    KERAS_BACKEND=tensorflow python -m benchmarks.converted TEACHER DISTILLED ALONE --dataset cifar10

Takes the folders of three finished runs: the teacher; its conversion by `structnets convert --dataset`,
distilled; and a LinearMix network trained from random weights for the same time. Converts the teacher again,
with and without images, and measures the error of each layer's output on other images. Writes
benchmarks/results/converted.json and converted.md.
"""

import argparse
import json
import pathlib

import keras
import numpy as np

import keras_structnets as ksn
from keras_structnets.training.saved import load_model

from . import timing

N_IMAGES = 512  # for the fit, and as many others to measure on


def relative_errors(old, new, names, images):
    """{layer: norm of the difference of both layers' outputs over that of the old one's}."""
    inputs = keras.Model(old.inputs[0], [old.get_layer(name).input for name in names])
    found = dict.fromkeys(names, np.zeros(2))
    for start in range(0, len(images), 64):
        given = inputs(images[start : start + 64], training=False)
        for name, x in zip(names, given, strict=True):
            y, z = (keras.ops.convert_to_numpy(m.get_layer(name)(x)) for m in (old, new))
            found[name] = found[name] + [np.sum((y - z) ** 2.0), np.sum(y**2.0)]
    return {name: float(f"{np.sqrt(d / n):.4g}") for name, (d, n) in found.items()}


def errors_of(teacher, data):
    """{layer: {"projection": error, "least squares": error}} on images that no weight was fitted to."""
    drawn = np.random.default_rng(0).permutation(len(data.x_train))[: 2 * N_IMAGES]
    fitted_on, measured_on = data.x_train[drawn[:N_IMAGES]], data.x_train[drawn[N_IMAGES:]]
    found = {}
    for how, images in (("projection", None), ("least squares", fitted_on)):
        new, report = ksn.convert(teacher, images=images)
        names = [layer.name for layer in report.layers]
        found[how] = relative_errors(teacher, new, names, measured_on)
    return {name: {how: errors[name] for how, errors in found.items()} for name in names}


def run_of(folder):
    """What one row says of a finished run; epochs and time include those of the run it started from."""
    folder = pathlib.Path(folder)
    results = json.loads((folder / "results.json").read_text("utf-8"))
    (run,) = results["runs"]
    found = {key: results[key] for key in ("parameters", "flops")}
    found |= {key: run[key] for key in ("epochs", "accuracy", "seconds")}
    weights = ksn.training.Recipe.read(folder / "recipe.toml").weights
    if weights:
        before = run_of(pathlib.Path(weights).parent)
        found |= {key: found[key] + before[key] for key in ("epochs", "seconds")}
    return found


def table(runs, errors):
    """Both tables as Markdown."""
    lines = ["| network | parameters | FLOPs | epochs | minutes | accuracy |"]
    lines.append("|---|---:|---:|---:|---:|---:|")
    for name, run in runs.items():
        cells = [f"{run['parameters']:,}", f"{run['flops'] / 1e6:.1f}M", str(run["epochs"])]
        cells += [f"{run['seconds'] / 60:.0f}", f"{run['accuracy']:.1%}"]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    lines += ["", "| layer | error of the projection | error of the least-squares fit |"]
    lines.append("|---|---:|---:|")
    for name, error in errors.items():
        lines.append(f"| `{name}` | {error['projection']:.3f} | {error['least squares']:.3f} |")
    return "\n".join(lines) + "\n"


def main():
    """Measure, read the runs, and write both files."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    for name in ("teacher", "distilled", "alone"):
        parser.add_argument(name)
    parser.add_argument("--dataset", default="cifar10")
    given = parser.parse_args()
    data = ksn.training.load(given.dataset, holdout_last_per_class=500)
    errors = errors_of(load_model(given.teacher), data)
    runs = {
        "teacher": run_of(given.teacher),
        "converted and distilled": run_of(given.distilled),
        "LinearMix from random weights": run_of(given.alone),
    }
    text = json.dumps({"runs": runs, "errors": errors}, indent=1)
    (timing.RESULTS / "converted.json").write_text(text + "\n", encoding="utf-8")
    (timing.RESULTS / "converted.md").write_text(table(runs, errors), encoding="utf-8")
    print(table(runs, errors))


if __name__ == "__main__":
    main()
