"""Reports of runs and records: cards, curves, confusion matrices, and a table and a picture of all."""

import json
import math
import pathlib
import statistics

import numpy as np

from keras_structnets import zoo
from keras_structnets.training import _io
from keras_structnets.training._io import require
from keras_structnets.training.datasets import DATASETS
from keras_structnets.training.datasets.archives import TARS
from keras_structnets.training.recipe import Recipe
from keras_structnets.zoo import records
from keras_structnets.zoo.papers import GCONV_TABLE_2
from keras_structnets.zoo.summary import test_accuracy

TITLES = {"cifar10_jpeg": "CIFAR-10 (JPEG)"}  # of records without a registered data set


def record_card_of(folder):
    """The text of `card.md`, from the results and the recipe in the folder."""
    folder = pathlib.Path(folder)
    return record_card(folder, _results(folder), Recipe.read(folder / "recipe.toml"))


def record_card(folder, results, recipe):
    """The text of `card.md` for a run or a record."""
    info, name, images = _info(results["model"]), folder.resolve().name, results["images"]
    lines = [
        f"# {name}",
        "",
        f"`{info.name}`: {info.summary}. {info.paper}.",
        "",
        f"Trained on {images['training']:,} images of {title(recipe.dataset)} for "
        f"{results['runs'][0]['epochs']} epochs, and validated on {images['validation']:,} others "
        f"{_selected(results['runs'][0])}.",
        "",
        "```",
        *_commands(folder, name, info, results),
        "```",
        "",
        "```python",
        *_snippet(folder, name, info, results),
        "```",
        "",
        "| | |",
        "|---|---|",
        *(f"| {key} | {value} |" for key, value in _facts(folder, info, results, recipe).items()),
        "",
        "| seed | accuracy | seconds | hardware | backend | commit |",
        "|---:|---:|---:|---|---|---|",
        *map(_run_row, results["runs"]),
        "",
        "![curves of loss and accuracy](curves.png)",
        "",
    ]
    if (folder / "confusion.png").is_file():
        lines += ["![confusion matrix](confusion.png)", ""]
    return "\n".join(lines)


def _selected(run):
    if "selected_epoch" in run:
        return f"at the epoch of the lowest validation loss, number {run['selected_epoch']}"
    return "after the last epoch; no epoch was chosen"


def _info(model):
    """What the zoo knows of a model, or what stands in the card of a trained one."""
    if model in zoo.list_models():
        return zoo.info(model)
    return zoo.ModelInfo(model_name(model), "Not a model of the zoo", "a trained model", {}, (), {})


def _commands(folder, name, info, results):
    """How to train and use the model in a shell."""
    if results["weights"]["file"].endswith(".keras"):
        return f"structnets train {folder}/recipe.toml", f"structnets predict {folder} IMAGE..."
    train = f"structnets train {name} --dataset {results['dataset']}"
    return train, f"structnets predict {name} IMAGE..."


def _snippet(folder, name, info, results):
    """How to load the model in Python: this library first, which registers its layers."""
    file, lines = results["weights"]["file"], ["import keras_structnets as ksn"]
    if file.endswith(".keras"):
        load = f'model = keras.saving.load_model("{(folder / file).as_posix()}", compile=False)'
        return [*lines, "import keras", "", load]
    weights = name.removeprefix(f"{info.name}_")
    return [*lines, "", f'model = ksn.zoo.build("{info.name}", weights="{weights}")']


def _facts(folder, info, results, recipe):
    """The rows of the card's first table."""
    run, weights, images = results["runs"][0], results["weights"], results["images"]
    size = f", {weights['bytes'] / 1024:.0f} KB" if "bytes" in weights else ""
    facts = {
        "budget": f"{run['epochs']} epochs of {images['training']:,} images, "
        f"{run['seconds'] / 60:.0f} min on {hardware(run['machine'])}",
        "validation accuracy": spread(results["runs"]),
        "its standard error": f"{standard_error(results):.2%}",
        "test accuracy": _percent(test_accuracy(folder, results)),
        "paper's accuracy": papers_accuracy(info, recipe.dataset),
        "difference from the paper": _difference(info, results),
        "parameters": f"{results['parameters']:,}",
        "FLOPs for one image": f"{results['flops']:,}" if results["flops"] else "not known",
        "weights": f"{weights['dtype']}{size}, {weights['accuracy']:.2%}",
        "on a device": _memory(info, results),
        "input": f"{' x '.join(map(str, results['input_shape']))}, raw pixels 0..255",
        "teacher": recipe.teacher,
        "classes": ", ".join(results["class_names"]),
    }
    return {key: value for key, value in facts.items() if value}


def _memory(info, results):
    """The memory that a record needs on a device, in float32; empty for other trained models."""
    if results["weights"]["file"].endswith(".keras"):
        return ""
    flash, ram = (4 * count / 1024 for count in (results["parameters"], info.largest_activations))
    return (
        f"{flash:.0f} KB for the weights and {ram:.0f} KB for the largest activations, in float32"
    )


def _run_row(run):
    return (
        f"| {run['seed']} | {run['accuracy']:.2%} | {run['seconds']:.0f} | {hardware(run['machine'])} | "
        f"{run['backend']} {run['versions'][run['backend']]} | {run['commit'] or 'unknown'} |"
    )


def hardware(machine):
    """The cores that a run used, and its GPU."""
    cores, device = machine["cores"], machine.get("device", "cpu")
    count = f"{cores} core" if cores == 1 else f"{cores} cores"
    return count if device == "cpu" else f"{count} and one {device.upper()}"


def recipe_header(out, results):
    """What a recipe opens with: its command, and what came of it."""
    lines = [f"structnets train {out / 'recipe.toml'}"]
    for run in results["runs"]:
        lines.append(
            f"seed {run['seed']}: accuracy {run['accuracy']:.2%}, {run['seconds']:g} s on "
            f"{hardware(run['machine'])} with {run['backend']}"
        )
    return "\n".join(lines)


def dataset_name(dataset):
    """The name of a data set, or of a file or folder without its ending."""
    name = pathlib.Path(dataset).resolve().name
    ending = next((ending for ending in (*TARS, ".zip", ".npz") if name.endswith(ending)), "")
    return name.removesuffix(ending)


def model_name(model):
    """A name of the zoo, or that of a file or folder without its ending."""
    return pathlib.Path(model).resolve().name.removesuffix(".keras")


def default_folder(recipe):
    """`runs/<model>_<dataset>`."""
    return pathlib.Path("runs", f"{model_name(recipe.model)}_{dataset_name(recipe.dataset)}")


def title(dataset):
    """A data set's name as readers know it."""
    name = dataset_name(dataset)
    return DATASETS[name].title if name in DATASETS else TITLES.get(name, name)


def _title(recipe):
    return f"{model_name(recipe.model)} on {title(recipe.dataset)}"


def standard_error(results):
    """The standard error of the mean accuracy, from the number of validation images."""
    accuracy = mean(results["runs"])
    return math.sqrt(accuracy * (1 - accuracy) / results["images"]["validation"])


def _percent(value):
    return "" if value is None else f"{value:.2%}"


def mean(runs):
    """Mean accuracy of some runs."""
    return statistics.mean(run["accuracy"] for run in runs)


def spread(runs):
    """'77.4%', or mean and range of several seeds."""
    found = [run["accuracy"] for run in runs]
    if len(found) == 1:
        return f"{found[0]:.2%} (one seed)"
    low, high = f"{min(found):.2%}", f"{max(found):.2%}"
    return f"{mean(runs):.2%} (mean of {len(found)} seeds, {low} to {high})"


def papers_accuracy(info, dataset):
    """The paper's own accuracy on the data set; for CIFAR-10 (JPEG) that on CIFAR-10."""
    value = _papers_value(info, dataset)
    return "-" if value is None else f"{value}%"


def _papers_value(info, dataset):
    return info.printed_accuracy.get(dataset_name(dataset).removesuffix("_jpeg"))


def _difference(info, results):
    value = _papers_value(info, results["dataset"])
    return "" if value is None else f"{100 * mean(results['runs']) - value:+.1f} points"


def _results(folder):
    return json.loads((folder / "results.json").read_text(encoding="utf-8"))


def records_table():
    """The table of all records, as Markdown."""
    lines = [
        "| record | parameters | FLOPs | weights | validation | test | epochs | time | paper |",
        "|---|---:|---:|---:|---|---:|---:|---:|---:|",
    ]
    for folder in records.folders():
        results = _results(folder)
        run, info = results["runs"][0], zoo.info(results["model"])
        lines.append(
            f"| [`{folder.name}`]({folder.name}/card.md) | {results['parameters']:,} | "
            f"{results['flops'] / 1e6:.1f}M | {results['weights']['bytes'] / 1024:.0f} KB | "
            f"{spread(results['runs'])} | {_percent(test_accuracy(folder, results))} | "
            f"{run['epochs']} | {run['seconds'] / 60:.0f} min | "
            f"{papers_accuracy(info, results['dataset'])} |"
        )
    return "\n".join(lines) + "\n"


def draw_records(path):
    """Accuracy against parameters of all records, and the accuracies that the papers print."""
    figure = _figure(8, 5)
    axes = figure.subplots()
    rows = [_results(folder) for folder in records.folders()]
    points = [(row["parameters"], 100 * mean(row["runs"])) for row in rows]
    for row, (size, found) in zip(rows, points, strict=True):
        info = zoo.info(row["model"])
        (line,) = axes.plot(size, found, "o")
        crowded = any(1 < x / size < 4 and abs(y - found) < 0.5 for x, y in points)
        axes.annotate(
            f"{info.name}, {row['runs'][0]['epochs']} epochs",
            (size, found),
            xytext=(-6 if crowded else 6, -3),
            textcoords="offset points",
            ha="right" if crowded else "left",
            fontsize=8,
        )
        value = _papers_value(info, row["dataset"])
        if value is not None:
            axes.plot(size, value, "o", mfc="none", color=line.get_color())
    for printed, value in _baselines():
        axes.plot(printed, value, "s", mfc="none", color="gray", markersize=4)
    measured = ", ".join(sorted({title(row["dataset"]) for row in rows}))
    axes.set(
        xscale="log",
        xlabel="trainable parameters",
        ylabel="validation accuracy, %",
        title=f"Filled: ours on {measured}. Hollow: the papers'. Squares: their baselines",
    )
    axes.title.set_fontsize(10)
    axes.margins(x=0.15)
    axes.grid(alpha=0.3)
    _io.write_by(path, lambda file: figure.savefig(file, dpi=120))


def _baselines():
    """(parameters, accuracy in percent) of the baselines on CIFAR-10, as GConvNets prints them."""
    rows = GCONV_TABLE_2["cifar10"].items()
    return [(1e6 * float(row[0][:-1]), row[1]) for name, row in rows if name != "g_conv_net"]


def draw_curves(path, history, recipe):
    """Loss and accuracy by epoch."""
    figure = _figure(9, 3.6)
    epochs = range(1, len(history) + 1)
    for axes, measure in zip(figure.subplots(1, 2), ("loss", "accuracy"), strict=True):
        axes.plot(epochs, [row[measure] for row in history], label="training")
        axes.plot(epochs, [row[f"val_{measure}"] for row in history], label="validation")
        axes.set(xlabel="epoch", ylabel=measure)
        axes.grid(alpha=0.3)
        axes.legend()
    figure.suptitle(_title(recipe))
    _io.write_by(path, lambda file: figure.savefig(file, dpi=120))


def confusion(predictions, labels):
    """How many images of each class (rows) are predicted as each class (columns)."""
    counts = np.zeros((predictions.shape[-1],) * 2, "int64")
    np.add.at(counts, (labels, np.argmax(predictions, axis=-1)), 1)
    return counts


def draw_confusion(path, predictions, data, recipe):
    """The confusion matrix of the validation images."""
    counts, names = confusion(predictions, data.y_val), data.class_names
    side = 2 + 0.45 * min(len(names), 20)
    figure = _figure(side + 1, side)
    axes = figure.subplots()
    image = axes.imshow(counts / counts.sum(1, keepdims=True).clip(1), cmap="Blues", vmin=0, vmax=1)
    figure.colorbar(image, label="share of the class")
    axes.set(
        xlabel="predicted",
        ylabel="class",
        title=f"{model_name(recipe.model)} on {title(recipe.dataset)}",
    )
    if len(names) <= 20:
        axes.set_xticks(range(len(names)), names, rotation=90)
        axes.set_yticks(range(len(names)), names)
        for (i, j), count in np.ndenumerate(counts):
            dark = count > counts[i].sum() / 2
            color = "white" if dark else "black"
            axes.text(j, i, str(count), ha="center", va="center", fontsize=7, color=color)
    _io.write_by(path, lambda file: figure.savefig(file, dpi=120))


def _figure(width, height):
    figure = require("matplotlib.figure").Figure(figsize=(width, height), layout="constrained")
    require("matplotlib.backends.backend_agg").FigureCanvasAgg(figure)  # needs no screen
    return figure
