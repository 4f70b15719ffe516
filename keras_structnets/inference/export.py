"""Export of models to other runtimes. Each file is run and compared with the model before it is kept."""

import contextlib
import dataclasses
import functools
import io
import os
import pathlib
import sys
import tempfile
import warnings

import keras
import numpy as np

from keras_structnets import checks
from keras_structnets.inference.form import simplify
from keras_structnets.inference.formats import FORMATS, INSTALL, NOT_IN_EXTRA, missing
from keras_structnets.inference.metadata import checked_texts
from keras_structnets.inference.plain import SpectralFilter
from keras_structnets.inference.precision import batches
from keras_structnets.inference.predictor import size_and_type
from keras_structnets.signatures import Path, Tensor

TOLERANCE = 1e-4  # of the largest output, for the rounding of other kernels: at most 5e-5 measured
PRECISIONS = "float32", "float16", "int8"
_FOURIER = (
    "The Fourier transforms of implicit and circulant layers stay in float32: int8 makes such a model "
    "smaller, but hardly faster. ExplicitDiffusion, as in explicit_rd_a, gains more."
)


@dataclasses.dataclass(frozen=True)
class Exported:
    """The file that `export` wrote; `print` shows all of this.

    Attributes:
        path: where it is.
        format: what it is, such as "ONNX".
        size: bytes.
        difference: the largest difference of its outputs in its own runtime from those of the model,
            relative to the largest output; None if the runtime is not installed.
        agreement: the share of the calibration images whose largest output is that of the model: for a
            classifier, of the images that it puts into the same class. None without such images.
        note: what was not checked and what to install, or a better choice; empty otherwise.

    Example:
        >>> print(ksn.inference.Exported("mlp.onnx", "ONNX", 20480, 2e-7))
        mlp.onnx: ONNX, 20 KB. Its outputs are those of the model within 2.0e-07.
    """

    path: Path
    format: str
    size: int
    difference: float | None
    note: str = ""
    agreement: float | None = None

    def __str__(self) -> str:
        parts = [f"{self.path}: {self.format}, {self.size / 1024:,.0f} KB."]
        if self.difference is not None:
            parts.append(f"Its outputs are those of the model within {self.difference:.1e}.")
        if self.agreement is not None:
            parts.append(f"{self.agreement:.1%} of the calibration images keep their class.")
        return " ".join([*parts, self.note]).strip()


def export(
    model: keras.Model,
    path: Path,
    *,
    batch_size: int | None = None,
    precision: str = "float32",
    calibration: Tensor = None,
    metadata: dict[str, str] | None = None,
) -> Exported:
    """Write a model as a file for another runtime, and compare its outputs there with the model's.

    The file holds the inference form of the model, see `simplify`. It is written beside `path` under
    another name, loaded in its own runtime, and run on the calibration images, or on random images in
    0..255. It is renamed to `path` if its outputs are those of the model up to 1e-4 of the largest one.

    float16 halves the weights of `.onnx`, `.tflite` and `.xml`. int8 is for `.onnx` and `.tflite`:
    convolutions and what is between them compute with integers, whose ranges are those on the calibration
    images. MEX and similarities of orders other than 1 and 2 stay in float32. TensorFlow writes both
    precisions. Their outputs must be finite, and have no other limit: `export` reports the difference, and
    how many of the calibration images keep their class.

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
        path: where to write. The suffix selects the format.
        batch_size: the number of images that the file takes; None for any number. Microcontrollers take 1.
        precision: "float32", "float16" or "int8".
        calibration: images as the model was trained on, [n, *input], 100 or more. int8 takes its ranges from
            them; every precision is compared on them.
        metadata: texts to store in the file, {name: text}, such as the `class_names` that the command line
            writes, one per line. StableHLO has no place for them.

    Returns:
        An `Exported`. Without the runtime nothing is compared: `note` and a warning say so.

    Raises:
        ValueError: for another model; a suffix that is no format; a path that exists or cannot be written;
            a format that the backend cannot write, or whose packages are missing; calibration images of
            another size; a file that its runtime refuses, or that computes something else. Nothing is left
            on the disk then.

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
    precision = checks.one_of("export", "precision", precision, PRECISIONS)
    images = _calibration(model, precision, calibration)
    write = _writer(kind, precision, images)
    texts = checked_texts(metadata or {})
    form = simplify(model)
    notes = [_FOURIER] if precision == "int8" and _is_spectral(form) else []
    with _beside(path) as folder:
        written = folder / path.name
        _write(kind, write, form, written, batch_size, precision)
        if texts and kind.describe:
            kind.describe(written, texts)
        if len(missing(kind.runtimes)) < len(kind.runtimes):
            difference, agreement = _compared(kind, model, written, batch_size, precision, images)
        else:
            difference = agreement = None
            notes.append(
                f"The file was not run, because {kind.runtimes[0]} is missing. "
                f"Install with: {_install(kind.runtimes[:1])}"
            )
        size = _size(folder)
        for suffix in (*kind.beside, path.suffix):  # the file that names the others comes last
            os.replace(written.with_suffix(suffix), path.with_suffix(suffix))
    note = " ".join(notes)
    if note:
        warnings.warn(f"export: {note}", stacklevel=2)
    return Exported(path, kind.title, size, difference, note, agreement)


def _is_spectral(form):
    return any(isinstance(layer, SpectralFilter) for layer in form.layers)


def _size(folder):
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


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


def _writer(kind, precision, images):
    """What writes the file: it takes a model, a path and the number of images."""
    if precision == "float32":
        return kind.write
    write = getattr(kind, precision)
    if write is None:
        known = [suffix for suffix, other in FORMATS.items() if getattr(other, precision)]
        raise ValueError(
            f"export: `precision` {precision!r} is for {' and '.join(known)}, not for {kind.title}. "
            "Use another suffix, or float32."
        )
    if keras.backend.backend() != "tensorflow":
        raise ValueError(
            f"export: `precision` {precision!r} is written on TensorFlow. Use KERAS_BACKEND=tensorflow; a "
            "model that was saved as .keras loads there."
        )
    lacking = missing(kind.runtimes[:1])  # it has the tools
    if lacking:
        raise ValueError(
            f"export: to write {kind.title} in {precision} takes {lacking[0]}. "
            f"Install with: {_install(lacking)}"
        )
    return functools.partial(write, images=images) if precision == "int8" else write


def _calibration(model, precision, images):
    """The calibration images as an array, or None."""
    if images is None:
        if precision == "int8":
            raise ValueError(
                "export: `precision` 'int8' needs `calibration` images, got None. Give 100 or more of the "
                "training images; on the command line, --dataset."
            )
        return None
    (x,) = model.inputs
    images = np.asarray(keras.ops.convert_to_numpy(images)).astype(x.dtype)
    if images.shape[1:] != x.shape[1:] or not len(images) or not np.isfinite(images).all():
        raise ValueError(
            f"export: `calibration` must be finite images [n, {', '.join(map(str, x.shape[1:]))}], got an "
            f"array of shape {images.shape}. Use images as those that the model was trained on."
        )
    return images


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


def _write(kind, write, form, path, batch_size, precision):
    """Write the file; exporters print and warn of much that users cannot act on."""
    try:
        with _quiet():
            write(form, path, batch_size)
    except Exception as error:  # each exporter has its own
        raise ValueError(
            f"export: the exporter of {kind.title} on {keras.backend.backend()} failed: "
            f"{_first_line(error)}. {_advice(kind, precision)}"
        ) from error


@contextlib.contextmanager
def _quiet():
    """Without warnings, standard output and standard error, that of C++ included."""
    kept = os.dup(2)
    try:
        with (
            warnings.catch_warnings(),
            contextlib.redirect_stdout(io.StringIO()),
            open(os.devnull, "w") as nowhere,
        ):
            warnings.simplefilter("ignore")
            os.dup2(nowhere.fileno(), 2)
            yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def _compared(kind, model, path, batch_size, precision, images):
    """(the largest relative difference of the outputs, the share of images of the same class or None)."""
    try:
        run = kind.load(path)
        pairs = [
            (np.asarray(run(x)), keras.ops.convert_to_numpy(model(x, training=False)))
            for x in _examples(model, batch_size, images)
        ]
    except Exception as error:  # each runtime has its own
        raise ValueError(
            f"export: the runtime of {kind.title} refuses the file: {_first_line(error)}. "
            f"Nothing was written. {_advice(kind, precision)}"
        ) from error
    difference = float(np.max([relative_difference(*pair) for pair in pairs]))
    if not difference <= (TOLERANCE if precision == "float32" else sys.float_info.max):
        raise ValueError(
            f"export: the outputs of the {kind.title} file differ from those of the model by "
            f"{difference:.1e} of the largest. Nothing was written. {_advice(kind, precision)}"
        )
    if images is None:
        return difference, None
    found, expected = (
        np.concatenate(outputs)[: len(images)] for outputs in zip(*pairs, strict=True)
    )
    return difference, float(np.mean(np.argmax(found, axis=-1) == np.argmax(expected, axis=-1)))


def _examples(model, batch_size, images):
    """Batches to compare on: calibration images, or random ones."""
    if images is not None:
        return batches(images, batch_size or min(len(images), 64))
    (x,) = model.inputs
    sizes = (batch_size,) if batch_size else (1, 3)
    return [
        np.random.default_rng(n).uniform(0, 255, (n, *x.shape[1:])).astype(x.dtype) for n in sizes
    ]


def relative_difference(found, expected):
    """The largest difference relative to the largest output; infinite for another shape or NaN."""
    if found.shape != expected.shape or not np.isfinite(found).all():
        return float("inf")
    return float(np.abs(found - expected).max() / (np.abs(expected).max() or 1.0))


def _install(packages):
    """How to install them; some are too large for the extra."""
    large = [name for name in packages if name in NOT_IN_EXTRA]
    return f"pip install {' '.join(NOT_IN_EXTRA[name] for name in large)}" if large else INSTALL


def _advice(kind, precision):
    if precision != "float32":  # TensorFlow alone writes it
        return "Try float32, or another format."
    others = [backend for backend in kind.packages if backend != keras.backend.backend()]
    advice = f"KERAS_BACKEND={' or '.join(others)}, or " if others else ""
    return f"Try {advice}another format."


def _first_line(error):
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0].rstrip(".")[:300]
