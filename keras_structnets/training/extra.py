"""Libraries beyond keras and numpy, imported when they are first needed."""

import importlib


def extra(module):
    """`module`, imported; an ImportError that says what to install where it is missing."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ImportError(
            f"{module.partition('.')[0]} is not installed. "
            "Run: pip install 'keras_structnets[train]'"
        ) from error
