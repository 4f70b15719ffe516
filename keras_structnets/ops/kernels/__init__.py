"""Kernels: operations of one backend that are faster than the same operation in `keras.ops`.

Each backend has a file, which is imported only where that backend runs.
"""

import importlib
from collections.abc import Callable

import keras


def select(operation: str) -> Callable | None:
    """The current backend's kernel for `operation`, or None where there is none."""
    backend = keras.backend.backend()
    if backend not in ("tensorflow", "torch"):
        return None
    return getattr(importlib.import_module(f"{__name__}.{backend}"), operation, None)
