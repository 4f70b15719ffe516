"""Files that are written whole or not at all."""

import io
import os
import pathlib

PART = ".part-"


def write(path, content):
    """Write `content`, text or bytes, to `path`: an earlier file stays until the new one is whole.

    The bytes go to a file beside it, which is renamed when it is on the disk. Lines end in a newline
    on every system.

    Raises:
        OSError: if the disk is full or the folder cannot be written; what was there is still there.
    """
    path = pathlib.Path(path)
    content = content.encode("utf-8") if isinstance(content, str) else content
    part = path.with_name(PART + path.name)
    try:
        with open(part, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise OSError(
            error.errno,
            f"cannot write {str(path)!r}: {os.strerror(error.errno or 0)}. Nothing that was there is "
            "lost. Make room, or choose another folder with --out",
        ) from error


def write_by(path, save):
    """`write` what `save(file)` puts into a file in memory."""
    buffer = io.BytesIO()
    save(buffer)
    write(path, buffer.getvalue())


def write_model(path, model):
    """`write` a Keras model: `model.save` beside the path, then a rename."""
    path = pathlib.Path(path)
    part = path.with_name(f"{PART}{path.name}")
    try:
        model.save(part)
        os.replace(part, path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise OSError(
            error.errno, f"cannot write {str(path)!r}: {error}. Make room, or choose another folder"
        ) from error


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
