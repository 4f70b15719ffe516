"""The command line: `structnets` and `python -m keras_structnets`."""

import argparse
import dataclasses
import importlib
import os
import pathlib
import subprocess
import sys
import warnings

import keras

from keras_structnets import __version__, arguments, checks, training, zoo
from keras_structnets.training import catalogue
from keras_structnets.training._io import printable, require
from keras_structnets.training.conversion import convert_and_save
from keras_structnets.training.pretraining import pretrain_and_save
from keras_structnets.training.queue import train_queue

BACKENDS = ("jax", "torch", "tensorflow")


def main(argv=None):
    """Run one command; the exit code: 0, 2 after an error, 130 after an interrupt."""
    argv = sys.argv[1:] if argv is None else argv
    options = vars(_parser().parse_args(argv))
    command, backend = options.pop("command"), options.pop("backend")
    if backend not in (None, keras.backend.backend()):  # Keras chooses it when it is imported
        again = [sys.executable, "-m", "keras_structnets", *argv]
        return subprocess.run(again, env={**os.environ, "KERAS_BACKEND": backend}).returncode
    with warnings.catch_warnings():
        warnings.simplefilter("default", UserWarning)
        warnings.simplefilter("ignore", DeprecationWarning)
        warnings.showwarning = _show_warning
        try:
            command(**options)
        except (ValueError, ImportError, OSError, RuntimeError) as error:
            print(f"structnets: {' '.join(str(error).split())}", file=sys.stderr)
            return 2
        except KeyboardInterrupt:
            print("structnets: interrupted. Continue a training run with --resume", file=sys.stderr)
            return 130
    return 0


def list_models(pattern):
    """Print the table of models."""
    console = require("rich.console").Console()
    if not console.is_terminal:
        console.width = 160  # a pipe has no width; keep each model on one line
    console.print(catalogue.model_table(pattern))


def show(name):
    """Print what the zoo knows of one model, and its layers."""
    print(catalogue.model_card(name))
    zoo.build(name).summary()


def train(what, resume, out, overwrite, tensorboard, changes, **settings):
    """Train by a recipe, or by default settings, with those of the command line on top."""
    settings = {key: value for key, value in settings.items() if value is not None}
    if resume is not None:
        if what or changes or settings or out or overwrite:
            raise ValueError(
                "train: --resume continues a run as it is. Leave out all options but --backend "
                "and --tensorboard."
            )
        training.resume(resume, tensorboard=tensorboard)
    elif not what:
        raise ValueError("train: give the NAME of a model, the path of a recipe, or --resume.")
    elif len(what) > 1:
        if changes or settings or overwrite or not all(path.endswith(".toml") for path in what):
            raise ValueError(
                "train: a queue takes paths of recipes, --out, --tensorboard and --backend. Write "
                "other settings into the recipes."
            )
        failed = train_queue(what, out, tensorboard=tensorboard)
        if failed:
            raise ValueError(f"train: {len(failed)} of {len(what)} recipes failed, see above.")
    else:
        recipe = _changed(what[0], settings, dict(changes))
        training.train(recipe, out, overwrite=overwrite, tensorboard=tensorboard)


def _changed(what, settings, changes):
    """The recipe that `what` is the name or the path of, with settings and `--set` on top."""
    sizes = {key[6:]: value for key, value in changes.items() if key.startswith("sizes.")}
    settings |= {key: value for key, value in changes.items() if not key.startswith("sizes.")}
    known = [field.name for field in dataclasses.fields(training.Recipe)]
    for key in settings:
        checks.one_of("train", "--set key", key, [*known, "sizes.NAME"])
    if not what.endswith(".toml"):
        return training.Recipe(what, **settings, sizes=sizes)
    base = training.Recipe.read(what)
    kept = base.sizes if settings.get("model") in (None, base.model) else {}
    return dataclasses.replace(base, **settings, sizes=kept | sizes)


def pretrain(name, dataset, only_whitening, out, overwrite, seed):
    """Pre-train a SimNet on images without labels, and save it."""
    how = "whitening" if only_whitening else "mixture"
    recipe = training.Recipe(name, dataset, seed=seed, pretrain=how)
    pretrain_and_save(recipe, out, overwrite=overwrite)


def publish(runs, out, overwrite):
    """Make a record of finished runs."""
    results = training.publish(runs, out, overwrite=overwrite)
    weights = results["weights"]
    print(f"weights as {weights['dtype']}, {weights['bytes']:,} bytes: {weights['accuracy']:.2%}")


def convert(model, to, dataset, out, **options):
    """Convert the layers of a saved model, and print what changed."""
    print(convert_and_save(model, to, dataset, out, **options))


def evaluate(model, dataset):
    """Print the accuracy of a saved model."""
    result = training.evaluate(model, dataset)
    print(f"accuracy {result['accuracy']:.2%} on {result['images']} images of {result['dataset']}")


def predict(model, images):
    """Print the class of each image."""
    for path, name, output in training.predict(model, images):
        print(f"{printable(path)}\t{printable(name)}\t{output:.4f}")


def bench(what, pattern, rounds, batch_size, device, out):
    """Time layers or models of ours against what one would use instead."""
    options = {"pattern": pattern, "rounds": rounds}
    if what == "figure1":
        options["batch_size"] = batch_size
    elif batch_size is not None:
        raise ValueError("bench: --batch-size is for figure1. Leave it out.")
    require("matplotlib")
    _benchmarks().main(what, out, device, **options)


def _benchmarks():
    """The programs in benchmarks/: inside the package in a wheel, beside it in a checkout."""
    try:
        return importlib.import_module("keras_structnets.benchmarks.run")
    except ModuleNotFoundError:
        sys.path.append(str(pathlib.Path(__file__).parents[1]))
        return importlib.import_module("benchmarks.run")


class _Parser(argparse.ArgumentParser):
    """Says "Did you mean ...?" for an unknown command."""

    def _check_value(self, action, value):
        if action.choices is not None and value not in action.choices:
            close = checks.did_you_mean(value, action.choices)
            raise argparse.ArgumentError(action, f"unknown {value!r}.{close} See --help.")


def _parser():
    parser = _Parser(
        prog="structnets",
        description="Networks with structured neurons for Keras 3: list, train and use them. "
        "KERAS_BACKEND or --backend selects jax, torch or tensorflow.",
        epilog="example: structnets train simnet_2layer --dataset digits --epochs 30",
    )
    parser.add_argument("--version", action="version", version=f"keras_structnets {__version__}")
    commands = parser.add_subparsers(required=True, metavar="{" + ",".join(_COMMANDS) + "}")

    for name, (command, what, example, add_arguments) in _COMMANDS.items():
        sub = commands.add_parser(
            name,
            help=what,
            description=f"{what[0].upper()}{what[1:]}.",
            epilog=f"example: structnets {example}",
        )
        sub.set_defaults(command=command)
        sub.add_argument("--backend", choices=BACKENDS, metavar="|".join(BACKENDS))
        add_arguments(sub)
    return parser


def _show_warning(message, *_, **__):
    print(f"structnets: warning: {message}", file=sys.stderr)


_COMMANDS = {
    "list": (
        list_models,
        "print a table of the models",
        "list 'simnet*'",
        arguments.list_arguments,
    ),
    "show": (
        show,
        "print what is known of one model, and its layers",
        "show g_conv_net",
        arguments.show_arguments,
    ),
    "train": (
        train,
        "train a model on a data set or on a folder of images, and write runs/<name>/",
        "train simnet_2layer --dataset digits --epochs 30",
        arguments.train_arguments,
    ),
    "pretrain": (
        pretrain,
        "pre-train a SimNet on images without labels, and write runs/<name>_pretrained/",
        "pretrain simnet_2layer --dataset digits",
        arguments.pretrain_arguments,
    ),
    "publish": (
        publish,
        "make a record of finished runs that differ in seed or backend: results, card and small weights",
        "publish runs/simnet_2layer_digits --out zoo/simnet_2layer_digits",
        arguments.publish_arguments,
    ),
    "convert": (
        convert,
        "convert the layers of a saved model to cheaper ones, and write runs/<model>_<to>/",
        "convert runs/resnet_a_digits --to linear_mix --dataset digits",
        arguments.convert_arguments,
    ),
    "evaluate": (
        evaluate,
        "print the accuracy of a saved model on validation images",
        "evaluate runs/simnet_2layer_digits --dataset digits",
        arguments.evaluate_arguments,
    ),
    "predict": (
        predict,
        "print path, class and the model's output for each image",
        "predict runs/simnet_2layer_digits three.png seven.png",
        arguments.predict_arguments,
    ),
    "bench": (
        bench,
        "time layers or models against what one would use instead, and write JSON and a plot",
        "bench layers --backend torch",
        arguments.bench_arguments,
    ),
}

if __name__ == "__main__":
    sys.exit(main())
