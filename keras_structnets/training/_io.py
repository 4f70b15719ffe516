"""Files that are written whole or not at all, and libraries that are imported when needed."""

import contextlib
import importlib
import io
import json
import os
import pathlib
import re
import zipfile
from typing import Any

PART = ".part-"
CLASS_NAMES = "class_names.json"  # our member of a `.keras` archive, which Keras ignores
TRAIN = "Run: pip install 'keras_structnets[train]'"


@contextlib.contextmanager
def replacing(path):
    """A path to write to beside `path`, renamed to it in the end: an earlier file stays until then.

    Raises:
        OSError: if the disk is full or the folder cannot be written; what was there is still there.
    """
    path = pathlib.Path(path)
    part = path.with_name(PART + path.name)
    try:
        yield part
        os.replace(part, path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise OSError(
            error.errno,
            f"cannot write {str(path)!r}: {error.strerror or error}. Nothing that was there is lost. "
            "Make room, or choose another folder with --out",
        ) from error


def write(path, content):
    """Write `content`, text or bytes, whole or not at all; it is on the disk when this returns.

    Lines end in a newline on every system.
    """
    content = content.encode("utf-8") if isinstance(content, str) else content
    with replacing(path) as part, open(part, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def write_by(path, save):
    """`write` what `save(file)` puts into a file in memory."""
    buffer = io.BytesIO()
    save(buffer)
    write(path, buffer.getvalue())


def write_model(path, model, class_names=None):
    """Write a Keras model whole or not at all, with the names of its classes inside."""
    with replacing(path) as part:
        model.save(part)
        if class_names is not None:
            with zipfile.ZipFile(part, "a") as file:
                file.writestr(CLASS_NAMES, json.dumps(class_names))


def make_folder(path):
    """The folder `path`, made if need be; an OSError that names it where that cannot be."""
    path = pathlib.Path(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OSError(
            error.errno,
            f"cannot make the folder {str(path)!r}: {os.strerror(error.errno or 0)}. Choose another "
            "one with --out",
        ) from error
    return path


def require(module: str, advice: str = TRAIN) -> Any:
    """Import `module`, or raise an ImportError that says what to install."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ImportError(f"{module.partition('.')[0]} is not installed. {advice}") from error


def natural(paths):
    """`paths` sorted by name, with numbers in the order of their values."""

    def key(path):
        parts = re.split("([0-9]+)", path.name.lower())
        return [int(part) if i % 2 else part for i, part in enumerate(parts)], path.name

    return sorted(paths, key=key)


def printable(text: Any) -> str:
    """`text` with its control characters escaped, so that a terminal shows them."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in str(text))
