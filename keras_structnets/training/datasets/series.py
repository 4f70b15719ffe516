"""Time series in the `.tsv` files of the UCR archive: a series in each line, its class first."""

import pathlib

import numpy as np

from keras_structnets.training.datasets.registry import Source


def read_series(path):
    """The `Source` of X_TRAIN.tsv, series [n, steps, 1]; X_TEST.tsv beside it is for validation."""
    x, labels = _table(path)
    test = path.with_name(path.name.replace("_TRAIN.tsv", "_TEST.tsv"))
    x_val, labels_val = _table(test) if test != path and test.is_file() else (None, labels[:0])
    classes, y = np.unique(np.concatenate([labels, labels_val]), return_inverse=True)
    y, names = y.astype("int32"), [f"{name:g}" for name in classes]
    if x_val is not None and x_val.shape[1] != x.shape[1]:
        raise ValueError(
            f"load: {str(test)!r} has {x_val.shape[1]} steps and {str(path)!r} {x.shape[1]}. "
            "Give all series one length."
        )
    return Source(x, y[: len(x)], names, x_val, y[len(x) :] if x_val is not None else None)


def _table(path):
    try:
        table = np.loadtxt(pathlib.Path(path), delimiter="\t", ndmin=2, dtype="float32")
    except ValueError as error:
        raise ValueError(
            f"load: `source` {str(path)!r} is no table of numbers: {error}. Separate numbers by tabs, "
            "with the class first in each line."
        ) from error
    if table.shape[1] < 2 or not np.isfinite(table).all():
        raise ValueError(
            f"load: `source` {str(path)!r} has {table.shape[1] - 1} steps, and NaN or infinite ones "
            f"{np.count_nonzero(~np.isfinite(table))} times. Give finite series of one length."
        )
    return table[:, 1:, None], table[:, 0]
