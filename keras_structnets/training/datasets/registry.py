"""Data sets by name: `register` adds one."""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

DATASETS: dict[str, Any] = {}  # by name; `register` fills it


@dataclasses.dataclass(frozen=True, eq=False)
class Source:
    """What a source of images holds.

    Attributes:
        x: pixels 0..255, [n, height, width, channels].
        y: the class of each image, [n], from 0.
        class_names: a name for each class.
        x_val: the pixels of the source's own validation or test images, or None.
        y_val: their classes, or None.
    """

    x: np.ndarray
    y: np.ndarray
    class_names: list[str]
    x_val: np.ndarray | None = None
    y_val: np.ndarray | None = None


@dataclasses.dataclass(frozen=True)
class Dataset:
    """A named data set: the title that readers see, and the function that reads a `Source`."""

    title: str
    read: Callable[[], Source]


def register(name: str, title: str) -> Callable[[Any], Any]:
    """Register a data set: a function without arguments that returns a `Source`.

    Raises:
        ValueError: for a name that is taken.
    """
    if name in DATASETS:
        raise ValueError(f"register: the data set {name!r} exists. Choose another name.")

    def add(read):
        DATASETS[name] = Dataset(title, read)
        return read

    return add
