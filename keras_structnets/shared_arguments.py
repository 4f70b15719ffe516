"""Arguments that several commands share, and the types of their values."""

import argparse
import tomllib


def add_model(sub):
    """MODEL and --weights."""
    sub.add_argument(
        "model",
        metavar="MODEL",
        help="The folder of a run, a .keras file, a record (see list --pretrained), or with --weights a "
        "model.",
    )
    sub.add_argument(
        "--weights",
        metavar="DATASET",
        help="With a name from the list as MODEL: the data set that its weights were trained on.",
    )


def add_dataset(sub, sentence, default=None):
    """--dataset, whose help ends with `sentence`."""
    sub.add_argument(
        "--dataset",
        metavar="NAME|PATH",
        default=default,
        help="A data set by name, such as digits or cifar10; or the path of a folder with one "
        f"sub-folder of images per class, of such a folder as .tar or .zip, or of a .npz. {sentence}",
    )


def add_out(sub, default="a folder in runs/ after the model and data set"):
    """--out and --overwrite."""
    sub.add_argument(
        "--out", metavar="FOLDER", help=f"The folder to write into. Default: {default}."
    )
    sub.add_argument(
        "--overwrite", action="store_true", help="Replace an earlier run in this folder."
    )


def positive(text):
    """An integer above 0."""
    if not text.isdigit() or not int(text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0. Use for example 5.")
    return int(text)


def setting(text):
    """KEY=VALUE as a pair; VALUE is read as TOML, and as a text where it is none."""
    key, found, value = text.partition("=")
    if not found:
        raise argparse.ArgumentTypeError(f"{text!r} has no '='. Use for example epochs=5.")
    try:
        return key, tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        return key, value
