"""Records: trained models of the zoo, with their results and weights, which come with the package."""

import dataclasses
import functools
import hashlib
import json
import pathlib
from typing import Any

from keras_structnets.signatures import Path

_HERE = pathlib.Path(__file__)
_PLACES = (_HERE.parent / "trained", _HERE.parents[2] / "zoo")  # in a wheel, in a checkout


@dataclasses.dataclass(frozen=True)
class Record:
    """A trained model of the zoo.

    Attributes:
        name: `<model>_<dataset>`, the name of its folder.
        model: its name in the zoo.
        dataset: what it was trained on: what `build(model, weights=dataset)` takes.
        class_names: the classes, in the order of the model's outputs.
        input_shape: (height, width, channels).
        sizes: the architecture's arguments that differ from the defaults.
        normalize: whether it normalizes pixels; False only divides them by 255.
        runs: for each seed and backend the accuracy, epochs, seconds, versions, machine and commit.
        weights: path of the weights file, those of the first run.
        sha256: checksum of that file.

    Example:
        >>> record = ksn.zoo.info("simnet_2layer").records["cifar10"]
        >>> record.name, record.input_shape, record.class_names[:3]
        ('simnet_2layer_cifar10', (32, 32, 3), ['airplane', 'automobile', 'bird'])
    """

    name: str
    model: str
    dataset: str
    class_names: list[str]
    input_shape: tuple[int, ...]
    sizes: dict[str, Any]
    normalize: bool
    runs: list[dict[str, Any]]
    weights: pathlib.Path
    sha256: str

    def checked_weights(self) -> pathlib.Path:
        """The path of the weights; a ValueError if the file is not the one that was recorded."""
        if not self.weights.is_file() or sha256(self.weights) != self.sha256:
            state = "is not the file that was recorded" if self.weights.is_file() else "is missing"
            raise ValueError(
                f"record {self.name!r}: {str(self.weights)!r} {state} (sha256 {self.sha256}). Install "
                "keras_structnets again."
            )
        return self.weights


def of(model: str) -> dict[str, Record]:
    """The records of one model, {dataset: `Record`}."""
    return {record.dataset: record for record in _all() if record.model == model}


def named(name: str) -> Record | None:
    """The `Record` of that name, or None."""
    return next((record for record in _all() if record.name == name), None)


def folders() -> list[pathlib.Path]:
    """The folders of all records."""
    place = next((place for place in _PLACES if place.is_dir()), None)
    return sorted(path.parent for path in place.glob("*/results.json")) if place else []


def read(path: Path) -> Record:
    """The `Record` in a folder."""
    path = pathlib.Path(path)
    try:
        results = json.loads((path / "results.json").read_text(encoding="utf-8"))
        file = results["weights"]["file"]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"record {path.name!r}: its results.json is damaged: {error!r}."
        ) from error
    if file in ("", "..") or pathlib.PurePath(file).name != file:
        raise ValueError(
            f"record {path.name!r}: `file` {file!r} is not in its folder. Give a name without a folder."
        )
    return Record(
        path.name,
        results["model"],
        path.name.removeprefix(f"{results['model']}_"),
        results["class_names"],
        tuple(results["input_shape"]),
        results["sizes"],
        results.get("normalize", True),
        results["runs"],
        path / file,
        results["weights"]["sha256"],
    )


def sha256(path: Path) -> str:
    """The checksum of a file, in hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@functools.cache
def _all():
    return [read(folder) for folder in folders()]
