"""Models as files for other runtimes. Each file is run and compared with the model before it counts."""

import contextlib
import dataclasses
import io
import os
import pathlib
import tempfile
import warnings

import keras
import numpy as np

from keras_structnets import checks
from keras_structnets.inference.form import simplify
from keras_structnets.inference.formats import FORMATS, INSTALL, NOT_IN_EXTRA, missing
from keras_structnets.inference.predictor import size_and_type
from keras_structnets.signatures import Path

TOLERANCE = 1e-4  # of the largest output, for the rounding of other kernels: at most 5e-5 measured
_IMAGES = 3  # to compare, where the number of images is free


@dataclasses.dataclass(frozen=True)
class Exported:
    """The file that `export` wrote. As a text it says all of this.

    Attributes:
        path: where it is.
        format: what it is, such as "ONNX".
        size: bytes.
        difference: the largest difference of its outputs in its own runtime from those of the model,
            relative to the largest output; None if the runtime is not installed.
        note: what was not checked, and what to install; else empty.

    Example:
        >>> print(ksn.inference.Exported("mlp.onnx", "ONNX", 20480, 2e-7))
        mlp.onnx: ONNX, 20 KB. Its outputs are those of the model within 2.0e-07.
    """

    path: Path
    format: str
    size: int
    difference: float | None
    note: str = ""

    def __str__(self) -> str:
        if self.difference is None:
            compared = self.note
        else:
            compared = f"Its outputs are those of the model within {self.difference:.1e}."
        return f"{self.path}: {self.format}, {self.size / 1024:,.0f} KB. {compared}"


def export(model: keras.Model, path: Path, *, batch_size: int | None = None) -> Exported:
    """Write a model as a file for another runtime, and compare what it computes there.

    The file holds the inference form of the model, see `simplify`. It is written beside `path` under
    another name, loaded in its own runtime, and run on random images in 0..255. It gets its name if its
    outputs are those of the model up to 1e-4 of the largest one.

    | suffix | format | backends | runtime |
    |---|---|---|---|
    | `.onnx` | ONNX | TensorFlow, PyTorch, JAX with a fixed batch | ONNX Runtime |
    | `.tflite` | LiteRT | TensorFlow, PyTorch with a fixed batch | LiteRT, TensorFlow |
    | `.xml` | OpenVINO, with its weights in `.bin` | TensorFlow, PyTorch | OpenVINO |
    | none, a folder | SavedModel | TensorFlow, JAX | TensorFlow |
    | `.pt2` | PyTorch export | PyTorch | PyTorch |
    | `.stablehlo` | StableHLO of `jax.export` for CPU, CUDA and TPU | JAX | JAX |

    Shapes: the file computes [n, *input] -> [n, *output], for any n, or for n = `batch_size`.

    Args:
        model: a Functional or Sequential `keras.Model` of one input, whose size is known, and one output.
        path: of the file. Its suffix is the format.
        batch_size: the number of images that the file takes; None for any number. Microcontrollers take 1.

    Returns:
        An `Exported`. Without the runtime nothing is compared: `note` and a warning say so.

    Raises:
        ValueError: for another model; a suffix that is no format; a path that exists or cannot be written;
            a format that the backend cannot write, or whose packages are missing; a file that its runtime
            refuses, or that computes something else. Nothing is left on the disk then.

    Example:
        >>> model = ksn.zoo.build("simnet_mlp", input_shape=(8, 8, 1))
        >>> path = {"tensorflow": "mlp.tflite", "torch": "mlp.pt2", "jax": "mlp.stablehlo"}
        >>> exported = ksn.inference.export(model, path[keras.backend.backend()])
        >>> exported.difference < 1e-4
        True
    """
    size_and_type("export", model)
    if batch_size is not None:
        batch_size = checks.integer("export", "batch_size", batch_size)
    path = pathlib.Path(path)
    kind = _format(path, batch_size)
    with _beside(path) as folder:
        written = folder / path.name
        _write(kind, simplify(model), written, batch_size)
        difference, note = _compared(kind, model, written, batch_size)
        size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
        for suffix in (*kind.beside, path.suffix):  # the file that names the others comes last
            os.replace(written.with_suffix(suffix), path.with_suffix(suffix))
    if note:
        warnings.warn(f"export: {note}", stacklevel=2)
    return Exported(path, kind.title, size, difference, note)


def _format(path, batch_size):
    """The format of a path, if it can be written here and now."""
    suffix, backend = path.suffix.lower(), keras.backend.backend()
    if suffix not in FORMATS:
        known = ", ".join(f"{s or 'none (a folder)'} for {f.title}" for s, f in FORMATS.items())
        raise ValueError(
            f"export: unknown suffix {suffix!r} of `path` {str(path)!r}."
            f"{checks.did_you_mean(suffix, FORMATS)} Use {known}."
        )
    kind = FORMATS[suffix]
    if backend not in kind.packages:
        raise ValueError(
            f"export: the backend {backend!r} cannot write {kind.title}. Use KERAS_BACKEND="
            f"{' or '.join(kind.packages)}; a model that was saved as .keras loads there."
        )
    lacking = missing(kind.packages[backend])
    if lacking:
        raise ValueError(
            f"export: to write {kind.title} on {backend} takes {' and '.join(lacking)}. "
            f"Install with: {_install(lacking)}"
        )
    if batch_size is None and backend in kind.fixed:
        raise ValueError(
            f"export: {kind.title} is written on {backend} for a fixed number of images alone. "
            "Use batch_size=1."
        )
    for file in (path, *(path.with_suffix(other) for other in kind.beside)):
        if file.exists():
            raise ValueError(f"export: {str(file)!r} exists. Delete it, or use another path.")
    return kind


@contextlib.contextmanager
def _beside(path):
    """A folder on the disk of `path`, which is gone afterwards."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        folder = tempfile.TemporaryDirectory(dir=path.parent, prefix=".export_")
    except OSError as error:
        raise ValueError(
            f"export: cannot write to {str(path.parent)!r}: {error.strerror}. Use another path."
        ) from error
    with folder as name:
        yield pathlib.Path(name)


def _write(kind, form, path, batch_size):
    """Write the file; exporters print and warn of much that users cannot act on."""
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            kind.write(form, path, batch_size)
    except Exception as error:  # each exporter has its own
        raise ValueError(
            f"export: the exporter of {kind.title} on {keras.backend.backend()} failed: "
            f"{_first_line(error)}. {_advice(kind)}"
        ) from error


def _compared(kind, model, path, batch_size):
    """(largest relative difference, ""), or (None, what was not checked)."""
    if len(missing(kind.runtimes)) == len(kind.runtimes):
        return None, (
            f"the file was not run, because {kind.runtimes[0]} is missing. "
            f"Install with: {_install(kind.runtimes[:1])}"
        )
    (x,) = model.inputs
    found = []
    for n in (batch_size,) if batch_size else (1, _IMAGES):
        images = np.random.default_rng(n).uniform(0, 255, (n, *x.shape[1:])).astype(x.dtype)
        expected = keras.ops.convert_to_numpy(model(images, training=False))
        try:
            outputs = np.asarray(kind.load(path)(images))
        except Exception as error:  # each runtime has its own
            raise ValueError(
                f"export: the runtime of {kind.title} refuses the file: {_first_line(error)}. "
                f"Nothing was written. {_advice(kind)}"
            ) from error
        found.append(_difference(outputs, expected))
    if not max(found) <= TOLERANCE:
        raise ValueError(
            f"export: the outputs of the {kind.title} file differ from those of the model by "
            f"{max(found):.1e} of the largest. Nothing was written. {_advice(kind)}"
        )
    return max(found), ""


def _difference(found, expected):
    """The largest difference relative to the largest output; infinite for another shape or NaN."""
    if found.shape != expected.shape or not np.isfinite(found).all():
        return float("inf")
    return float(np.abs(found - expected).max() / (np.abs(expected).max() or 1.0))


def _install(packages):
    """How to install them; some are too large for the extra."""
    large = [name for name in packages if name in NOT_IN_EXTRA]
    return f"pip install {' '.join(NOT_IN_EXTRA[name] for name in large)}" if large else INSTALL


def _advice(kind):
    others = [backend for backend in kind.packages if backend != keras.backend.backend()]
    advice = f"KERAS_BACKEND={' or '.join(others)}, or " if others else ""
    return f"Try {advice}another format."


def _first_line(error):
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0].rstrip(".")[:300]
