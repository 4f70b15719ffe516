"""The command line: `structnets` and `python -m keras_structnets`."""

import argparse
import dataclasses
import sys
import tomllib
import warnings

from keras_structnets import __version__, checks, training, zoo
from keras_structnets.training.recipe import CHOICES

DATASETS = "digits|cifar10|cifar100|PATH"
COMMANDS = ("list", "show", "train", "pretrain", "evaluate", "predict")


def main(argv=None):
    """Run one command; the exit code: 0, 2 after an error, 130 after an interrupt."""
    arguments = vars(_parser().parse_args(argv))
    command = arguments.pop("command")
    with warnings.catch_warnings():
        warnings.simplefilter("default", UserWarning)
        warnings.simplefilter("ignore", DeprecationWarning)
        warnings.showwarning = _show_warning
        try:
            command(**arguments)
        except (ValueError, ImportError, OSError, RuntimeError) as error:
            print(f"structnets: {' '.join(str(error).split())}", file=sys.stderr)
            return 2
        except KeyboardInterrupt:
            print("structnets: interrupted", file=sys.stderr)
            return 130
    return 0


def list_models(pattern):
    """Print the table of models."""
    console = training.extra("rich.console").Console()
    if not console.is_terminal:
        console.width = 160  # a pipe has no width; keep each model on one line
    console.print(training.table(pattern))


def show(name):
    """Print what the zoo knows of one model, and its layers."""
    print(training.card(name))
    zoo.build(name).summary()


def train(name, recipe, out, overwrite, size, **settings):
    """Train by the recipe file, if one is given, with the settings of the command line on top."""
    settings = {key: value for key, value in settings.items() if value is not None}
    if name is not None:
        settings["model"] = name
    if recipe is not None:
        base = training.Recipe.read(recipe)
        sizes = base.sizes if name in (None, base.model) else {}
        settings["sizes"] = sizes | dict(size)
        recipe = dataclasses.replace(base, **settings)
    elif name is None:
        raise ValueError("train: give the NAME of a model, or a --recipe file.")
    else:
        recipe = training.Recipe(**settings, sizes=dict(size))
    training.train(recipe, out, overwrite=overwrite)


def pretrain(name, dataset, templates, out, overwrite, seed):
    """Start a SimNet from images without labels, and save it."""
    how = "mixture" if templates == "mixture" else "whitening"
    recipe = training.Recipe(name, dataset, seed=seed, pretrain=how)
    training.pretrain(recipe, out, overwrite=overwrite)


def evaluate(model, dataset):
    """Print the accuracy of a saved model."""
    result = training.evaluate(model, dataset)
    print(f"accuracy {result['accuracy']:.2%} on {result['images']} images of {result['dataset']}")


def predict(model, images):
    """Print the class of each image."""
    for path, name, output in training.predict(model, images):
        print(f"{path}\t{name}\t{output:.4f}")


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
        "KERAS_BACKEND=jax, torch or tensorflow chooses what computes.",
        epilog="example: structnets train simnet_2layer --dataset digits --epochs 30",
    )
    parser.add_argument("--version", action="version", version=f"keras_structnets {__version__}")
    commands = parser.add_subparsers(required=True, metavar="{" + ",".join(COMMANDS) + "}")

    def add(name, command, what, example):
        sub = commands.add_parser(
            name,
            help=what,
            description=f"{what[0].upper()}{what[1:]}.",
            epilog=f"example: structnets {example}",
        )
        sub.set_defaults(command=command)
        return sub

    sub = add("list", list_models, "print a table of the models", "list 'simnet*'")
    sub.add_argument("pattern", nargs="?", metavar="PATTERN", help="wildcards as in a shell")

    sub = add("show", show, "print what is known of one model, and its layers", "show g_conv_net")
    sub.add_argument("name", metavar="NAME", help="a name from the list")

    sub = add(
        "train",
        train,
        "train a model on a data set or on a folder of images, and write runs/<name>/",
        "train simnet_2layer --dataset digits --epochs 30",
    )
    _add_train_arguments(sub)

    sub = add(
        "pretrain",
        pretrain,
        "start a SimNet from images without their labels, and write runs/<name>_pretrained/",
        "pretrain simnet_2layer --dataset digits",
    )
    sub.add_argument("name", metavar="NAME", help="a SimNet from the list")
    sub.add_argument("--dataset", metavar=DATASETS, default="digits")
    sub.add_argument(
        "--templates",
        choices=("mixture", "keep"),
        default="mixture",
        help="where the similarities start: from a mixture of the patches, or as they are",
    )
    sub.add_argument("--seed", type=int, default=0, metavar="INT")
    _add_out(sub)

    sub = add(
        "evaluate",
        evaluate,
        "print the accuracy of a saved model on held-out images",
        "evaluate runs/simnet_2layer_digits --dataset digits",
    )
    sub.add_argument("model", metavar="MODEL", help="a run's folder or a .keras file")
    sub.add_argument("--dataset", metavar=DATASETS, help="default: that of the run")

    sub = add(
        "predict",
        predict,
        "print path, class and the model's output for each image",
        "predict runs/simnet_2layer_digits three.png seven.png",
    )
    sub.add_argument("model", metavar="MODEL", help="a run's folder or a .keras file")
    sub.add_argument("images", nargs="+", metavar="IMAGE", help="an image file")
    return parser


def _add_train_arguments(sub):
    """An option for each key of a recipe."""
    sub.add_argument("name", nargs="?", metavar="NAME", help="a name from the list")
    sub.add_argument("--recipe", metavar="FILE", help="a TOML file; the other options override it")
    _add_out(sub)
    sub.add_argument(
        "--size",
        action="append",
        default=[],
        type=_size,
        metavar="KEY=VALUE",
        help="an argument of the model, see show NAME; may be repeated",
    )
    for field in dataclasses.fields(training.Recipe):
        if field.name in ("model", "sizes"):
            continue
        options = {"type": field.type, "help": f"default: {field.default}"}
        if field.name == "dataset":
            options |= {
                "metavar": DATASETS,
                "help": "PATH: a sub-folder of images per class, also as .tar or .zip, or a .npz",
            }
        elif field.name in CHOICES:
            options["metavar"] = "|".join(CHOICES[field.name])
            if field.name == "pretrain":  # the option alone asks for the simpler start
                options |= {"nargs": "?", "const": "whitening"}
        elif field.name == "image_size":
            options |= {
                "type": int,
                "nargs": 2,
                "metavar": ("HEIGHT", "WIDTH"),
                "help": "of a folder's images",
            }
        elif field.name == "drop_epochs":
            options |= {"type": int, "nargs": "+", "metavar": "EPOCH"}
        else:
            options["metavar"] = field.type.__name__.upper()
        sub.add_argument(f"--{field.name.replace('_', '-')}", **options)


def _add_out(sub):
    sub.add_argument("--out", metavar="FOLDER", help="default: a folder in runs/ after the model")
    sub.add_argument("--overwrite", action="store_true", help="replace an earlier run")


def _size(text):
    key, _, value = text.partition("=")
    try:
        return key, tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        return key, value


def _show_warning(message, *_, **__):
    print(f"structnets: warning: {message}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
