"""The arguments of each command."""

import argparse
import dataclasses
import tomllib

from keras_structnets import conversion, training
from keras_structnets.training.augment import OPERATIONS
from keras_structnets.training.datasets import DATASETS
from keras_structnets.training.recipe import CHOICES

SOURCES = "|".join((*DATASETS, "PATH"))
BENCHMARKS = ("layers", "models", "figure1")


def list_arguments(sub):
    """Arguments of `list`."""
    sub.add_argument("pattern", nargs="?", metavar="PATTERN", help="wildcards as in a shell")


def show_arguments(sub):
    """Arguments of `show`."""
    sub.add_argument("name", metavar="NAME", help="a name from the list")


def pretrain_arguments(sub):
    """Arguments of `pretrain`."""
    sub.add_argument("name", metavar="NAME", help="a SimNet from the list")
    sub.add_argument("--dataset", metavar=SOURCES, default="digits")
    sub.add_argument(
        "--only-whitening",
        action="store_true",
        help="pre-train the convolutions alone",
    )
    sub.add_argument("--seed", type=int, default=0, metavar="INT")
    _add_out(sub)


def publish_arguments(sub):
    """Arguments of `publish`."""
    sub.add_argument("runs", nargs="+", metavar="RUN", help="the folder of a finished run")
    _add_out(sub)


def convert_arguments(sub):
    """Arguments of `convert`."""
    sub.add_argument("model", metavar="MODEL", help="a run's folder, a record or a .keras file")
    names = conversion.list_conversions()
    sub.add_argument("--to", default="linear_mix", choices=names, metavar="|".join(names))
    sub.add_argument(
        "--dataset", metavar=SOURCES, help="fit the weights to its images; default: project them"
    )
    sub.add_argument("--images", dest="n_images", type=_positive, default=512, metavar="INT")
    sub.add_argument("--where", metavar="PATTERN", help="names of layers, for example 'stage2_*'")
    sub.add_argument("--min-channels", type=_positive, default=8, metavar="INT")
    sub.add_argument("--budget", type=float, default=0.5, metavar="FLOAT", help="of low_rank")
    sub.add_argument("--beta", type=float, default=1e6, metavar="FLOAT", help="of mex_pooling")
    _add_out(sub)


def evaluate_arguments(sub):
    """Arguments of `evaluate`."""
    sub.add_argument("model", metavar="MODEL", help="a run's folder, a record or a .keras file")
    sub.add_argument("--dataset", metavar=SOURCES, help="default: that of the run")


def predict_arguments(sub):
    """Arguments of `predict`."""
    sub.add_argument("model", metavar="MODEL", help="a run's folder, a record or a .keras file")
    sub.add_argument("images", nargs="+", metavar="IMAGE", help="an image file")


def bench_arguments(sub):
    """Arguments of `bench`."""
    sub.add_argument(
        "what",
        choices=BENCHMARKS,
        metavar="|".join(BENCHMARKS),
        help="layers: against other layers of the backend; models: against PyTorch, which has to be "
        "installed; figure1: that of the low-cost paper",
    )
    sub.add_argument("--only", dest="pattern", metavar="TEXT", help="what has TEXT in its name")
    sub.add_argument("--rounds", type=_positive, metavar="INT", help="turns that each one takes")
    sub.add_argument("--batch-size", type=_positive, metavar="INT", help="of figure1, default: 2")
    sub.add_argument("--device", metavar="DEVICE", help="for example cpu:0 or gpu:0")
    sub.add_argument("--out", metavar="FOLDER", default="runs/bench", help="default: runs/bench")


def _positive(text):
    if not text.isdigit() or not int(text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0. Use for example 5.")
    return int(text)


def train_arguments(sub):
    """An option for each key of a recipe."""
    sub.add_argument(
        "what",
        nargs="*",
        metavar="NAME|RECIPE",
        help="a name from the list, or a .toml file, which the other options override; several "
        "files are trained one after another, each into runs/<name of the file>: runs that have "
        "ended are skipped, and interrupted ones resumed",
    )
    sub.add_argument(
        "--set",
        dest="changes",
        action="append",
        default=[],
        type=_setting,
        metavar="KEY=VALUE",
        help="a key of the recipe, or sizes.KEY for an argument of the model, see show NAME; may be "
        "repeated",
    )
    sub.add_argument("--resume", metavar="FOLDER", help="continue a run that was stopped or killed")
    sub.add_argument("--tensorboard", action="store_true", help="write logs for TensorBoard too")
    _add_out(sub)
    for field in dataclasses.fields(training.Recipe):
        if field.name not in ("model", "sizes"):
            sub.add_argument(f"--{field.name.replace('_', '-')}", **_options(field))


def _options(field):
    """How the command line takes a key of the recipe."""
    options = {"type": field.type, "help": f"default: {field.default}"}
    if field.name == "dataset":
        options |= {
            "metavar": SOURCES,
            "help": "PATH: a sub-folder of images per class, also as .tar or .zip, or a .npz",
        }
    elif field.name in CHOICES:
        options["metavar"] = "|".join(CHOICES[field.name])
        if field.name == "pretrain":  # the option alone asks for the simpler start
            options |= {"nargs": "?", "const": "whitening"}
    elif field.name.endswith("_size") and field.name != "batch_size":
        options |= {"type": int, "nargs": 2, "metavar": ("HEIGHT", "WIDTH")}
    elif field.name == "drop_epochs":
        options |= {"type": int, "nargs": "+", "metavar": "EPOCH"}
    elif field.name == "augmentation":
        options |= {"type": str, "nargs": "*", "metavar": "|".join(OPERATIONS)}
    elif field.name == "channels":
        options |= {"type": int, "metavar": "1|3"}
    else:
        options["metavar"] = field.type.__name__.upper()
    return options


def _add_out(sub):
    sub.add_argument("--out", metavar="FOLDER", help="default: a folder in runs/ after the model")
    sub.add_argument("--overwrite", action="store_true", help="replace an earlier run")


def _setting(text):
    key, separator, value = text.partition("=")
    if not separator:
        raise argparse.ArgumentTypeError(f"{text!r} has no '='. Use for example epochs=5.")
    try:
        return key, tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        return key, value
