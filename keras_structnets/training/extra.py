"""Libraries beyond keras and numpy, imported when they are first needed."""

import importlib
from typing import Any

TRAIN = "Run: pip install 'keras_structnets[train]'"


def extra(module: str, advice: str = TRAIN) -> Any:
    """`module`, imported.

    Raises:
        ImportError: if it is missing; `advice` says what to install.

    Example:
        >>> ksn.training.extra("sklearn.datasets").load_digits().images.shape
        (1797, 8, 8)
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ImportError(f"{module.partition('.')[0]} is not installed. {advice}") from error
