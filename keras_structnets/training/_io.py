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
        part.unlink(missing_ok=True)  # if it is a symbolic link, its target would be written
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
    with replacing(path) as part, open(part, "xb") as file:
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


@contextlib.contextmanager
def held(folder):
    """Hold a folder, made if need be, as its only writer; a new one that stays empty is removed.

    Raises:
        ValueError: if another process holds it.
    """
    folder, library = pathlib.Path(folder), require("filelock")
    is_new = not folder.exists()
    lock = make_folder(folder) / f"{PART}lock"
    try:
        with library.FileLock(lock, blocking=False):
            try:
                yield
            finally:
                with contextlib.suppress(OSError):  # Windows removes no open file
                    lock.unlink()
    except library.Timeout:
        raise ValueError(
            f"train: another process writes to {str(folder)!r}. Wait until it ends, or choose another "
            "folder with --out."
        ) from None
    finally:
        if is_new and not any(folder.iterdir()):
            folder.rmdir()


def refuse_earlier_run(out, overwrite):
    """A ValueError if `out` is a file, or holds a run that may not be replaced."""
    if out.exists() and not out.is_dir():
        raise ValueError(f"`out` {str(out)!r} is a file. Choose another folder with --out.")
    if (
        not overwrite
        and out.is_dir()
        and any(not file.name.startswith(PART) for file in out.iterdir())
    ):
        if not (out / "recipe.toml").exists() and any(out.glob("*/recipe.toml")):
            raise ValueError(
                f"`out` {str(out)!r} holds other runs, and a run needs a folder of its own. Use for "
                f"example --out {out / 'second'}."
            )
        unfinished = (out / "recipe.toml").exists() and not (out / "results.json").exists()
        advice = f"Resume it with --resume {out}, choose" if unfinished else "Choose"
        raise ValueError(
            f"`out` {str(out)!r} holds an earlier run. {advice} another folder with --out, or "
            "replace it with --overwrite."
        )


def read_results(folder):
    """What is in `results.json`.

    Raises:
        ValueError: if the file is damaged.
    """
    path = pathlib.Path(folder, "results.json")
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{str(path)!r} is damaged: {error}. Copy it or train again.") from error


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
