"""Options of the command line for the keys of a recipe, read from the source of `Recipe`.

Importing `Recipe` imports Keras, which takes seconds; `--help` takes none.
"""

import argparse
import ast
import dataclasses
import pathlib
import re
from typing import Any

SOURCE = pathlib.Path(__file__).parent / "training" / "recipe.py"
USUAL = {  # names that other training scripts give to the same options
    "optimizer": "--opt",
    "learning_rate": "--lr",
    "schedule": "--sched",
    "drop_epochs": "--milestones",
    "drop_factor": "--gamma",
    "weight_decay": "--wd",
    "clipnorm": "--clip-grad",
    "label_smoothing": "--smoothing",
    "ema": "--ema-decay",
}
TYPES = {"int": int, "float": float, "str": str}


@dataclasses.dataclass(frozen=True)
class Key:
    """One key of a recipe: its name, its annotation as text, its default and its sentence."""

    name: str
    annotation: str
    default: Any
    sentence: str


def recipe_keys() -> list[Key]:
    """The keys of a recipe that are options; not `model` and `sizes`."""
    tree = ast.parse(SOURCE.read_text(encoding="utf-8"))
    recipe = next(node for node in tree.body if getattr(node, "name", "") == "Recipe")
    assert isinstance(recipe, ast.ClassDef)
    sentences = _sentences(ast.get_docstring(recipe) or "")
    return [
        Key(node.target.id, ast.unparse(node.annotation), _value(node), sentences[node.target.id])
        for node in recipe.body
        if isinstance(node, ast.AnnAssign)
        and isinstance(node.target, ast.Name)
        and node.target.id not in ("model", "sizes")
    ]


def add_options(parser: argparse.ArgumentParser) -> None:
    """Give `parser` an option for each key, and its usual name."""
    for key in recipe_keys():
        names = [f"--{key.name.replace('_', '-')}", *filter(None, [USUAL.get(key.name)])]
        parser.add_argument(*names, dest=key.name, help=_help(key), **_settings(key))


def _value(node):
    return None if node.value is None else ast.literal_eval(node.value)


def _sentences(docstring):
    """{argument: its sentence} of a docstring in Google's style."""
    block = re.search(r"^Args:\n(.*?)(?=^\S|\Z)", docstring, re.M | re.S)
    parts = re.split(r"^    (\w+): ", block[1] if block else "", flags=re.M)
    return {
        name: " ".join(text.split()) for name, text in zip(parts[1::2], parts[2::2], strict=True)
    }


def _help(key):
    default = "none" if key.default in (None, (), "") else key.default
    default = f"{default:g}" if isinstance(default, float) else default
    sentence = f"{key.sentence[0].upper()}{key.sentence[1:]} Default: {default}."
    return sentence.replace("`", "").replace("%", "%%")


def _settings(key):
    """What `add_argument` takes for the type of the key."""
    kind = re.sub(r" \| None$", "", key.annotation)
    if kind == "bool":
        return {"action": argparse.BooleanOptionalAction, "default": None}
    if key.name == "pretrain":  # the option alone asks for the simpler start
        return {"nargs": "?", "const": "whitening", "metavar": "TEXT"}
    if key.name.endswith("_size") and kind.startswith("Sequence"):
        return {"type": int, "nargs": "+", "metavar": ("HEIGHT", "WIDTH")}
    if kind.startswith("Sequence"):
        inner = kind.removeprefix("Sequence[").removesuffix("]")
        return {"type": TYPES[inner], "nargs": "*", "metavar": _metavar(inner)}
    return {"type": TYPES[kind], "metavar": _metavar(kind)}


def _metavar(kind):
    return {"int": "INT", "float": "NUMBER", "str": "TEXT"}[kind]
