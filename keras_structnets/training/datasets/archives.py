"""Folders of images in a .tar or .zip, read without unpacking it."""

import lzma
import pathlib
import tarfile
import zipfile
import zlib

from keras_structnets.training._io import natural
from keras_structnets.training.datasets.images import Member

TARS = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
DAMAGED = (
    tarfile.TarError,
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    OSError,
    RuntimeError,  # encrypted, or packed by an unknown method
    ValueError,
    TypeError,
    KeyError,
)
MAX_MEMBER = 2**28  # bytes of one file


def read_archive(path, max_bytes):
    """{class: members} of an archive; the class is the folder that a file lies in.

    Raises:
        ValueError: for a damaged archive, and for files of more than `max_bytes` together.
    """
    members = _zip_members if path.suffix == ".zip" else _tar_members
    groups, total = {}, 0
    try:
        for inside, size, read in members(path):
            if len(inside.parts) < 2 or _is_hidden(inside):
                continue
            total += size
            _check_size(path, inside, size, total, max_bytes)
            groups.setdefault(inside.parent, []).append(Member(str(path), inside, read()))
    except TooLargeError:
        raise
    except DAMAGED as error:
        raise ValueError(
            f"load: `source` {str(path)!r} is damaged, encrypted or incomplete: "
            f"{error or type(error).__name__}. Copy, download or pack it again."
        ) from error
    return _by_class(path, groups)


class TooLargeError(ValueError):
    """An archive, or a file in it, is larger than the limit."""


def _check_size(path, inside, size, total, max_bytes):
    if size > MAX_MEMBER:
        raise TooLargeError(
            f"load: `source` {str(path)!r} holds {str(inside)!r} of {size:,} bytes, and the limit for "
            f"a file is {MAX_MEMBER:,}. Remove it."
        )
    if total > max_bytes:
        raise TooLargeError(
            f"load: the files in `source` {str(path)!r} have more than {max_bytes:,} bytes. Unpack it "
            "and give the folder, or raise `max_bytes` of `load` if you trust it."
        )


def _by_class(path, groups):
    files = {folder.name: natural(groups[folder]) for folder in natural(groups)}
    if len(files) < len(groups):
        raise ValueError(
            f"load: `source` {str(path)!r} has images in {', '.join(map(str, natural(groups)))}; folders "
            "of the same name would be one class. Pack one folder that holds one folder per class."
        )
    return files


def _is_hidden(path):
    return any(part.startswith(".") or part == "__MACOSX" for part in path.parts)


class _TarInfo(tarfile.TarInfo):
    """Refuses negative sizes, on which Python before 3.11.14 loops for ever (CVE-2025-8194)."""

    def _block(self, count):
        if count < 0:
            raise tarfile.ReadError("a file of negative size")
        return super()._block(count)


def _tar_members(path):
    with tarfile.open(path, tarinfo=_TarInfo) as archive:
        for member in archive:
            if member.isfile():
                yield (
                    pathlib.PurePosixPath(member.name),
                    member.size,
                    lambda member=member: archive.extractfile(member).read(),
                )


def _zip_members(path):
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            if not member.is_dir():
                name = member.filename  # some programs on Windows write backslashes
                name = name if "/" in name else name.replace("\\", "/")
                yield (
                    pathlib.PurePosixPath(name),
                    member.file_size,
                    lambda member=member: archive.read(member),
                )
