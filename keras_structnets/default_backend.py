"""Keras takes TensorFlow where nobody chose a backend; take what is installed instead."""

import importlib.util
import json
import os
import pathlib
import sys


def choose():
    """Set KERAS_BACKEND if Keras is not imported yet and would take a backend that is missing."""
    if "keras" in sys.modules or "KERAS_BACKEND" in os.environ:
        return
    if _is_installed(_configured()):
        return
    for backend in ("jax", "torch"):
        if _is_installed(backend):
            os.environ["KERAS_BACKEND"] = backend
            return


def _configured():
    """The backend in Keras' configuration file, or its default."""
    home = pathlib.Path(os.environ.get("KERAS_HOME", pathlib.Path.home() / ".keras"))
    try:
        return json.loads((home / "keras.json").read_text(encoding="utf-8"))["backend"]
    except (OSError, ValueError, KeyError, TypeError):
        return "tensorflow"


def _is_installed(backend):
    return importlib.util.find_spec(backend) is not None


def is_command_line():
    """Whether this process runs `structnets` or `python -m keras_structnets`."""
    program = pathlib.Path(sys.argv[0] if sys.argv else "").name
    as_module = program == "-m" and "keras_structnets" in sys.orig_argv
    return as_module or program in ("structnets", "structnets.exe")
