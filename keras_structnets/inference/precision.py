"""Files of reduced precision, by the tools of each runtime; the sums of exponentials stay in float32.

TensorFlow writes them: the names of its operations tell the layers that they belong to.
"""

import importlib
import pathlib
import re
import tempfile

import keras
import numpy as np

from keras_structnets.inference import runtimes
from keras_structnets.inference.plain import Plain


def by_keras(kind, **options):
    """A function that writes a model by `model.export`."""

    def write(model, path, batch_size):
        (x,) = model.inputs
        signature = [keras.InputSpec(x.dtype, (batch_size, *x.shape[1:]), name=x.name)]
        model.export(str(path), kind, verbose=False, input_signature=signature, **options)

    return write


def batches(images, size):
    """The images in batches of one size; the last one repeats its images."""
    for start in range(0, len(images), size):
        yield np.resize(images[start : start + size], (size, *images.shape[1:]))


def litert_float16(model, path, batch_size):
    """Weights in float16, which LiteRT computes with in float32."""
    tf = importlib.import_module("tensorflow")
    options = {"optimizations": [tf.lite.Optimize.DEFAULT]}
    half = {"supported_types": [tf.float16]}
    by_keras("litert", **options, target_spec=half)(model, path, batch_size)


def onnx_float16(model, path, batch_size):
    """Weights in float16 and their conversion to float32, which ONNX Runtime does once, at loading."""
    onnx = importlib.import_module("onnx")
    by_keras("onnx")(model, path, batch_size)
    loaded = onnx.load(path)
    for weight in loaded.graph.initializer:
        value = onnx.numpy_helper.to_array(weight)
        if value.ndim > 1 and value.dtype == np.float32:
            name, half = weight.name, f"{weight.name}_float16"
            weight.CopyFrom(onnx.numpy_helper.from_array(value.astype("float16"), half))
            cast = onnx.helper.make_node("Cast", [half], [name], to=onnx.TensorProto.FLOAT)
            loaded.graph.node.insert(0, cast)
    onnx.save(loaded, path)


def openvino_float16(model, path, batch_size):
    """Weights in float16, which OpenVINO converts at loading."""
    openvino = importlib.import_module("openvino")
    with tempfile.TemporaryDirectory() as folder:
        wide = pathlib.Path(folder, path.name)
        by_keras("openvino")(model, wide, batch_size)
        openvino.save_model(openvino.Core().read_model(wide), path, compress_to_fp16=True)


def litert_int8(model, path, batch_size, images):
    """Static quantization by the LiteRT converter."""
    tf = importlib.import_module("tensorflow")
    with tempfile.TemporaryDirectory() as folder:
        by_keras("tf_saved_model")(model, folder, batch_size)
        converter = tf.lite.TFLiteConverter.from_saved_model(folder)
        interpreter = runtimes.litert_interpreter()(model_content=converter.convert())
        tensors = [tensor["name"] for tensor in interpreter.get_tensor_details()]
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = lambda: ([x] for x in batches(images, batch_size or 1))
        options = tf.lite.experimental.QuantizationDebugOptions(
            denylisted_nodes=list(filter(_is_float(model), tensors)),
            denylisted_ops=["RESHAPE", "SOFTMAX"],  # between and after the layers in float32
        )
        quantized = tf.lite.experimental.QuantizationDebugger(
            converter=converter,
            debug_dataset=converter.representative_dataset,
            debug_options=options,
        )
        path.write_bytes(quantized.get_nondebug_quantized_model())


def onnx_int8(model, path, batch_size, images):
    """Static quantization by ONNX Runtime, with a scale for each channel, and 7 bits for old CPUs' sums."""
    onnx = importlib.import_module("onnx")
    tools = importlib.import_module("onnxruntime.quantization")
    with tempfile.TemporaryDirectory() as folder:
        wide = pathlib.Path(folder, path.name)
        by_keras("onnx")(model, wide, batch_size)
        graph, is_float = onnx.load(wide).graph, _is_float(model)
        kept = [n.name for n in graph.node if n.op_type == "Softmax" or is_float(n.name)]
        reader = _Reader(graph.input[0].name, batches(images, batch_size or 1))
        options = {"per_channel": True, "reduce_range": True, "nodes_to_exclude": kept}
        tools.quantize_static(str(wide), str(path), reader, **options)


class _Reader:
    """The calibration images as ONNX Runtime takes them."""

    def __init__(self, name, images):
        self.name, self.images = name, iter(images)

    def get_next(self):
        """A batch, or None."""
        x = next(self.images, None)
        return None if x is None else {self.name: x}


def _is_float(model):
    """Whether a name is in the scope of a layer of `model` that stays in float32."""
    names = "|".join(re.escape(layer.name) for layer in model.layers if isinstance(layer, Plain))
    return re.compile(rf"(^|/|;)({names})(_\d+)?/" if names else "$^").search
