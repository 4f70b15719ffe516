"""Archives that lie, are damaged or hostile: each is read or refused by name, and nothing is written."""

import io
import lzma
import pathlib
import random
import tarfile
import tempfile
import zipfile

from PIL import Image

from keras_structnets import training
from tests.fuzz import limits
from tests.fuzz.limits import table

__all__ = ["outcomes", "table"]
ENDINGS = {".zip": "", ".tar": "w", ".tar.gz": "w:gz", ".tar.bz2": "w:bz2", ".tar.xz": "w:xz"}


def outcomes(seed=0, count=500, only=None):
    """(kind, name, end) of each hostile archive and of `count` that are damaged at random."""
    rng = random.Random(seed)
    with tempfile.TemporaryDirectory() as place:
        folder = pathlib.Path(place, "inner")
        folder.mkdir()
        for kind, name, ending, data in _all(rng, count):
            if only in (None, kind):
                path = folder / f"x{ending}"
                path.write_bytes(data)
                yield (
                    kind,
                    name,
                    limits.end_of(lambda path=path: training.load(path, image_size=(6, 6)), folder),
                )
                path.unlink()


def _all(rng, count):
    yield from hostile()
    whole = {ending: archive(ending, members()) for ending in ENDINGS}
    for i in range(count):
        ending = rng.choice(list(whole))
        kind = rng.choice(list(DAMAGES))
        yield kind, f"{ending} {i}", ending, DAMAGES[kind](bytearray(whole[ending]), rng)


def members():
    """{name in the archive: bytes} of two classes of three pictures."""
    return {f"data/{name}/{i}.png": picture(40 * i) for name in "ab" for i in range(3)}


def picture(value, size=(6, 6)):
    """The bytes of a PNG of one colour."""
    file = io.BytesIO()
    Image.new("RGB", size, (value, 0, 9)).save(file, "PNG")
    return file.getvalue()


def archive(ending, files, infos=()):
    """The bytes of an archive."""
    file = io.BytesIO()
    if ending == ".zip":
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as made:
            for name, data in files.items():
                made.writestr(name, data)
        return file.getvalue()
    with tarfile.open(fileobj=file, mode=ENDINGS[ending]) as made:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            made.addfile(info, io.BytesIO(data))
        for info in infos:
            made.addfile(info)
    return file.getvalue()


def _flipped(data, rng):
    for _ in range(rng.randint(1, 8)):
        data[rng.randrange(len(data))] = rng.randrange(256)
    return bytes(data)


def _cut(data, rng):
    return bytes(data[: rng.randrange(len(data))])


def _spliced(data, rng):
    start, end = sorted(rng.randrange(len(data)) for _ in range(2))
    target = rng.randrange(len(data))
    return bytes(data[:target] + data[start:end] + data[target:])


def _zeroed(data, rng):
    start = rng.randrange(len(data))
    data[start : start + 64] = bytes(len(data[start : start + 64]))
    return bytes(data)


DAMAGES = {"flipped": _flipped, "cut": _cut, "spliced": _spliced, "zeroed": _zeroed}


def with_size(data, size):
    """A tar whose first member claims another size."""
    data = bytearray(data)
    number = size.to_bytes(12, "big", signed=True)
    data[124:136] = bytes([0x80 | number[0] if size >= 0 else 0xFF]) + number[1:]
    data[148:156] = b" " * 8
    data[148:156] = b"%06o\0 " % sum(data[:512])
    return bytes(data)


def hostile():
    """(kind, name, ending, bytes) of archives that were made to do harm."""
    tar = archive(".tar", members())
    for size in (-512, -1, 2**33, 2**62):
        yield "sizes", f"size {size}", ".tar", with_size(tar, size)
    for name in (
        "../../out.png",
        "/tmp/out.png",
        "data/../../../out.png",
        "data/a/\0.png",
        "\\\\x\\a",
    ):
        for ending in (".zip", ".tar"):
            files = members() | {name: picture(1)}
            yield "names", f"{name!r} {ending}", ending, archive(ending, files)
    for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE):
        info = tarfile.TarInfo("data/a/link.png")
        info.type, info.linkname = kind, "/etc/passwd"
        yield "links", f"type {kind}", ".tar", archive(".tar", members(), [info])
    header = tarfile.TarInfo("data/a/x.png")
    header.type, header.size = tarfile.XHDTYPE, 2**25
    yield "bombs", "pax header", ".tar.xz", lzma.compress(header.tobuf() + bytes(2**25), preset=0)
    many = zipfile.ZipInfo("data/a/zeros.png")
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as made, made.open(many, "w") as member:
        for _ in range(300):
            member.write(bytes(2**20))
    yield "bombs", "one of 300 MiB", ".zip", file.getvalue()
    yield (
        "bombs",
        "large image",
        ".zip",
        archive(".zip", {f"data/{name}.png": picture(0, (3000, 3000)) for name in ("a/0", "b/0")}),
    )
    yield "bombs", "overlapping", ".zip", overlapping()


def overlapping():
    """A zip whose entries all show one compressed member."""
    data = archive(".zip", {"data/a/0.png": picture(0, (500, 500)) + bytes(2**22)})
    start, end = data.index(b"PK\1\2"), data.index(b"PK\5\6")
    entry, n = data[start:end], 500
    names = [b"da%02d/%03d.png" % (i % 2, i) for i in range(n)]  # each as long as the first
    entries = b"".join(entry.replace(b"data/a/0.png", name) for name in names)
    tail = bytearray(data[end:])
    tail[8:12] = n.to_bytes(2, "little") * 2
    tail[12:16] = len(entries).to_bytes(4, "little")
    return data[:start] + entries + bytes(tail)
