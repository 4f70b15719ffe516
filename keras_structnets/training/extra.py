"""Libraries beyond keras and numpy, imported when they are first needed."""

import importlib

TRAIN = "Run: pip install 'keras_structnets[train]'"


def extra(module, advice=TRAIN):
    """`module`, imported; an ImportError that says what to install where it is missing."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ImportError(f"{module.partition('.')[0]} is not installed. {advice}") from error
