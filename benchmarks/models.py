"""Models of the zoo against the same networks in PyTorch.

    structnets bench models [--backend jax|torch|tensorflow] [--device DEVICE]

Times a training step (Adam, cross entropy, 128 images of 32x32) and prediction for 1 and for 256 images.
Ours run as Keras compiles them for `fit` and `predict`, in `zoo.predictor`, and as exported files in LiteRT,
ONNX Runtime and OpenVINO where the backend writes these for any number of images. The modules of
benchmarks/pytorch_reference run eagerly, and predict by `torch.compile` too where there is a C++ compiler.
All have the same weights, and their outputs are compared first.
"times faster" is the median over the rounds of the reference's time over ours.
"""

import importlib.util
import pathlib
import shutil
import tempfile

import keras
import numpy as np

import keras_structnets as ksn
from keras_structnets.inference.formats import FORMATS, missing

from . import timing

BATCH, PREDICTED = 128, (1, 256)


def main(pattern="", rounds=9):
    """Measure the models whose name contains `pattern`; the result as it is saved."""
    if importlib.util.find_spec("torch") is None:
        raise ValueError(
            "bench: models are compared with PyTorch, which is not installed. Use: pip install torch"
        )
    from . import pytorch_reference as reference

    found = {"rounds": rounds, "PyTorch": reference.torch.__version__}
    for name in reference.NETWORKS:
        if pattern.lower() in name:
            figures = measure(name, reference, rounds)
            for key, value in figures.items():
                found.setdefault(key, {})[name] = value
            print(f"{name}: {timing.in_words(figures)}", flush=True)
    return found


def measure(name, reference, rounds):
    """One model: {what: figure}."""
    torch = reference.torch
    model = ksn.zoo.build(name, include_preprocessing=False, classifier_activation=None)
    theirs = reference.reference_of(name, model).to(device := torch_device(torch))
    rng = np.random.default_rng(0)
    x = rng.normal(size=(max(PREDICTED), 32, 32, 3)).astype("float32")
    y = rng.integers(0, 10, BATCH)
    images = torch.from_numpy(x.transpose(0, 3, 1, 2).copy()).to(device)
    labels = torch.from_numpy(y).to(device)

    def predict(n, module=theirs):
        with torch.inference_mode():
            return module(images[:n]).cpu().numpy()

    theirs.eval()
    ours = {"": model.predict_on_batch, ", predictor": ksn.zoo.predictor(model)} | exported(model)
    if shutil.which("g++"):
        compiled = torch.compile(theirs, dynamic=False)
        ours[", torch.compile"] = lambda x: predict(len(x), compiled)
    expected = predict(BATCH)
    errors = [np.abs(f(x[:BATCH]) - expected).max() / np.abs(expected).max() for f in ours.values()]
    assert max(errors) < 1e-4, (name, errors)
    found = {"largest difference, relative": float(f"{max(errors):.2g}")}
    for how, f in ours.items():
        for n in PREDICTED:
            steps = {"ours": lambda n=n, f=f: f(x[:n]), "theirs": lambda n=n: predict(n)}
            found |= timing.compare(steps, rounds, "ours", "theirs", f"predicting {n}{how}", 2)
    theirs.train()
    optimizer = torch.optim.Adam(theirs.parameters(), 1e-3, eps=1e-7)
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    steps = {
        "ours": lambda: model.train_on_batch(x[:BATCH], y),
        "theirs": lambda: reference.train_step(theirs, optimizer, images[:BATCH], labels),
    }
    return found | timing.compare(steps, rounds, "ours", "theirs", "training", 2)


def exported(model):
    """{", format": what runs the file} of the formats that the backend writes for any number of images."""
    backend, found = keras.backend.backend(), {}
    for suffix in (".tflite", ".onnx", ".xml"):
        kind = FORMATS[suffix]
        if backend not in kind.packages or backend in kind.fixed:
            continue
        if not missing((*kind.packages[backend], kind.runtimes[0])):
            with tempfile.TemporaryDirectory() as folder:
                path = pathlib.Path(folder, f"model{suffix}")
                ksn.inference.export(model, path)
                found[f", {kind.title}"] = kind.load(path)
    return found


def torch_device(torch):
    """The GPU where Keras computes on one."""
    on_torch = keras.backend.backend() == "torch"
    devices = ["gpu"] if on_torch else keras.distribution.list_devices()
    on_gpu = any(device.startswith(("gpu", "cuda")) for device in devices)
    return torch.device("cuda" if on_gpu and torch.cuda.is_available() else "cpu")
