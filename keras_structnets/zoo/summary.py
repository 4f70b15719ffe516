"""Accuracy and cost of the trained weights of the package: one row for each record."""

import fnmatch
import json
import pathlib
import statistics
from typing import Any

from keras_structnets.zoo import records, registry


def results(pattern: str | None = None) -> list[dict[str, Any]]:
    """Accuracy, size and budget of all trained weights, the most accurate first.

    Args:
        pattern: wildcards as in a shell, which names of records match; None for all.

    Returns:
        A list of dicts with the keys

            - name: what `structnets predict` and `evaluate` take;
            - model, weights: what `build(model, weights=weights)` takes;
            - accuracy: in percent on the validation images, the mean of all `seeds`;
            - test_accuracy, paper_accuracy: in percent, or None where not known;
            - epochs, images, minutes, cores, device: the budget of one run: epochs of so many training images
              in so many minutes on so many processor cores, or on a "gpu";
            - parameters, flops: trainable parameters, and `Flops.total` of one image;
            - megabytes: size of the weights file;
            - input: (height, width, channels) as text.

    Example:
        >>> best = ksn.zoo.results("*cifar10*")[0]
        >>> model = ksn.zoo.build(best["model"], weights=best["weights"])
        >>> best["accuracy"] > 75
        True
    """
    folders = (path for path in records.folders() if fnmatch.fnmatch(path.name, pattern or "*"))
    return sorted(map(_row, folders), key=lambda row: (-row["accuracy"], row["name"]))


def test_accuracy(folder: pathlib.Path, found: dict[str, Any]) -> float | None:
    """The accuracy on test images from `test_accuracy.json` beside the records, or None.

    Args:
        folder: the folder of the record.
        found: what its `results.json` says.

    Raises:
        ValueError: if it was measured with other weights.
    """
    path = folder.parent / "test_accuracy.json"
    if not path.is_file():
        return None
    measured = json.loads(path.read_text(encoding="utf-8")).get(folder.resolve().name)
    if measured is None:
        return None
    if measured["sha256"] != found["weights"].get("sha256"):
        raise ValueError(
            f"record {folder.name!r}: {str(path)!r} has the accuracy of weights with sha256 "
            f"{measured['sha256']}, and the record's weights have {found['weights'].get('sha256')}. "
            "Measure it again."
        )
    return measured["accuracy"]


def _row(folder):
    found = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    record, run, weights = records.read(folder), found["runs"][0], found["weights"]
    return {
        "name": record.name,
        "model": record.model,
        "weights": record.dataset,
        "accuracy": _percent(statistics.mean(run["accuracy"] for run in record.runs)),
        "seeds": len(record.runs),
        "test_accuracy": _percent(test_accuracy(folder, found)),
        "paper_accuracy": _papers_accuracy(record),
        "epochs": run["epochs"],
        "images": found["images"]["training"],
        "minutes": round(run["seconds"] / 60),
        "cores": run["machine"]["cores"],
        "device": run["machine"].get("device", "cpu"),
        "parameters": found["parameters"],
        "flops": found["flops"],
        "megabytes": round(weights["bytes"] / 1e6, 2),
        "input": "x".join(map(str, record.input_shape)),
    }


def _percent(share):
    return None if share is None else round(100 * share, 2)


def _papers_accuracy(record):
    """That on CIFAR-10 for its copy as JPEG."""
    return registry.info(record.model).printed_accuracy.get(record.dataset.removesuffix("_jpeg"))
