"""Folders of images in a .tar or .zip, read without unpacking it."""

import functools
import io
import lzma
import pathlib
import tarfile
import zipfile
import zlib

TARS = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
DAMAGED = (
    *(tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, OSError),
    *(
        RuntimeError,
        ValueError,
        TypeError,
        KeyError,
    ),  # the first if encrypted, or an unknown method
)
MAX_MEMBER = 2**28  # bytes of one file
MAX_HEADER = 2**20  # of a long name in a tar


class TooLargeError(ValueError):
    """An archive, or a file in it, is larger than the limit."""


class Archive:
    """The files of an archive, one at a time: (path, file object) pairs.

    Args:
        path: of the archive.
        max_bytes: limit for all files together, when unpacked.

    Attributes:
        folders: those that the files lie in, when all were gone through.

    Raises:
        ValueError: for a damaged archive, and for files that are too large.
    """

    def __init__(self, path, max_bytes):
        self.path, self.max_bytes = path, max_bytes

    def __iter__(self):
        self.folders, total = set(), 0
        try:
            for inside, size, read in (_zip if self.path.suffix == ".zip" else _tar)(self.path):
                if len(inside.parts) < 2 or _is_hidden(inside):
                    continue
                total += size
                self._check_size(inside, size, total)
                path = pathlib.PurePosixPath(self.path.as_posix(), inside)
                self.folders.add(path.parent)
                yield path, io.BytesIO(read())
        except TooLargeError:
            raise
        except DAMAGED as error:
            raise ValueError(
                f"load: `source` {str(self.path)!r} is damaged, encrypted or incomplete: "
                f"{error or type(error).__name__}. Copy, download or pack it again."
            ) from error

    def _check_size(self, inside, size, total):
        if size > MAX_MEMBER:
            raise TooLargeError(
                f"load: `source` {str(self.path)!r} holds {str(inside)!r} of {size:,} bytes, and the "
                f"limit for a file is {MAX_MEMBER:,}. Remove it."
            )
        if total > self.max_bytes:
            raise TooLargeError(
                f"load: the files in `source` {str(self.path)!r} have more than {self.max_bytes:,} bytes. "
                "Unpack it and give the folder, or raise `max_bytes` of `load` if you trust it."
            )


def _is_hidden(path):
    return any(part.startswith(".") or part == "__MACOSX" for part in path.parts)


class _TarInfo(tarfile.TarInfo):
    """Refuses impossible sizes: on negative ones Python before 3.11.14 loops for ever (CVE-2025-8194)."""

    def _block(self, count):
        limit = MAX_MEMBER if self.isreg() else MAX_HEADER
        if not 0 <= count <= limit:
            raise tarfile.ReadError(f"it holds a file of {count:,} bytes, the limit is {limit:,}")
        return super()._block(count)


def _tar(path):
    """Path, size and a function that reads it, of each file."""
    with tarfile.open(path, tarinfo=_TarInfo) as archive:
        for member in archive:
            if member.isfile():
                name = pathlib.PurePosixPath(member.name)
                yield name, member.size, archive.extractfile(member).read


def _zip(path):
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            if not member.is_dir():
                name = member.filename  # some programs on Windows write backslashes
                name = pathlib.PurePosixPath(name if "/" in name else name.replace("\\", "/"))
                yield name, member.file_size, functools.partial(archive.read, member)
