"""Records as a reader sees them: a card for each, a table and a picture of all."""

import json
import pathlib
import statistics

from keras_structnets import zoo
from keras_structnets.training import files
from keras_structnets.training.extra import extra
from keras_structnets.training.recipe import Recipe
from keras_structnets.zoo import records


def card_of(folder):
    """The text of `card.md`, from the results and the recipe in the folder."""
    folder = pathlib.Path(folder)
    return card(folder, _results(folder), Recipe.read(folder / "recipe.toml"))


def card(folder, results, recipe):
    """The text of `card.md` for a run or a record."""
    info, name = zoo.info(results["model"]), folder.resolve().name
    if results["weights"]["file"].endswith(".keras"):
        place, weights_name = folder, str(folder)
        build = f'keras.saving.load_model("{folder / results["weights"]["file"]}", compile=False)'
    else:
        place, weights_name = f"zoo/{name}", name
        build = f'ksn.zoo.build("{info.name}", weights="{name.removeprefix(info.name + "_")}")'
    weights, first = results["weights"], results["runs"][0]
    size = f", {weights['bytes'] / 1024:.0f} KB" if "bytes" in weights else ""
    operations = f"{results['flops']:,}" if results["flops"] else "not known"
    data = title(recipe.dataset)
    lines = [
        f"# {name}",
        "",
        f"`{info.name}`: {info.summary}. {info.paper}.",
        "",
        f"Trained on {results['images']['training']:,} images of {data} for {first['epochs']} epochs, "
        f"measured on the {results['images']['held_out']:,} that were held out; no epoch was chosen.",
        "",
        "```",
        f"structnets train {place}/recipe.toml",
        f"structnets predict {weights_name} IMAGE...",
        build,
        "```",
        "",
        "| | |",
        "|---|---|",
        f"| accuracy | {spread(results['runs'])} |",
        f"| the paper prints | {printed(info, recipe.dataset)} |",
        f"| parameters | {results['parameters']:,} |",
        f"| operations for one image | {operations} |",
        f"| weights | {weights['dtype']}{size}, {weights['accuracy']:.2%} |",
        f"| input | {' x '.join(map(str, results['input_shape']))}, raw pixels 0..255 |",
        f"| classes | {', '.join(results['class_names'])} |",
        "",
        "| seed | accuracy | seconds | cores | backend | commit |",
        "|---:|---:|---:|---:|---|---|",
    ]
    lines += [
        f"| {run['seed']} | {run['accuracy']:.2%} | {run['seconds']:.0f} | {run['machine']['cores']} | "
        f"{run['backend']} {run['versions'][run['backend']]} | {run['commit'] or 'unknown'} |"
        for run in results["runs"]
    ]
    return "\n".join([*lines, "", "![curves of loss and accuracy](curves.png)", ""])


def title(dataset):
    """A data set's name as a reader knows it."""
    name = pathlib.Path(dataset).name
    return {"cifar10_jpeg": "CIFAR-10 (JPEG)"}.get(name, name)


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


def printed(info, dataset):
    """The paper's own accuracy on the data set; for CIFAR-10 (JPEG) that on CIFAR-10."""
    value = _printed_value(info, dataset)
    return "-" if value is None else f"{value}%"


def _printed_value(info, dataset):
    return info.printed_accuracy.get(pathlib.Path(dataset).name.removesuffix("_jpeg"))


def _results(folder):
    return json.loads((folder / "results.json").read_text(encoding="utf-8"))


def table():
    """The table of all records, as Markdown."""
    lines = [
        "| record | parameters | operations | weights | accuracy | epochs | time | paper |",
        "|---|---:|---:|---:|---|---:|---:|---:|",
    ]
    for folder in records.folders():
        results = _results(folder)
        run, dataset = results["runs"][0], results["dataset"]
        lines.append(
            f"| [`{folder.name}`]({folder.name}/card.md) | {results['parameters']:,} | "
            f"{results['flops'] / 1e6:.1f}M | {results['weights']['bytes'] / 1024:.0f} KB | "
            f"{spread(results['runs'])} | {run['epochs']} | {run['seconds'] / 60:.0f} min | "
            f"{printed(zoo.info(results['model']), dataset)} |"
        )
    return "\n".join(lines) + "\n"


def draw(path):
    """Accuracy against parameters of all records, and what the papers print."""
    figure = extra("matplotlib.figure").Figure(figsize=(8, 5), layout="constrained")
    extra("matplotlib.backends.backend_agg").FigureCanvasAgg(figure)  # needs no screen
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
        value = _printed_value(info, row["dataset"])
        if value is not None:
            axes.plot(size, value, "o", mfc="none", color=line.get_color())
    axes.set(
        xscale="log",
        xlabel="trainable parameters",
        ylabel="held-out accuracy, %",
        title="Filled: measured here on CIFAR-10 (JPEG). Hollow: printed in the paper, CIFAR-10",
    )
    axes.margins(x=0.3)
    axes.grid(alpha=0.3)
    files.write_by(path, lambda file: figure.savefig(file, dpi=120))
