"""From finished runs to a record: one folder with the results of all seeds, a card and the weights."""

import dataclasses
import json
import pathlib
import tempfile
from collections.abc import Iterable
from typing import Any

import h5py  # comes with keras
import numpy as np

from keras_structnets.signatures import Path
from keras_structnets.training import _io, report
from keras_structnets.training.datasets import images_of
from keras_structnets.training.evaluate import accuracy
from keras_structnets.training.finetune import is_saved
from keras_structnets.training.recipe import Recipe
from keras_structnets.training.saved import load_model
from keras_structnets.training.trainer import flops_of
from keras_structnets.zoo.records import sha256

COPIED = ("history.csv", "curves.png", "confusion.png")


def publish(
    runs: Iterable[Path], out: Path | None = None, *, overwrite: bool = False
) -> dict[str, Any]:
    """Make a record of finished runs that differ only in seed or backend.

    The folder `out` gets `recipe.toml`, `results.json`, `card.md` and the weights, history and pictures
    of the first run. The weights are stored as float16 if the model is as accurate with them on the
    validation images, else as float32; they load on every backend.

    Args:
        runs: folders of runs.
        out: the folder; None for `zoo/<model>_<dataset>`.
        overwrite: whether a record in the folder may be replaced.

    Returns:
        What is in `results.json`, as a dict.

    Raises:
        ValueError: if a folder holds no finished run, or the runs differ in more than seed and backend.

    Example:
        >>> recipe = ksn.training.Recipe("convnet_1layer", epochs=1, batch_size=719)
        >>> results = ksn.training.train(recipe, "runs/first", verbose=0)
        >>> recorded = ksn.training.publish(["runs/first"], "zoo/convnet_1layer_digits")
        >>> recorded["runs"] == results["runs"], recorded["weights"]["file"]
        (True, 'convnet_1layer_digits.weights.h5')
    """
    folders = [pathlib.Path(path) for path in runs]
    recipes, found = zip(*map(_read, folders), strict=True)
    _refuse_others(folders, recipes)
    if is_saved(recipes[0]):
        raise ValueError(
            f"publish: {str(folders[0])!r} trained the model {recipes[0].model!r}, and records are of "
            "models of the zoo. Share its .keras file instead."
        )
    recipe, dataset = recipes[0], report.dataset_name(recipes[0].dataset)
    out = pathlib.Path(out or pathlib.Path("zoo", f"{recipe.model}_{dataset}"))
    _io.refuse_earlier_run(out, overwrite)
    model = load_model(folders[0])
    results = {
        key: found[0][key] for key in ("model", "dataset", "class_names", "images", "parameters")
    }
    results |= {
        "input_shape": list(model.input_shape[1:]),
        "sizes": recipe.sizes,
        "normalize": recipe.normalize,
        "flops": flops_of(model),
        "runs": [run for result in found for run in result["runs"]],
    }
    _io.make_folder(out)
    results["weights"] = _write_weights(model, recipe, found[0], out)
    for name in COPIED:
        _io.write(out / name, (folders[0] / name).read_bytes())
    recipe.write(out / "recipe.toml", report.recipe_header(out, results))
    _io.write(out / "results.json", json.dumps(results, indent=2) + "\n")
    _io.write(out / "card.md", report.record_card_of(out))
    return results


def _read(run):
    if not (run / "results.json").is_file():
        raise ValueError(
            f"publish: {str(run)!r} holds no finished run. Give folders that `structnets train` wrote."
        )
    return Recipe.read(run / "recipe.toml"), _io.read_results(run)


def _refuse_others(runs, recipes):
    first = dataclasses.asdict(recipes[0])
    for run, recipe in zip(runs, recipes, strict=True):
        values = dataclasses.asdict(recipe)
        other = [key for key in recipe.difference(recipes[0]) if key != "seed"]
        if other:
            raise ValueError(
                f"publish: {str(run)!r} has {other[0]}={values[other[0]]!r}, {str(runs[0])!r} has "
                f"{first[other[0]]!r}. A record's runs differ in seed and backend alone; make another "
                "record of it."
            )


def _write_weights(model, recipe, results, out):
    """Write the smallest weights file that is as accurate; what `results.json` says of it."""
    data = images_of(recipe)
    weights, reached = model.get_weights(), results["runs"][0]["accuracy"]
    for dtype in ("float16", "float32"):
        model.set_weights([w.astype(dtype).astype(w.dtype) for w in weights])
        found = accuracy(model.predict(data.x_val, batch_size=256, verbose=0), data.y_val)
        if found >= reached - 0.0005:
            break
    else:
        raise ValueError(
            f"publish: the saved model reaches {found:.2%} on {recipe.dataset!r}, but its results say "
            f"{reached:.2%}. Were the images changed?"
        )
    path = out / f"{out.resolve().name}.weights.h5"
    _save(model, path, dtype)
    return {
        "file": path.name,
        "dtype": dtype,
        "bytes": path.stat().st_size,
        "sha256": sha256(path),
        "accuracy": found,
    }


def _save(model, path, dtype):
    """Keras' own weights file, its numbers as `dtype` and compressed."""
    with tempfile.TemporaryDirectory() as folder, _io.replacing(path) as part:
        whole = pathlib.Path(folder, path.name)
        model.save_weights(whole)
        with h5py.File(whole) as file, h5py.File(part, "w", libver="latest") as smaller:
            _copy(file, smaller, dtype)


def _copy(source, target, dtype):
    target.attrs.update(source.attrs)
    for name, item in source.items():
        if isinstance(item, h5py.Group):
            _copy(item, target.create_group(name), dtype)
            continue
        numbers = np.asarray(item)
        numbers = numbers.astype(dtype) if numbers.dtype.kind == "f" else numbers
        packed = "gzip" if numbers.size > 1000 else None
        new = target.create_dataset(name, data=numbers, compression=packed)
        new.attrs.update(item.attrs)
