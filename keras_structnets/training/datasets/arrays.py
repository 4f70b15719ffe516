"""Data sets of NumPy arrays: one `.npz` file, or a `.npy` file for each input."""

import warnings

import numpy as np

from keras_structnets.training.datasets.archives import DAMAGED
from keras_structnets.training.datasets.registry import Source


def read_arrays(path):
    """The `Source` in a `.npz` with x_train and y_train, and perhaps x_val, y_val and class_names."""
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = dict(file)
    except DAMAGED as error:
        raise ValueError(
            f"load: `source` {str(path)!r} is damaged or no .npz of plain arrays: {error}. "
            "Write it with numpy.savez(path, x_train=..., y_train=...)."
        ) from error
    parts = [part for part in ("train", "val", "test") if f"x_{part}" in arrays][:2]
    if parts[:1] != ["train"] or any(f"y_{part}" not in arrays for part in parts):
        raise ValueError(
            f"load: `source` {str(path)!r} holds {sorted(arrays)}. It needs x_train and y_train, and "
            "may have x_val and y_val, or x_test and y_test."
        )
    checked = [_part(path, part, arrays) for part in parts]
    labels = np.concatenate([y for _, y in checked])
    names = _class_names(path, arrays, labels)
    (x, y), (x_val, y_val) = (*checked, (None, None))[:2]
    return Source(x, y, names, x_val, y_val)


def read_stack(paths):
    """[n, *shape] of `.npy` files, each an image, a series or a volume with channels."""
    arrays = []
    for path in paths:
        try:
            array = np.load(path, allow_pickle=False)
        except DAMAGED as error:
            raise ValueError(
                f"load: {str(path)!r} is damaged or no plain array: {error}. Write it with numpy.save."
            ) from error
        found, expected = ((a.shape, a.dtype) for a in (array, (arrays or [array])[0]))
        if found != expected or array.ndim not in (2, 3, 4) or array.dtype.kind not in "uif":
            raise ValueError(
                f"load: {str(path)!r} holds {found[1]} of {found[0]}, the first file {expected[1]} of "
                f"{expected[0]}. Give all arrays one type and shape: [steps, channels], [height, width, "
                "channels] or [depth, height, width, channels]."
            )
        arrays.append(array)
    x = np.stack(arrays)
    if x.dtype.kind == "f":
        _check_floats(paths[0].parent.parent, "the arrays", x)
    return x


def _part(path, part, arrays):
    """Checked images [n, h, w, c] and labels [n]."""
    x, y = arrays[f"x_{part}"], arrays[f"y_{part}"].reshape(-1)
    is_label = y.dtype.kind in "ui" and len(y) and y.min() >= 0
    if x.ndim not in (3, 4, 5) or x.dtype.kind not in "uif" or len(x) != len(y) or not is_label:
        raise ValueError(
            f"load: `source` {str(path)!r} has x_{part} of {x.shape} {x.dtype} and y_{part} of "
            f"{y.shape} {y.dtype}. Use pixels [n, height, width, channels] or [n, depth, "
            "height, width, channels], or series [n, steps, channels], and class numbers [n] from 0."
        )
    if x.dtype.kind == "f":
        _check_floats(path, f"x_{part}", x)
    is_gray = x.ndim == 3 and x.dtype.kind in "ui"
    return (x[..., None] if is_gray else x), y.astype("int32")


def _check_floats(path, name, x):
    wrong = np.argwhere(~np.isfinite(x))
    if len(wrong):
        index = tuple(wrong[0].tolist())
        raise ValueError(
            f"load: `source` {str(path)!r} has {x[index]} in {name} at {index}, and {len(wrong)} such "
            "pixels in all. Use finite numbers 0..255."
        )
    if x.ndim == 3 and x.shape[1] == x.shape[2]:
        warnings.warn(
            f"{str(path)!r}: {name} of {x.shape} {x.dtype} is taken as series of {x.shape[1]} steps and "
            f"{x.shape[2]} channels. For grey images add an axis: x[..., None]",
            stacklevel=2,
        )
    if x.ndim > 3 and x.size and 0 < x.max() <= 1:
        warnings.warn(
            f"{str(path)!r}: the pixels of {name} are between {x.min():g} and {x.max():g}, and models "
            f"take 0..255. Multiply them by 255",
            stacklevel=2,
        )


def _class_names(path, arrays, labels):
    n_classes = int(labels.max()) + 1
    names = [str(name) for name in arrays.get("class_names", np.arange(n_classes))]
    if len(names) < n_classes:
        raise ValueError(
            f"load: `source` {str(path)!r} has {len(names)} class_names, but class numbers up to "
            f"{n_classes - 1}. Class numbers start at 0; give a name for each class."
        )
    if labels.min() > 0:
        raise ValueError(
            f"load: `source` {str(path)!r} has class numbers {labels.min()}..{n_classes - 1}, and they "
            f"start at 0. Subtract {labels.min()} from y_train, and from the other labels."
        )
    return names
