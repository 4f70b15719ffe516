"""The runtimes of exported files: each function loads a file and returns what computes from images.

They take and return arrays of NumPy, and import their runtime when called.
"""

import importlib


def onnx(path):
    """ONNX Runtime on the CPU."""
    runtime = importlib.import_module("onnxruntime")
    session = runtime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    (given,) = session.get_inputs()
    return lambda x: session.run(None, {given.name: x})[0]


def litert_interpreter():
    """LiteRT's class, from its own package or from TensorFlow."""
    try:
        return importlib.import_module("ai_edge_litert.interpreter").Interpreter
    except ModuleNotFoundError:
        return importlib.import_module("tensorflow").lite.Interpreter


def litert(path):
    """LiteRT on the CPU."""
    interpreter = litert_interpreter()(str(path))
    (given,), (found,) = interpreter.get_input_details(), interpreter.get_output_details()

    def run(x):
        interpreter.resize_tensor_input(given["index"], x.shape)
        interpreter.allocate_tensors()
        interpreter.set_tensor(given["index"], x)
        interpreter.invoke()
        return interpreter.get_tensor(found["index"])

    return run


def openvino(path):
    """OpenVINO on the CPU, in float32."""
    core = importlib.import_module("openvino").Core()
    compiled = core.compile_model(str(path), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return lambda x: compiled(x)[0]


def saved_model(path):
    """TensorFlow."""
    tensorflow = importlib.import_module("tensorflow")
    loaded = tensorflow.saved_model.load(str(path))
    return lambda x: loaded.serve(tensorflow.constant(x)).numpy()


def torch(path):
    """PyTorch."""
    module = importlib.import_module("torch")
    loaded = module.export.load(str(path)).module()

    def run(x):
        with module.inference_mode():
            return loaded(module.from_numpy(x)).numpy()

    return run


def stablehlo(path):
    """JAX on its default device."""
    export = importlib.import_module("jax.export")
    with open(path, "rb") as file:
        loaded = export.deserialize(bytearray(file.read()))
    return lambda x: importlib.import_module("numpy").asarray(loaded.call(x))
