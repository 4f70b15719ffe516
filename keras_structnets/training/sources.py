"""Where images come from: scikit-learn's digits, Keras' data sets, folders, archives and arrays."""

import dataclasses
import io
import pathlib
import re
import tarfile
import warnings
import zipfile

import keras
import numpy as np

from keras_structnets.training import downloads
from keras_structnets.training.extra import extra

CIFAR10 = "airplane automobile bird cat deer dog frog horse ship truck"
CIFAR100 = """apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus
butterfly camel can castle caterpillar cattle chair chimpanzee clock cloud cockroach couch crab crocodile
cup dinosaur dolphin elephant flatfish forest fox girl hamster house kangaroo keyboard lamp lawn_mower
leopard lion lizard lobster man maple_tree motorcycle mountain mouse mushroom oak_tree orange orchid otter
palm_tree pear pickup_truck pine_tree plain plate poppy porcupine possum rabbit raccoon ray road rocket
rose sea seal shark shrew skunk skyscraper snail snake spider squirrel streetcar sunflower sweet_pepper
table tank telephone television tiger tractor train trout tulip turtle wardrobe whale willow_tree wolf
woman worm"""
NAMES = ("digits", "cifar10", "cifar100", *downloads.FILES)
TARS = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")


@dataclasses.dataclass(frozen=True, eq=False)
class Member:
    """A file of an archive, read into memory; it has what is used of a `pathlib.Path`."""

    archive: str
    path: pathlib.PurePosixPath
    data: bytes

    @property
    def name(self):
        """The last part of its path."""
        return self.path.name

    def __str__(self):
        return f"{self.archive}/{self.path}"


def read(source, image_size=None, channels=None):
    """Pixels [n, h, w, c], labels [n], class names, and which are held out [n] or None: see `load`."""
    path = pathlib.Path(source)
    if str(source) in NAMES:
        images, *others = _digits() if str(source) == "digits" else _named(str(source))
        return resized(images, image_size), *others
    if path.is_file() and path.suffix == ".npz":
        images, *others = _arrays(path)
        return resized(images, image_size), *others
    if path.is_file() and path.name.endswith((*TARS, ".zip")):
        return *_read_classes(path, _archived(path), image_size, channels), None
    if not path.is_dir():
        what = "not a folder, archive or .npz" if path.exists() else "missing"
        raise ValueError(
            f"load: `source` {str(path)!r} is {what}. Give {', '.join(map(repr, NAMES))}, a folder with "
            f"one sub-folder of images per class, such a folder as {', '.join(TARS)} or .zip, or a .npz."
        )
    folders = natural(p for p in path.iterdir() if p.is_dir() and not p.name.startswith("."))
    files = {folder.name: natural(_files(folder)) for folder in folders}
    return *_read_classes(path, files, image_size, channels), None


def _read_classes(path, files, image_size, channels):
    """Pixels, labels and names of {class: files}."""
    if len(files) < 2:
        raise ValueError(
            f"load: {str(path)!r} has {len(files)} class sub-folders, and at least 2 are needed. "
            "Put the images of each class into a sub-folder with the name of the class."
        )
    label_of = {file: label for label, group in enumerate(files.values()) for file in group}
    images, kept = read_images(list(label_of), image_size, channels)
    labels = np.array([label_of[file] for file in kept], "int32")
    for label, name in enumerate(files):
        if label not in labels:
            raise ValueError(
                f"load: class sub-folder {str(path / name)!r} holds no image. Put images into it "
                "or remove it; if the classes lie one level deeper, give the folder above them."
            )
    return images, labels, list(files)


def read_images(paths, size=None, channels=None):
    """Pixels [n, h, w, c] of the images among `paths`, uint8, and the paths that are images.

    Files that are not images are named in a warning. `size` and `channels` None: those of the
    first image.
    """
    images, kept, broken = [], [], []
    for path in paths:
        try:
            image = _read(path, size, channels)
        except FileNotFoundError:
            raise
        except _unreadable():
            broken.append(str(path))
            continue
        size, channels = image.shape[:2], image.shape[2]
        images.append(image)
        kept.append(path)
    if broken:
        more = f" and {len(broken) - 20} more" if len(broken) > 20 else ""
        warnings.warn(
            f"left out {len(broken)} of {len(paths)} files that are not readable images: "
            f"{', '.join(broken[:20])}{more}",
            stacklevel=2,
        )
    return (np.stack(images) if images else np.zeros((0, 1, 1, 1), "uint8")), kept


def resized(images, size):
    """[n, h, w, c] -> [n, *size, c], bilinear; `size` None or that of the images changes nothing."""
    if size is None or images.shape[1:3] == tuple(size):
        return images
    whole = images.dtype.kind in "ui"
    parts = []
    for start in range(0, len(images), 1000):  # few at a time, for they are floats meanwhile
        part = images[start : start + 1000].astype("float32")
        part = keras.ops.convert_to_numpy(keras.ops.image.resize(part, size, antialias=True))
        parts.append(part.round().astype(images.dtype) if whole else part)
    return np.concatenate(parts)


def natural(paths):
    """`paths` sorted by name, with numbers in the order of their values."""

    def key(path):
        parts = re.split("([0-9]+)", path.name.lower())
        return [int(part) if i % 2 else part for i, part in enumerate(parts)], path.name

    return sorted(paths, key=key)


def _archived(path):
    """{class: members} of an archive; the class is the folder that a file lies in."""
    read_members = _zip_members if path.suffix == ".zip" else _tar_members
    try:
        members = [
            Member(str(path), inside, data)
            for inside, data in read_members(path)
            if len(inside.parts) > 1 and not _is_hidden(inside)
        ]
    except downloads.DAMAGED as error:
        raise ValueError(
            f"load: `source` {str(path)!r} is damaged or incomplete: {error or type(error).__name__}. "
            "Copy or download it again."
        ) from error
    groups = {}
    for member in members:
        groups.setdefault(member.path.parent, []).append(member)
    files = {folder.name: natural(groups[folder]) for folder in natural(groups)}
    if len(files) < len(groups):
        raise ValueError(
            f"load: `source` {str(path)!r} has images in {', '.join(map(str, natural(groups)))}; folders "
            "of the same name would be one class. Pack one folder that holds one folder per class."
        )
    return files


def _is_hidden(path):
    return any(part.startswith(".") or part == "__MACOSX" for part in path.parts)


def _tar_members(path):
    with tarfile.open(path) as archive:
        for member in archive:
            if member.isfile():
                yield pathlib.PurePosixPath(member.name), archive.extractfile(member).read()


def _zip_members(path):
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            if not member.is_dir():
                yield pathlib.PurePosixPath(member.filename), archive.read(member)


def _arrays(path):
    """What a .npz holds."""
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = dict(file)
    except downloads.DAMAGED as error:
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
    images = [arrays[f"x_{part}"] for part in parts]
    labels = [arrays[f"y_{part}"].reshape(-1) for part in parts]
    for part, x, y in zip(parts, images, labels, strict=True):
        whole = y.dtype.kind in "ui" and len(y) and y.min() >= 0
        if x.ndim not in (3, 4) or x.dtype.kind not in "uif" or len(x) != len(y) or not whole:
            raise ValueError(
                f"load: `source` {str(path)!r} has x_{part} of {x.shape} {x.dtype} and y_{part} of "
                f"{y.shape} {y.dtype}. Use pixels [n, height, width, channels] and class numbers [n] "
                "from 0."
            )
    n_classes = int(max(y.max() for y in labels)) + 1
    names = [str(name) for name in arrays.get("class_names", np.arange(n_classes))]
    if len(names) < n_classes:
        raise ValueError(
            f"load: `source` {str(path)!r} has {len(names)} class_names, but class numbers up to "
            f"{n_classes - 1}. Give a name for each class."
        )
    return _joined(images, labels, names)


def _named(name):
    """A data set that is downloaded, checked and kept."""
    if name in downloads.FILES:
        (x, y), (x_test, y_test), names = downloads.read(name)
    else:
        (x, y), (x_test, y_test) = getattr(keras.datasets, name).load_data()
        names = {"cifar10": CIFAR10, "cifar100": CIFAR100}[name].split()
    return _joined([x, x_test], [y.reshape(-1), y_test.reshape(-1)], names)


def _joined(images, labels, names):
    """Parts as one, those after the first held out."""
    images = [x if x.ndim == 4 else x[..., None] for x in images]
    held = np.arange(sum(map(len, labels))) >= len(labels[0]) if len(labels) > 1 else None
    return np.concatenate(images), np.concatenate(labels).astype("int32"), names, held


def _digits():
    digits = extra("sklearn.datasets").load_digits()
    images = digits.images[..., None].astype("float32") * (255 / 16)  # scanned in 17 levels
    return images, digits.target.astype("int32"), [str(name) for name in digits.target_names], None


def _files(folder):
    return (p for p in folder.iterdir() if p.is_file() and not p.name.startswith("."))


def _read(path, size, channels):
    """One image as uint8 [height, width, channels]."""
    image_module, image_ops = extra("PIL.Image"), extra("PIL.ImageOps")
    file = io.BytesIO(path.data) if isinstance(path, Member) else path
    with image_module.open(file) as image:
        image = image_ops.exif_transpose(image)
        if image.mode.startswith("I;16"):  # convert("L") would clip the 16 bits instead of scaling
            image = image_module.fromarray((np.asarray(image) >> 8).astype("uint8"))
        grey = channels == 1 if channels else image.mode in ("1", "L", "LA", "I", "F")
        image = image.convert("L" if grey else "RGB")
        if size is not None and image.size != (size[1], size[0]):
            image = image.resize((size[1], size[0]), image_module.Resampling.BILINEAR)
        pixels = np.asarray(image)
    return pixels[..., None] if grey else pixels


def _unreadable():
    """What Pillow raises for files that are damaged, too large, or no images."""
    return OSError, SyntaxError, ValueError, extra("PIL.Image").DecompressionBombError
