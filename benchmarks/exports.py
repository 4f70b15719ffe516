"""Exported files of trained networks: size, accuracy on validation images, and the time of one image.

    KERAS_BACKEND=tensorflow OMP_NUM_THREADS=1 taskset -c 1 python -m benchmarks.exports RECORD [RECORD ...]

It writes benchmarks/results/exports_tensorflow.json and exports.md, and keeps the rows of other records.
The images are those of data/cifar10, of which 256 training images calibrate int8. Files of one network take
turns; their time is the smallest of all rounds, as other processes can only add to it.
"""

import argparse
import json
import pathlib
import tempfile

import numpy as np

import keras_structnets as ksn
from keras_structnets.inference.formats import FORMATS
from keras_structnets.training.evaluate import accuracy, split_of
from keras_structnets.training.saved import load_model

from . import timing

FILES = [(s, p) for s in (".tflite", ".onnx") for p in ("float32", "float16", "int8")]
FILES += [(".xml", p) for p in ("float32", "float16")]
CALIBRATION, BATCH, ROUNDS = 256, 100, 50
COLUMNS = "record", "format", "precision", "KB", "accuracy", "to float32", "ms per image"


def measure(model, data, rounds=ROUNDS):
    """A row for each file of a model."""
    drawn = np.random.default_rng(0).permutation(len(data.x_train))[:CALIBRATION]
    x, calibration = data.x_val.astype("float32"), data.x_train[np.sort(drawn)]
    rows, runs = [], {}
    with tempfile.TemporaryDirectory() as folder:
        for suffix, precision in FILES:
            path = pathlib.Path(folder, f"{precision}{suffix}")
            options = {"precision": precision, "calibration": calibration}
            exported = ksn.inference.export(model, path, **options)
            run = FORMATS[suffix].load(path)
            outputs = [run(x[start : start + BATCH]) for start in range(0, len(x), BATCH)]
            rows.append(
                {
                    "format": exported.format,
                    "precision": precision,
                    "KB": round(exported.size / 1024),
                    "accuracy": accuracy(np.concatenate(outputs), data.y_val),
                    "images": len(x),
                }
            )
            runs[len(rows) - 1] = lambda run=run: run(x[:1])
        for i, times in timing.alternate(runs, rounds).items():
            rows[i]["ms"] = float(f"{min(times):.3g}")
    return rows


def table(found):
    """All rows, with the gain or loss in points against the same format in float32."""
    lines = [f"| {' | '.join(COLUMNS)} |", "|---|---|---|---:|---:|---:|---:|"]
    for record in sorted(found):
        full = {row["format"]: row for row in found[record] if row["precision"] == "float32"}
        for row in found[record]:
            points = 100 * (row["accuracy"] - full[row["format"]]["accuracy"])
            cells = (
                record,
                row["format"],
                row["precision"],
                f"{row['KB']:,}",
                f"{row['accuracy']:.2%}",
                "" if row["precision"] == "float32" else f"{points:+.2f}",
                f"{row['ms']:g}",
            )
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def main():
    """Measure the records that are named, and write both files after each."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("records", nargs="+", metavar="RECORD")
    parser.add_argument("--dataset", default="data/cifar10")
    given = parser.parse_args()
    path = timing.RESULTS / "exports_tensorflow.json"
    found = json.loads(path.read_text(encoding="utf-8"))["records"] if path.is_file() else {}
    data = ksn.training.load(given.dataset, **split_of(given.records[0]))
    for record in given.records:
        found[record] = measure(load_model(record), data)
        timing.save("exports", {"records": found})
        (timing.RESULTS / "exports.md").write_text(table(found), encoding="utf-8")
        print(table({record: found[record]}), flush=True)


if __name__ == "__main__":
    main()
