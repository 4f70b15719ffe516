"""What each command of `structnets` does."""

import dataclasses
import importlib
import json
import os
import pathlib
import shutil
import sys
import warnings

from keras_structnets import checks, inference, tables, training, zoo
from keras_structnets.training import catalogue
from keras_structnets.training._io import printable, require
from keras_structnets.training.conversion import convert_and_save, training_images
from keras_structnets.training.evaluate import split_of
from keras_structnets.training.pretraining import pretrain_and_save
from keras_structnets.training.queue import run_folder, train_queue
from keras_structnets.training.reproduce import rows as find_rows
from keras_structnets.training.saved import class_names, file_of, load_model

_CALIBRATION = 256  # images


def list_models(pattern, pretrained, **formats):
    """Print the models, or the trained weights."""
    rows = catalogue.record_rows(pattern) if pretrained else catalogue.model_rows(pattern)
    if formats["json"]:
        print_json(rows)
    elif formats["csv"]:
        print(tables.csv_table(rows), end="")
    else:
        print_table([catalogue.in_short(row) for row in rows] if pretrained else rows)


def show(name):
    """Print what the zoo knows of one model, and its layers."""
    print(catalogue.model_card(name), end="\n\n")
    print_table(catalogue.layer_rows(zoo.build(name)))


def train(what, resume, out, overwrite, tensorboard, changes, **settings):
    """Train by a recipe, or by default settings, with those of the command line on top."""
    settings = {key: _size(key, value) for key, value in settings.items() if value is not None}
    options = {"tensorboard": tensorboard, "verbose": verbosity()}
    if resume is not None:
        if what or changes or settings or out or overwrite:
            raise ValueError(
                "train: --resume continues a run as it is. Leave out all options but --backend "
                "and --tensorboard."
            )
        training.resume(resume, **options)
    elif not what:
        raise ValueError("train: give the NAME of a model, the path of a recipe, or --resume.")
    elif len(what) > 1:
        if changes or settings or out or overwrite or not all(map(_is_recipe, what)):
            raise ValueError(
                "train: several recipes are trained into runs/<name of the file>, and take no options "
                "but --tensorboard and --backend. Write settings into the recipes; use --out for one "
                "recipe alone."
            )
        failed = train_queue(what, **options)
        if failed:
            raise ValueError(f"train: {len(failed)} of {len(what)} recipes failed, see above.")
    else:
        recipe = _changed(what[0], settings, dict(changes))
        out = out or (run_folder(what[0]) if _is_recipe(what[0]) else None)
        training.train(recipe, out, overwrite=overwrite, **options)


def _is_recipe(what):
    return what.endswith(".toml")


def _size(key, value):
    """`--image-size 32` is 32 x 32."""
    return (
        2 * value
        if key.endswith("_size") and isinstance(value, list) and len(value) == 1
        else value
    )


def _changed(what, settings, changes):
    """The recipe of a model, a record or a file, with settings and `--set` on top."""
    sizes = {key[6:]: value for key, value in changes.items() if key.startswith("sizes.")}
    settings |= {key: value for key, value in changes.items() if not key.startswith("sizes.")}
    known = [field.name for field in dataclasses.fields(training.Recipe)]
    for key in settings:
        checks.one_of("train", "--set key", key, [*known, "sizes.NAME"])
    record = zoo.records.named(what)
    if not record and not _is_recipe(what):
        return training.Recipe(what, **settings, sizes=sizes)
    base = training.Recipe.read(record.weights.with_name("recipe.toml") if record else what)
    kept = base.sizes if settings.get("model") in (None, base.model) else {}
    return dataclasses.replace(base, **settings, sizes=kept | sizes)


def pretrain(name, dataset, only_whitening, out, overwrite, seed):
    """Pre-train a SimNet on images without labels, and save it."""
    how = "whitening" if only_whitening else "mixture"
    recipe = training.Recipe(name, dataset, seed=seed, pretrain=how)
    pretrain_and_save(recipe, out, overwrite=overwrite, verbose=verbosity())


def publish(runs, out, overwrite):
    """Make a record of finished runs."""
    results = training.publish(runs, out, overwrite=overwrite)
    weights = results["weights"]
    folder = out or f"zoo/{weights['file'].partition('.')[0]}"
    stored = f"weights in {weights['dtype']}, {weights['bytes']:,} bytes"
    print(f"wrote {folder}/: {stored}, accuracy {weights['accuracy']:.2%}")


def reproduce(table, model, data, dataset, epochs, out, overwrite):
    """Print rows of the papers' result tables, or train the one that is given in full."""
    rows = find_rows(table, model, data)
    if data is None:
        print_table([row.in_short() for row in rows])
        return
    (row,) = rows
    recipe = row.shortened(epochs) if epochs else row.recipe
    if dataset:
        recipe = dataclasses.replace(recipe, dataset=dataset)
    out = out or f"runs/{table}_{model}_{data}"
    training.train(recipe, out, overwrite=overwrite, verbose=verbosity())
    if row.accuracy is not None:
        print(f"the paper's accuracy is {row.accuracy}%, after {row.recipe.epochs} epochs")


def convert(model, to, dataset, out, **options):
    """Convert the layers of a saved model, and print what changed."""
    convert_and_save(model, to, dataset, out, **options)


def evaluate(model, dataset, weights):
    """Print the accuracy of a trained model."""
    found = training.evaluate(model, dataset, weights=weights)
    print(
        f"accuracy {found['accuracy']:.2%} on {found['images']:,} images of {found['dataset']}, "
        f"{found['classes']} classes"
    )


def predict(model, images, weights, top, json):
    """Print the most likely classes of each image."""
    found = training.predict(model, images, weights=weights, top=top)
    is_share = all(0 <= output <= 1 for _, _, output in found)
    key = "probability" if is_share else "output"
    rows = [{"image": path, "class": name, key: output} for path, name, output in found]
    if json:
        print_json(rows)
    else:
        shown = [row | {key: f"{row[key]:.4f}"} for row in rows]
        print_table([{name: printable(value) for name, value in row.items()} for row in shown])


def export(model, path, weights, batch_size, precision, dataset):
    """Write a trained model as a file for another runtime."""
    network, images = load_model(model, weights), None
    if dataset is not None:
        images = training_images(dataset, network, _CALIBRATION, split_of(model, weights))
    options = {"batch_size": batch_size, "precision": precision, "calibration": images}
    metadata = {"model": network.name}
    names = class_names(file_of(model, weights))
    if names:  # trained by structnets
        metadata["class_names"] = "\n".join(names)
        if len(network.input_shape) == 4:
            metadata["input_range"] = "0 255"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # what is printed says the same
        print(inference.export(network, path, metadata=metadata, **options))


def bench(what, pattern, rounds, batch_size, device, out):
    """Time layers or models of ours against what one would use instead."""
    options = {"pattern": pattern, "rounds": rounds}
    if what == "figure1":
        options["batch_size"] = batch_size
    elif batch_size is not None:
        raise ValueError("bench: --batch-size is for figure1. Leave it out.")
    if rounds == 1:
        raise ValueError("bench: --rounds 1 gives no quartiles. Use --rounds 2 or more.")
    require("matplotlib")
    _benchmarks().main(what, out, device, **options)


def _benchmarks():
    """The programs in benchmarks/: inside the package in a wheel, beside it in a checkout."""
    try:
        return importlib.import_module("keras_structnets.benchmarks.run")
    except ModuleNotFoundError:
        sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))  # before the current folder
        return importlib.import_module("benchmarks.run")


def print_json(value):
    """Print a value as JSON."""
    print(json.dumps(value, indent=2, ensure_ascii=False))


def print_table(rows):
    """Print rows in columns that fit the terminal; whole into a pipe or a file."""
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    print(tables.text_table(rows, width))


def verbosity():
    """1, a progress bar, on a terminal; 2, a plain line per epoch, elsewhere and with NO_COLOR."""
    return 1 if sys.stdout.isatty() and not os.environ.get("NO_COLOR") else 2
