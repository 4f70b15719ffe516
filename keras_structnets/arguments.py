"""The commands and their arguments. Nothing here imports Keras, so `--help` takes no time."""

import argparse
import dataclasses
from collections.abc import Callable

from keras_structnets import checks, recipe_options
from keras_structnets.shared_arguments import add_dataset, add_model, add_out, positive, setting

BACKENDS = ("jax", "torch", "tensorflow")
BENCHMARKS = ("layers", "models", "figure1")


@dataclasses.dataclass(frozen=True)
class Command:
    """A command: what `--help` says of it, and its arguments.

    Attributes:
        what: one sentence, without its full stop.
        example: what to type after `structnets`.
        add_arguments: adds its arguments to a parser.
        function: the name of its function in `keras_structnets.commands`.
    """

    what: str
    example: str
    add_arguments: Callable[[argparse.ArgumentParser], None]
    function: str


COMMANDS: dict[str, Command] = {}  # by name; `_command` fills it


def parser(version: str) -> argparse.ArgumentParser:
    """The parser of the command line."""
    top = _Parser(
        prog="structnets",
        description="Networks with structured neurons for Keras 3: list, train and use them. "
        "KERAS_BACKEND or --backend selects jax, torch or tensorflow.",
        epilog="example: structnets train simnet_2layer --dataset digits --epochs 30",
    )
    top.add_argument(
        "--version", action="version", version=f"keras_structnets {version}", help="print it"
    )
    commands = top.add_subparsers(required=True, metavar="COMMAND", dest="command")
    for name, command in COMMANDS.items():
        sub = commands.add_parser(
            name,
            help=command.what,
            description=f"{command.what[0].upper()}{command.what[1:]}.",
            epilog=f"example: structnets {command.example}",
        )
        command.add_arguments(sub)
        sub.add_argument(
            "--backend",
            choices=BACKENDS,
            metavar="|".join(BACKENDS),
            help="Backend of Keras. Default: KERAS_BACKEND, or what is installed.",
        )
    return top


class _Parser(argparse.ArgumentParser):
    """Says an error in one line, with "Did you mean ...?" for an unknown command."""

    def error(self, message):
        end = "" if message.endswith(("?", ".")) else "."
        self.exit(2, f"{self.prog}: {message}{end} See {self.prog} --help.\n")

    def _check_value(self, action, value):
        if action.choices is not None and value not in action.choices:
            close = checks.did_you_mean(value, action.choices)
            raise argparse.ArgumentError(action, f"unknown {value!r}.{close}")


def _command(name, what, example, function=None):
    """Register the decorated function as what adds the arguments of the command `name`."""

    def register(add_arguments):
        COMMANDS[name] = Command(what, example, add_arguments, function or name)
        return add_arguments

    return register


@_command("list", "list the models, or the trained weights", "list 'simnet*'", "list_models")
def _list(sub):
    sub.add_argument(
        "pattern", nargs="?", metavar="PATTERN", help="Only names that match, as 'simnet*'."
    )
    sub.add_argument(
        "--pretrained",
        action="store_true",
        help="List the trained weights instead, the most accurate first.",
    )
    formats = sub.add_mutually_exclusive_group()
    formats.add_argument("--json", action="store_true", help="Print JSON, with more columns.")
    formats.add_argument("--csv", action="store_true", help="Print CSV, with more columns.")


@_command("show", "show one model: paper, sizes, records and layers", "show g_conv_net")
def _show(sub):
    sub.add_argument("name", metavar="NAME", help="A name from the list.")


@_command(
    "train",
    "train a model on a data set or on a folder of images, and write runs/<name>/",
    "train simnet_2layer --dataset digits --epochs 30",
)
def _train(sub):
    sub.usage = "%(prog)s [options] NAME|RECIPE ..."
    sub.add_argument(
        "what",
        nargs="*",
        metavar="NAME|RECIPE",
        help="A name from the list, a record such as linear_mix_a_cifar10 to train it again, or a "
        ".toml file, which is trained into runs/<name of the file>. Other options override those of a "
        "record or a file. Several files are trained one after another: runs that have ended are "
        "skipped, and interrupted ones resumed.",
    )
    sub.add_argument(
        "--set",
        dest="changes",
        action="append",
        default=[],
        type=setting,
        metavar="KEY=VALUE",
        help="Set a key of the recipe, or sizes.KEY for an argument of the model, see show NAME. May "
        "be repeated.",
    )
    sub.add_argument("--resume", metavar="FOLDER", help="Continue an interrupted run.")
    sub.add_argument("--tensorboard", action="store_true", help="Write logs for TensorBoard too.")
    add_out(sub, "runs/<name of the .toml file>, or runs/<model>_<dataset>")
    recipe_options.add_options(sub)


@_command(
    "reproduce",
    "list the result tables of the papers, or train one of their rows",
    "reproduce lowcost-table2 explicit_rd_a cifar10",
)
def _reproduce(sub):
    sub.add_argument("table", nargs="?", metavar="TABLE", help="A table, such as gconv-table2.")
    sub.add_argument("model", nargs="?", metavar="MODEL", help="A network of the table.")
    sub.add_argument("data", nargs="?", metavar="DATA", help="A data set of the table.")
    add_dataset(sub, "Train on these images instead.")
    sub.add_argument(
        "--epochs", type=positive, metavar="INT", help="A shorter version of the recipe."
    )
    add_out(sub, "runs/TABLE_MODEL_DATA")


@_command(
    "pretrain",
    "pre-train a SimNet on images without labels, and write runs/<name>_pretrained/",
    "pretrain simnet_2layer --dataset digits",
)
def _pretrain(sub):
    sub.add_argument("name", metavar="NAME", help="A SimNet from the list.")
    add_dataset(sub, "The images. Default: digits.", default="digits")
    sub.add_argument(
        "--only-whitening", action="store_true", help="Pre-train the convolutions alone."
    )
    sub.add_argument(
        "--seed", type=int, default=0, metavar="INT", help="Of the patches and the mixture."
    )
    add_out(sub)


@_command(
    "publish",
    "make a record of finished runs that differ in seed or backend: results, card and small weights",
    "publish runs/simnet_2layer_digits --out zoo/simnet_2layer_digits",
)
def _publish(sub):
    sub.add_argument("runs", nargs="+", metavar="RUN", help="The folder of a finished run.")
    add_out(sub, "a folder in zoo/ after the model")


@_command(
    "convert",
    "convert the layers of a saved model to cheaper ones, and write runs/<model>_<to>/",
    "convert runs/resnet_a_digits --to linear_mix --dataset digits",
)
def _convert(sub):
    sub.add_argument(
        "model", metavar="MODEL", help="The folder of a run, a record or a .keras file."
    )
    sub.add_argument(
        "--to",
        default="linear_mix",
        metavar="CONVERSION",
        help="One of `ksn.conversion.list_conversions()`, such as low_rank. Default: linear_mix.",
    )
    add_dataset(
        sub,
        "Its images are used to fit the weights by least squares. Default: none; the weights are projected.",
    )
    sub.add_argument(
        "--where", metavar="PATTERN", help="Names of layers to convert, for example 'stage2_*'."
    )
    sub.add_argument(
        "--images",
        dest="n_images",
        type=positive,
        default=512,
        metavar="INT",
        help="Number of images for the least-squares fit. Default: 512.",
    )
    for option, type_, default, what in (
        ("min-channels", positive, 8, "Leave layers of fewer channels as they are. Default: 8."),
        ("budget", float, 0.5, "Fraction of the parameters that low_rank keeps. Default: 0.5."),
        ("beta", float, 1e6, "`beta` of mex_pooling. Default: 1e6, close to max pooling."),
    ):
        kind = "INT" if type_ is positive else "NUMBER"
        sub.add_argument(f"--{option}", type=type_, default=default, metavar=kind, help=what)
    add_out(sub, "runs/<model>_<to>")


@_command(
    "evaluate",
    "print the accuracy of a trained model on the validation images of a data set",
    "evaluate runs/simnet_2layer_digits --dataset digits",
)
def _evaluate(sub):
    add_model(sub)
    add_dataset(sub, "Default: the data set of the run.")


@_command(
    "predict",
    "print the class and its probability for each image",
    "predict simnet_2layer_cifar10 photo.jpg photos/ --top 5",
)
def _predict(sub):
    add_model(sub)
    sub.add_argument(
        "images", nargs="+", metavar="IMAGE", help="An image file, or a folder of images."
    )
    sub.add_argument(
        "--top", type=positive, default=1, metavar="INT", help="Classes per image. Default: 1."
    )
    sub.add_argument("--json", action="store_true", help="Print JSON.")


@_command(
    "export",
    "write a trained model as a file for another runtime, and compare what it computes there",
    "export simnet_2layer_cifar10 simnet.tflite --batch-size 1",
)
def _export(sub):
    add_model(sub)
    sub.add_argument(
        "path",
        metavar="PATH",
        help="The suffix selects the format: .onnx, .tflite, .xml (OpenVINO), .pt2, .stablehlo, or none for "
        "the folder of a SavedModel.",
    )
    sub.add_argument(
        "--batch-size",
        type=positive,
        metavar="INT",
        help="Images that the file takes at a time. Default: any number.",
    )
    precision = sub.add_mutually_exclusive_group()
    for name, what in (
        ("float16", "Store weights in float16."),
        ("int8", "Quantize, with --dataset."),
    ):
        precision.add_argument(
            f"--{name}", dest="precision", action="store_const", const=name, help=what
        )
    sub.set_defaults(precision="float32")
    add_dataset(sub, "Its training images calibrate int8, and are what the file is compared on.")


@_command(
    "bench",
    "time layers or models against their usual alternatives, and write JSON and a plot",
    "bench layers --backend torch",
)
def _bench(sub):
    sub.add_argument(
        "what",
        choices=BENCHMARKS,
        metavar="|".join(BENCHMARKS),
        help="layers: against standard layers of Keras; models: against PyTorch, which must be "
        "installed; figure1: Figure 1 of the low-cost paper.",
    )
    sub.add_argument(
        "--only", dest="pattern", metavar="TEXT", help="Time only those with TEXT in their name."
    )
    sub.add_argument(
        "--rounds",
        type=positive,
        metavar="INT",
        help="Timed repetitions of each. The best one counts.",
    )
    sub.add_argument(
        "--batch-size", type=positive, metavar="INT", help="Batch size of figure1. Default: 2."
    )
    sub.add_argument("--device", metavar="DEVICE", help="For example cpu:0 or gpu:0.")
    sub.add_argument(
        "--out",
        metavar="FOLDER",
        default="runs/bench",
        help="The folder to write into. Default: runs/bench.",
    )
