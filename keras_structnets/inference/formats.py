"""The formats of exported files: who writes them, and who runs them."""

import dataclasses
import importlib.util
import pathlib
from collections.abc import Callable

import keras

from keras_structnets.inference import metadata, precision, runtimes
from keras_structnets.inference.graph import stateless
from keras_structnets.inference.precision import by_keras

INSTALL = 'pip install "keras_structnets[export]"'
NOT_IN_EXTRA = {  # large, or of one backend: {module: what pip calls it}
    "jax2onnx": "jax2onnx",
    "litert_torch": "litert-torch",
    "tensorflow": "tensorflow-cpu",
}


@dataclasses.dataclass(frozen=True)
class Format:
    """A format of files.

    Attributes:
        title: what people call it.
        write: writes a model of known input to a path: `write(model, path, batch_size)`.
        packages: for each backend that can write it, the packages that it takes.
        runtimes: the packages that run it; one of them is enough.
        load: loads a path, and returns a function from an array to an array.
        fixed: the backends that write it for a fixed number of images alone.
        beside: suffixes of more files that belong to it.
        describe: adds texts to a file: `describe(path, texts)`; None where it has no place for them.
        float16: writes it with weights in float16, on TensorFlow; takes what `write` takes.
        int8: writes it in int8, on TensorFlow; takes calibration images too.
    """

    title: str
    write: Callable
    packages: dict[str, tuple[str, ...]]
    runtimes: tuple[str, ...]
    load: Callable
    fixed: tuple[str, ...] = ()
    beside: tuple[str, ...] = ()
    describe: Callable | None = None
    float16: Callable | None = None
    int8: Callable | None = None


def missing(packages):
    """Those of the `packages` that are not installed."""
    return [name for name in packages if importlib.util.find_spec(name) is None]


def _onnx(model, path, batch_size):
    """One file: jax2onnx puts large weights into a second one."""
    by_keras("onnx")(model, path, batch_size)
    if len(list(path.parent.iterdir())) > 1:
        metadata.onnx(path, {})


def _pt2(model, path, batch_size):
    torch = importlib.import_module("torch")
    (x,) = model.inputs
    example = keras.ops.ones((batch_size or 2, *x.shape[1:]), x.dtype)  # 1 would be fixed
    batch = {} if batch_size else {0: torch.export.Dim("batch", min=1)}
    exported = torch.export.export(model, (example,), dynamic_shapes=[(batch,)], strict=False)
    torch.export.save(exported, path)


def _stablehlo(model, path, batch_size):
    jax = importlib.import_module("jax")
    export = importlib.import_module("jax.export")
    (x,) = model.inputs
    batch = export.symbolic_shape("batch")[0] if batch_size is None else batch_size
    given = jax.ShapeDtypeStruct((batch, *x.shape[1:]), x.dtype)
    platforms = ("cpu", "cuda", "tpu")
    exported = export.export(jax.jit(stateless(model)), platforms=platforms)(given)
    pathlib.Path(path).write_bytes(exported.serialize())


FORMATS = {
    ".onnx": Format(
        "ONNX",
        _onnx,
        {"tensorflow": ("tf2onnx",), "torch": ("onnx", "onnxscript"), "jax": ("jax2onnx",)},
        ("onnxruntime",),
        runtimes.onnx,
        fixed=("jax",),
        describe=metadata.onnx,
        float16=precision.onnx_float16,
        int8=precision.onnx_int8,
    ),
    ".tflite": Format(
        "LiteRT",
        by_keras("litert"),
        {"tensorflow": (), "torch": ("litert_torch",)},
        ("ai_edge_litert", "tensorflow"),
        runtimes.litert,
        fixed=("torch",),
        describe=metadata.litert,
        float16=precision.litert_float16,
        int8=precision.litert_int8,
    ),
    ".xml": Format(
        "OpenVINO",
        by_keras("openvino"),
        {"tensorflow": ("openvino",), "torch": ("openvino",)},
        ("openvino",),
        runtimes.openvino,
        beside=(".bin",),
        describe=metadata.openvino,
        float16=precision.openvino_float16,
    ),
    "": Format(
        "SavedModel",
        by_keras("tf_saved_model"),
        {"tensorflow": (), "jax": ("tensorflow",)},
        ("tensorflow",),
        runtimes.saved_model,
        describe=metadata.saved_model,
    ),
    ".pt2": Format(
        "PyTorch export",
        _pt2,
        {"torch": ()},
        ("torch",),
        runtimes.torch,
        describe=metadata.torch,
    ),
    ".stablehlo": Format("StableHLO", _stablehlo, {"jax": ()}, ("jax",), runtimes.stablehlo),
}
