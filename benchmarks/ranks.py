"""Series and volumes: a low-cost network beside the fully coupled network of the same layout.

    KERAS_BACKEND=torch python -m benchmarks.ranks DATA [--only "series*"] [--out FOLDER]

DATA holds SwedishLeaf_TRAIN.tsv of the UCR archive and adrenal3d-train.npz, the training and validation part
of AdrenalMNIST3D (MedMNIST, CC BY 4.0) averaged to 32 x 32 x 32. A fifth of each class of the series and the
last 98 volumes are for validation. The runs stay in FOLDER, and are resumed from there; their figures go to
benchmarks/results/ranks.json and ranks.md.
"""

import argparse
import dataclasses
import fnmatch
import json
import pathlib

import numpy as np

import keras_structnets as ksn
from benchmarks.timing import RESULTS
from keras_structnets.training.queue import train_or_resume

NETWORKS = ("linear_mix_a", "resnet_a")
N_VALIDATION = 98  # volumes
SERIES = {
    "epochs": 30,
    "batch_size": 32,
    "learning_rate": 0.01,
    "schedule": "one_cycle",
    "augmentation": ("crop",),
    "pad": 8,
    "sizes": {"widths": (16, 32, 64), "n_steps": 2},
}
VOLUMES = {
    "epochs": 3,
    "batch_size": 16,
    "learning_rate": 0.01,
    "schedule": "one_cycle",
    "augmentation": ("crop", "flip"),
    "pad": 0,
    "crop_size": (24, 24, 24),
    "sizes": {"widths": (8, 16), "n_steps": 1},
}


def runs(data, out):
    """{name: recipe} of all runs."""
    volumes = out / "adrenal3d.npz"
    if not volumes.is_file():
        out.mkdir(parents=True, exist_ok=True)
        split_volumes(data / "adrenal3d-train.npz", volumes)
    found = {}
    for kind, dataset, options, seeds in (
        ("series", data / "SwedishLeaf_TRAIN.tsv", SERIES, (0, 1)),
        ("volumes", volumes, VOLUMES, (0,)),
    ):
        for network in NETWORKS:
            recipe = ksn.training.Recipe(network, str(dataset), **options)
            for seed in seeds:
                found[f"{kind} {network} {seed}"] = dataclasses.replace(recipe, seed=seed)
    return found


def split_volumes(source, path):
    """Write a `.npz` whose last volumes are for validation."""
    with np.load(source) as file:
        x, y = file["x_train"], file["y_train"].reshape(-1)
    np.savez_compressed(
        path,
        x_train=x[:-N_VALIDATION],
        y_train=y[:-N_VALIDATION],
        x_val=x[-N_VALIDATION:],
        y_val=y[-N_VALIDATION:],
        class_names=["normal", "hyperplasia"],
    )


def train(name, recipe, out):
    """What one run found; a run that is there is resumed."""
    results = train_or_resume(recipe, out / name.replace(" ", "_"), verbose=2)
    options = dataclasses.asdict(recipe) | {"dataset": pathlib.Path(recipe.dataset).name}
    kept = ("input_shape", "images", "parameters", "flops", "runs")
    labels = ksn.training.load(recipe.dataset).y_val
    frequent = float(np.bincount(labels).max() / len(labels))
    return {key: results[key] for key in kept} | {
        "recipe": options,
        "most frequent class": frequent,
    }


def table(found):
    """A row for each network and kind of data, with the mean over the seeds."""
    lines = [
        "| data | network | parameters | FLOPs | epochs | minutes | accuracy | most frequent class |",
        "|---|---|---:|---:|---:|---:|---|---:|",
    ]
    groups = {}
    for name, run in found.items():
        groups.setdefault(name.rpartition(" ")[0], []).append(run)
    for name, group in groups.items():
        kind, network = name.split()
        first, results = group[0], [run for one in group for run in one["runs"]]
        shape = " x ".join(map(str, first["input_shape"]))
        minutes = np.mean([run["seconds"] for run in results]) / 60
        accuracy = [run["accuracy"] for run in results]
        spread = f"{np.mean(accuracy):.1%}"
        if len(accuracy) > 1:
            spread += f" ({min(accuracy):.1%} to {max(accuracy):.1%}, {len(accuracy)} seeds)"
        cells = (f"{kind}, {shape}", f"`{network}`", f"{first['parameters']:,}")
        cells += (f"{first['flops'] / 1e6:.1f}M", results[0]["epochs"], f"{minutes:.1f}", spread)
        cells += (f"{first['most frequent class']:.1%}",)
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines) + "\n"


def main():
    """Train what is asked for, and write the table of all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=pathlib.Path)
    parser.add_argument("--only", default="*", help="names of runs, with wildcards")
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("runs/ranks"))
    options = parser.parse_args()
    path = RESULTS / "ranks.json"
    for name, recipe in runs(options.data, options.out).items():
        if fnmatch.fnmatch(name, options.only):
            found = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
            found[name] = train(name, recipe, options.out)
            found = dict(sorted(found.items()))
            path.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
            path.with_suffix(".md").write_text(table(found), encoding="utf-8")


if __name__ == "__main__":
    main()
