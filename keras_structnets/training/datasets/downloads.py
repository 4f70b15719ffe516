"""Data sets that are downloaded once: SVHN, STL-10 and Tiny ImageNet, read without unpacking them.

`FILES` gives the address and MD5 checksum of each file, as their users know them. The files go to
Keras' cache, `~/.keras/datasets` unless KERAS_HOME says otherwise.
"""

import functools
import io
import pathlib
import tarfile
import zipfile

import keras
import numpy as np

from keras_structnets.training._io import require
from keras_structnets.training.datasets.archives import DAMAGED
from keras_structnets.training.datasets.registry import Source, register

SVHN = "http://ufldl.stanford.edu/housenumbers"
FILES = {  # {data set: {address: checksum}}
    "svhn": {
        f"{SVHN}/train_32x32.mat": "e26dedcc434d2e4c54c9b2d4a06d8373",
        f"{SVHN}/test_32x32.mat": "eb5a983be6a315427106f1b164d9cef3",
    },
    "stl10": {
        "http://ai.stanford.edu/~acoates/stl10/stl10_binary.tar.gz": "91f7769df0f17e558f3565bffb0c7dfb"
    },
    "tiny_imagenet": {
        "http://cs231n.stanford.edu/tiny-imagenet-200.zip": "90528d7ca1a48142e341f4ef8d21d0de"
    },
}
EXTRA = {f"{SVHN}/extra_32x32.mat": "a93ce644f1a588dc4d68dda5feec44a7"}
FILES["svhn_extra"] = FILES["svhn"] | EXTRA
CACHE = None  # Keras' own


def _downloaded(parse):
    """The function without arguments that fetches the files of a data set and calls `parse` on them."""
    name = parse.__name__

    @functools.wraps(parse)
    def read():
        paths = [_fetch(name, *file) for file in FILES[name].items()]
        try:
            (x, y), (x_val, y_val), names = parse(*paths)
        except (*DAMAGED, require("scipy.io.matlab").MatReadError) as error:
            raise ValueError(
                f"load: {name} in {', '.join(map(str, paths))} is damaged or incomplete: "
                f"{error or type(error).__name__}. Delete the file, and it is downloaded again."
            ) from error
        return Source(x, y, names, x_val, y_val)

    return read


def _fetch(name, address, checksum):
    file = f"{name.removesuffix('_extra')}_{address.rpartition('/')[2]}"
    options = {"file_hash": checksum, "hash_algorithm": "md5", "cache_dir": CACHE}
    try:
        return pathlib.Path(keras.utils.get_file(file, address, **options))
    except Exception as error:  # Keras raises a plain Exception where it cannot fetch
        raise ValueError(
            f"load: {name} cannot be downloaded from {address}: {error}. Download it by other means, and "
            "give the path of a folder or archive of class folders."
        ) from error


@register("svhn", title="SVHN")
@_downloaded
def svhn(*paths):
    """99,289 photos of house numbers, 32x32 (Netzer et al. 2011).

    MATLAB files with X [32, 32, 3, n] and y, where 10 stands for the digit 0.
    """
    parts = []
    for path in paths:
        content = require("scipy.io").loadmat(path, variable_names=["X", "y"], appendmat=False)
        images, labels = np.moveaxis(content["X"], -1, 0), content["y"].reshape(-1) % 10
        parts.append((np.ascontiguousarray(images), labels.astype("int32")))
    return (*parts, list("0123456789"))


@register("svhn_extra", title="SVHN with extra images")
@_downloaded
def svhn_extra(train, test, extra):
    """630,420 photos of house numbers: `svhn` and 531,131 easier ones to train on, as in the papers."""
    train, test, extra, names = svhn.__wrapped__(train, test, extra)
    return tuple(map(np.concatenate, zip(train, extra, strict=True))), test, names


@register("stl10", title="STL-10")
@_downloaded
def stl10(path):
    """13,000 photos of 10 classes, 96x96 (Coates et al. 2011).

    A tar with planes by column, [n, 3, 96 columns, 96 rows], and class numbers from 1.
    """
    wanted = ("train_X.bin", "train_y.bin", "test_X.bin", "test_y.bin", "class_names.txt")
    content = {}
    with tarfile.open(path) as archive:
        for member in archive:  # the 100,000 images without labels, most of the file, stay packed
            name = pathlib.PurePosixPath(member.name).name
            if name in wanted:
                content[name] = archive.extractfile(member).read()
                if len(content) == len(wanted):
                    break
    parts = []
    for part in ("train", "test"):
        planes = np.frombuffer(content[f"{part}_X.bin"], "uint8").reshape(-1, 3, 96, 96)
        labels = np.frombuffer(content[f"{part}_y.bin"], "uint8").astype("int32") - 1
        parts.append((np.ascontiguousarray(planes.transpose(0, 3, 2, 1)), labels))
    return (*parts, content["class_names.txt"].decode().split())


@register("tiny_imagenet", title="Tiny ImageNet")
@_downloaded
def tiny_imagenet(path):
    """110,000 photos of 200 classes, 64x64.

    A zip with train/<class>/images/*.JPEG, and val/ with a table of file names and classes.
    """
    with zipfile.ZipFile(path) as archive:
        names = {pathlib.PurePosixPath(name).name: name for name in archive.namelist()}
        classes = archive.read(names["wnids.txt"]).decode().split()
        words = archive.read(names["words.txt"]).decode().splitlines()
        words = dict(line.split("\t", 1) for line in words)
        rows = archive.read(names["val_annotations.txt"]).decode().splitlines()
        held = [(names[file], classes.index(name)) for file, name, *_ in (r.split() for r in rows)]
        train = []
        for name in archive.namelist():
            inside = pathlib.PurePosixPath(name)
            if inside.suffix == ".JPEG" and inside.parts[-4:-3] == ("train",):
                train.append((name, classes.index(inside.parts[-3])))
        parts = []
        for files in (train, held):
            images = [_pixels(archive.read(name)) for name, _ in files]
            parts.append((np.stack(images), np.array([label for _, label in files], "int32")))
    return (*parts, [words[name].split(",")[0].strip().replace(" ", "_") for name in classes])


def _pixels(data):
    """A JPEG as [height, width, 3]; some are grey."""
    with require("PIL.Image").open(io.BytesIO(data)) as image:
        return np.asarray(image.convert("RGB"))
