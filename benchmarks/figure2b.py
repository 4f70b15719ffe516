"""Figure 2(b) of Deep SimNets: accuracy of networks of one layer by the operations that they take.

    KERAS_BACKEND=torch python -m benchmarks.figure2b [--dataset digits] [--epochs 5] [--most 200]
        [--out FOLDER]

It trains the rows of `structnets reproduce simnets-figure2b` with up to so many channels; without the options
all of them as in the paper, which takes long. The runs stay in FOLDER, and are resumed from there; the
figures go to benchmarks/results/figure2b_<dataset>.json and .png.
"""

import argparse
import dataclasses
import json
import pathlib

from matplotlib.figure import Figure

from benchmarks.timing import RESULTS
from keras_structnets.training import reproduce
from keras_structnets.training.queue import train_or_resume
from keras_structnets.training.report import dataset_name

LABELS = {
    "convnet_1layer": "ConvNet",
    "simnet_1layer_l1": "SimNet, p = 1",
    "simnet_1layer_l2": "SimNet, p = 2",
}


def rows(dataset=None, epochs=None, most=None):
    """{name: recipe} of the rows with at most `most` channels."""
    found = {}
    for row in reproduce.rows("simnets-figure2b"):
        recipe = row.shortened(epochs) if epochs else row.recipe
        recipe = dataclasses.replace(recipe, dataset=dataset or recipe.dataset)
        if max(recipe.sizes.values()) <= (most or 3200):
            found[row.model] = recipe
    return found


def train(name, recipe, out):
    """What one row found."""
    results = train_or_resume(recipe, out / name, verbose=2)
    return {
        "model": recipe.model,
        "channels": max(recipe.sizes.values()),
        "epochs": recipe.epochs,
        "flops": results["flops"],
        "accuracy": results["runs"][0]["accuracy"],
        "images": results["images"]["validation"],
    }


def draw(found):
    """Accuracy against operations, a curve for each kind of network."""
    figure = Figure((5, 3.5), layout="constrained")
    axes = figure.subplots()
    for model, label in LABELS.items():
        points = [row for row in found.values() if row["model"] == model]
        x, y = [row["flops"] for row in points], [100 * row["accuracy"] for row in points]
        axes.plot(x, y, "o-", label=label)
    axes.set(xscale="log", xlabel="operations for one image", ylabel="validation accuracy, %")
    axes.grid(alpha=0.3)
    axes.legend()
    return figure


def main():
    """Train the rows that are asked for, and draw."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dataset", help="another than cifar10")
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--most", type=int, help="channels")
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("runs/figure2b"))
    options = parser.parse_args()
    recipes = rows(options.dataset, options.epochs, options.most)
    found = {name: train(name, recipe, options.out) for name, recipe in recipes.items()}
    dataset = dataset_name(next(iter(recipes.values())).dataset)
    path = RESULTS / f"figure2b_{dataset}.json"
    path.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    draw(found).savefig(path.with_suffix(".png"), dpi=120)


if __name__ == "__main__":
    main()
