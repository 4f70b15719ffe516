"""Exported files run in their own runtime and compute what the model computes, or are not there."""

import dataclasses
import importlib
import pathlib
import zipfile

import keras
import numpy as np
import pytest

import keras_structnets as ksn
from keras_structnets.__main__ import main
from keras_structnets.inference import formats
from tests.cases.models import randomize

export_module = importlib.import_module("keras_structnets.inference.export")
BACKEND = keras.backend.backend()
HERE = [suffix for suffix, kind in formats.FORMATS.items() if BACKEND in kind.packages]
OTHER = next(suffix for suffix in formats.FORMATS if suffix not in HERE)
SOME = {"tensorflow": ".tflite", "torch": ".pt2", "jax": ".stablehlo"}[BACKEND]
# of those that LiteRT Micro registers, what the inference form may need; without SELECT, IF and WHILE
MICRO = {
    "ABS", "ADD", "AVERAGE_POOL_2D", "CAST", "CONCATENATION", "CONV_2D", "DEPTHWISE_CONV_2D", "DIV", "EXP",
    "FULLY_CONNECTED", "LESS_EQUAL", "LOG", "MAXIMUM", "MAX_POOL_2D", "MEAN", "MINIMUM", "MUL", "NEG", "PAD",
    "PRELU", "REDUCE_MAX", "RELU", "RESHAPE", "SOFTMAX", "SQUARE", "SUB", "SUM",
}  # fmt: skip
NETWORKS = {
    "linear_mix_a": {"widths": (4, 8), "n_steps": 1},
    "implicit_rd_a": {"widths": (4, 8), "n_steps": 1},
    "simnet_1layer_l1": {"templates": 5},
}
tensorflow_alone = pytest.mark.skipif(
    BACKEND != "tensorflow", reason="TensorFlow writes files of reduced precision"
)


def network(name="linear_mix_a"):
    model = ksn.zoo.build(
        name, classifier_activation=None, input_shape=(16, 16, 3), **NETWORKS[name]
    )
    randomize(model)
    return model


def tiny():
    return keras.Sequential([keras.Input((6,)), ksn.layers.MEX(3)], name="tiny")


def assert_refused(message, model, path, **options):
    """`export` raises, and leaves nothing on the disk."""
    before = sorted(path.parent.iterdir()) if path.parent.is_dir() else None
    with pytest.raises(ValueError, match=message):
        ksn.inference.export(model, path, **options)
    assert before == (sorted(path.parent.iterdir()) if path.parent.is_dir() else None)


def skip_without(suffix, precision="float32"):
    kind = formats.FORMATS[suffix]
    lacking = formats.missing(kind.packages[BACKEND])
    if precision != "float32":
        lacking += formats.missing(kind.runtimes[:1])
    if lacking:
        pytest.skip(f"needs {lacking}")


@pytest.mark.parametrize("suffix", HERE)
@pytest.mark.parametrize("name", NETWORKS)
def test_a_file_computes_what_the_model_computes(name, suffix, tmp_path):
    skip_without(suffix)
    model, path = network(name), tmp_path / f"model{suffix}"
    kind = formats.FORMATS[suffix]
    batch_size = 2 if BACKEND in kind.fixed else None
    exported = ksn.inference.export(model, path, batch_size=batch_size)
    assert exported.difference <= export_module.TOLERANCE
    assert exported.path == path
    assert str(exported).startswith(f"{path}: {kind.title}, ")
    files = {path, *(path.with_suffix(other) for other in kind.beside)}
    assert set(tmp_path.iterdir()) == files
    x = np.random.default_rng(5).uniform(0, 255, (2, 16, 16, 3)).astype("float32")
    expected = keras.ops.convert_to_numpy(model(x))
    found = kind.load(path)(x)  # again, where it is now
    np.testing.assert_allclose(found, expected, atol=1e-4 * np.abs(expected).max())


@pytest.mark.skipif(BACKEND != "tensorflow", reason="LiteRT files for devices come from TensorFlow")
@pytest.mark.parametrize("beta", [0.0, 0.3, np.inf])
@pytest.mark.parametrize("name", ["simnet_2layer", "simnet_3layer_compact", "nin_compact"])
def test_a_file_for_microcontrollers_holds_operations_that_they_have(name, beta, tmp_path):
    interpreter = pytest.importorskip("ai_edge_litert.interpreter").Interpreter
    model = ksn.zoo.build(name, classifier_activation=None, input_shape=(16, 16, 3))
    randomize(model)
    for layer in model.layers:
        if getattr(layer, "trainable_beta", False):
            layer.beta.assign(np.float32(beta))
    path = tmp_path / "model.tflite"
    ksn.inference.export(model, path, batch_size=1)
    details = interpreter(str(path))._get_ops_details()
    assert {detail["op_name"] for detail in details} <= MICRO


@tensorflow_alone
@pytest.mark.parametrize("suffix", [".onnx", ".tflite", ".xml"])
def test_float16_halves_a_file(suffix, tmp_path):
    skip_without(suffix, "float16")
    model = ksn.zoo.build("caffe_convnet", classifier_activation=None)
    size = {}
    for precision in ("float32", "float16"):
        exported = ksn.inference.export(
            model, tmp_path / f"{precision}{suffix}", precision=precision
        )
        size[precision] = exported.size
        assert exported.agreement is None
    assert 1e-5 < exported.difference < 1e-2  # 2e-3 measured
    assert size["float16"] < 0.6 * size["float32"]


@tensorflow_alone
@pytest.mark.parametrize("batch_size", [None, 2])
@pytest.mark.parametrize("suffix", [".onnx", ".tflite"])
def test_int8_quantizes_convolutions_and_leaves_mex_in_float32(suffix, batch_size, tmp_path):
    skip_without(suffix, "int8")
    model = ksn.zoo.build("simnet_2layer", classifier_activation=None)
    images = np.random.default_rng(3).uniform(0, 255, (15, 32, 32, 3))
    path = tmp_path / f"model{suffix}"
    options = {"precision": "int8", "calibration": images, "batch_size": batch_size}
    exported = ksn.inference.export(model, path, **options)
    assert exported.size < 0.5 * 4 * model.count_params()
    assert exported.difference < 0.2
    assert exported.agreement in np.arange(16) / 15
    assert f"{exported.agreement:.1%} of the calibration images keep their class" in str(exported)
    types = types_of_operations(path)
    assert types["exp"] == {"float32"}
    assert "int8" in types["conv"]


def types_of_operations(path):
    """{"exp", "conv": the types of their first inputs}."""
    if path.suffix == ".tflite":
        interpreter = importlib.import_module("ai_edge_litert.interpreter").Interpreter(str(path))
        named = {d["index"]: np.dtype(d["dtype"]).name for d in interpreter.get_tensor_details()}
        operations = [(d["op_name"], named[d["inputs"][0]]) for d in interpreter._get_ops_details()]
    else:
        graph = importlib.import_module("onnx").load(path).graph
        quantized = {n.output[0] for n in graph.node if n.op_type == "DequantizeLinear"}
        operations = [
            (n.op_type, "int8" if n.input[0] in quantized else "float32")
            for n in graph.node
            if n.input
        ]
    return {
        kind: {dtype for name, dtype in operations if name.lower().startswith(kind)}
        for kind in ("exp", "conv")
    }


@tensorflow_alone
def test_int8_of_fourier_transforms_recommends_another_layer(tmp_path):
    skip_without(".tflite", "int8")
    images = np.random.default_rng(3).uniform(0, 255, (4, 16, 16, 3))
    with pytest.warns(UserWarning, match="ExplicitDiffusion, as in explicit_rd_a, gains more"):
        exported = ksn.inference.export(
            network("implicit_rd_a"), tmp_path / "a.tflite", precision="int8", calibration=images
        )
    assert "gains more" in str(exported)


@tensorflow_alone
def test_outputs_of_reduced_precision_are_finite(tmp_path, monkeypatch):
    skip_without(SOME, "float16")

    def write(model, path, batch_size):
        original(
            keras.Sequential([keras.Input((6,)), model, keras.layers.Rescaling(scale)]),
            path,
            batch_size,
        )

    original = formats.FORMATS[SOME].write
    replace(monkeypatch, SOME, float16=write)
    scale = 1.1
    path = tmp_path / f"far{SOME}"
    assert ksn.inference.export(tiny(), path, precision="float16").difference > 0.09
    scale = np.inf
    message = "differ from those of the model by inf .* Try float32, or another format"
    assert_refused(message, tiny(), tmp_path / f"a{SOME}", precision="float16")


def test_a_precision_that_cannot_be_written_is_refused(tmp_path, monkeypatch):
    path, images = tmp_path / f"a{SOME}", np.ones((2, 6))
    assert_refused("unknown `precision` 'float8'", tiny(), path, precision="float8")
    assert_refused("'int8' needs `calibration` images", tiny(), path, precision="int8")
    for bad in (np.ones((2, 7)), np.ones((0, 6)), np.full((2, 6), np.nan)):
        assert_refused(
            r"`calibration` must be finite images \[n, 6\]", tiny(), path, calibration=bad
        )
    if BACKEND == "tensorflow":
        message = (
            r"'int8' is for \.onnx and \.tflite, not for SavedModel. Use another suffix, or float32"
        )
        path = tmp_path / "folder"
    else:
        message = "is written on TensorFlow. Use KERAS_BACKEND=tensorflow"
        replace(monkeypatch, SOME, int8=print)
    assert_refused(message, tiny(), path, precision="int8", calibration=images)


@pytest.mark.parametrize("suffix", [suffix for suffix in HERE if suffix != ".stablehlo"])
def test_a_file_holds_texts(suffix, tmp_path):
    skip_without(suffix)
    if suffix == ".onnx" and BACKEND == "torch":
        pytest.importorskip("onnx")
    path, names = tmp_path / f"a{suffix}", "cat\nh\u00e9ron <grey> & white"
    batch_size = 1 if BACKEND in formats.FORMATS[suffix].fixed else None
    texts = {"class_names": names, "made_by": "me"}
    ksn.inference.export(tiny(), path, batch_size=batch_size, metadata=texts)
    assert text_in(path, "class_names") == names
    assert text_in(path, "made_by") == "me"


def text_in(path, name):
    """What those who run the file read."""
    if path.suffix == ".onnx":
        session = importlib.import_module("onnxruntime").InferenceSession(str(path))
        return session.get_modelmeta().custom_metadata_map[name]
    if path.suffix == ".tflite":
        return zipfile.ZipFile(path).read(f"{name}.txt").decode("utf-8")
    if path.suffix == ".xml":
        model = importlib.import_module("openvino").Core().read_model(path)
        return model.get_rt_info(["model_info", name]).value
    if path.suffix == ".pt2":
        extra = {name: ""}
        importlib.import_module("torch").export.load(str(path), extra_files=extra)
        return extra[name]
    return (path / "assets.extra" / f"{name}.txt").read_text("utf-8")


@pytest.mark.parametrize("texts", [{"class_names": ["cat", "dog"]}, {"a name": "x"}])
def test_metadata_are_texts(texts, tmp_path):
    assert_refused("`metadata` must be strings", tiny(), tmp_path / f"a{SOME}", metadata=texts)


def test_any_file_is_compared_on_the_images_that_are_given(tmp_path):
    images = np.random.default_rng(3).normal(size=(70, 6))
    exported = ksn.inference.export(tiny(), tmp_path / f"a{SOME}", calibration=images)
    assert exported.agreement == 1
    assert "100.0% of the calibration images keep their class" in str(exported)


@pytest.mark.skipif(BACKEND == "tensorflow", reason="tf2onnx writes one file")
def test_large_weights_are_in_the_file(tmp_path):
    skip_without(".onnx")
    pytest.importorskip("onnx")
    model = keras.Sequential([keras.Input((2000,)), keras.layers.Dense(1000)])
    ksn.inference.export(model, tmp_path / "a.onnx", batch_size=1)
    (path,) = tmp_path.iterdir()
    assert path.stat().st_size > 4 * 2000 * 1000
    x = np.ones((1, 2000), "float32")
    expected = keras.ops.convert_to_numpy(model(x))
    found = formats.FORMATS[".onnx"].load(path)(x)
    np.testing.assert_allclose(found, expected, atol=1e-4 * np.abs(expected).max())


@pytest.mark.skipif(BACKEND != "jax", reason="of jax2onnx")
def test_jax2onnx_still_cannot_write_a_maximum_pooling(tmp_path):
    """Once this fails, a release of jax2onnx has mended it: SimNets and ConvNets leave JAX as ONNX."""
    skip_without(".onnx")
    model = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.MaxPooling2D(2)])
    assert_refused("Unsupported pooling size", model, tmp_path / "a.onnx", batch_size=1)


def test_a_file_that_its_runtime_refuses_is_no_success(tmp_path, monkeypatch):
    def write(model, path, batch_size):
        pathlib.Path(path).write_bytes(b"nothing that a runtime knows")

    replace(monkeypatch, SOME, write=write)
    assert_refused("refuses the file: .* Nothing was written", tiny(), tmp_path / f"a{SOME}")


def test_a_file_that_computes_something_else_is_no_success(tmp_path, monkeypatch):
    def write(model, path, batch_size):
        changed = keras.Sequential([keras.Input((6,)), model, keras.layers.Rescaling(1.001)])
        original(changed, path, batch_size)

    original = formats.FORMATS[SOME].write
    replace(monkeypatch, SOME, write=write)
    assert_refused("differ from those of the model by", tiny(), tmp_path / f"a{SOME}")


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_outputs_that_are_no_numbers_differ(value):
    assert export_module.relative_difference(np.array([value]), np.array([1.0])) == np.inf
    assert export_module.relative_difference(np.zeros((1, 2)), np.zeros((2, 1))) == np.inf


def test_without_its_runtime_a_file_is_written_and_what_was_not_checked_is_said(
    tmp_path, monkeypatch
):
    replace(monkeypatch, SOME, runtimes=("no_such_runtime",))
    path = tmp_path / f"a{SOME}"
    with pytest.warns(UserWarning, match="was not run, because no_such_runtime is missing"):
        exported = ksn.inference.export(tiny(), path)
    assert path.is_file()
    assert exported.difference is None
    assert 'pip install "keras_structnets[export]"' in str(exported)


def replace(monkeypatch, suffix, **changes):
    changed = dataclasses.replace(formats.FORMATS[suffix], **changes)
    monkeypatch.setitem(formats.FORMATS, suffix, changed)


def test_an_exporter_that_fails_is_named(tmp_path, monkeypatch):
    def write(model, path, batch_size):
        raise TypeError("an operation is unknown\nand more")

    replace(monkeypatch, SOME, write=write)
    message = f"exporter of .* on {BACKEND} failed: an operation is unknown. Try"
    assert_refused(message, tiny(), tmp_path / f"a{SOME}")


def test_bad_paths_are_refused(tmp_path, monkeypatch):
    assert_refused(r"unknown suffix '\.onx'.* Did you mean '\.onnx'", tiny(), tmp_path / "a.onx")
    backends = " or ".join(formats.FORMATS[OTHER].packages)
    assert_refused(f"Use KERAS_BACKEND={backends};", tiny(), tmp_path / f"a{OTHER}")
    taken = tmp_path / f"taken{SOME}"
    taken.write_text("mine")
    assert_refused("exists. Delete it, or use another path", tiny(), taken)
    assert taken.read_text() == "mine"
    assert_refused("cannot write to .*taken", tiny(), taken / f"a{SOME}")
    replace(monkeypatch, SOME, packages={BACKEND: ("no_such_exporter",)})
    assert_refused("takes no_such_exporter. Install with: pip", tiny(), tmp_path / f"a{SOME}")
    replace(monkeypatch, SOME, packages={BACKEND: ()}, fixed=(BACKEND,))
    assert_refused("Use batch_size=1", tiny(), tmp_path / f"a{SOME}")
    assert_refused("`batch_size` must be", tiny(), tmp_path / f"a{SOME}", batch_size=0)


def test_a_model_of_two_inputs_is_refused(tmp_path):
    inputs = [keras.Input((2,)), keras.Input((2,))]
    model = keras.Model(inputs, keras.layers.add(inputs))
    assert_refused("export: `model` must have one input", model, tmp_path / f"a{SOME}")


def test_the_command_says_what_it_wrote(tmp_path, capsys):
    tiny().save(tmp_path / "tiny.keras")
    path = tmp_path / f"tiny{SOME}"
    command = ["export", str(tmp_path / "tiny.keras"), str(path)]
    assert main(command) == 0
    assert "Its outputs are those of the model within" in capsys.readouterr().out
    assert path.is_file()
    assert main(command) == 2
    assert "exists. Delete it" in capsys.readouterr().err


@pytest.mark.skipif(BACKEND == "jax", reason="StableHLO has no place for texts")
def test_the_file_of_a_record_holds_its_classes_and_the_range_of_pixels(tmp_path):
    path = tmp_path / f"record{SOME}"
    assert main(["export", "simnet_3layer_compact_cifar10", str(path)]) == 0
    assert text_in(path, "model") == "simnet_3layer_compact"
    assert text_in(path, "class_names").startswith("airplane\nautomobile\n")
    assert text_in(path, "input_range") == "0 255"


@tensorflow_alone
def test_the_command_quantizes_by_images_of_a_data_set_and_prints_nothing_else(tmp_path, capfd):
    skip_without(".tflite", "int8")
    model = ksn.zoo.build("linear_mix_a", input_shape=(8, 8, 1), widths=(4,), n_steps=1)
    model.save(tmp_path / "tiny.keras")
    files = str(tmp_path / "tiny.keras"), str(tmp_path / "tiny.tflite")
    capfd.readouterr()
    assert main(["export", *files, "--int8", "--dataset", "digits"]) == 0
    out, err = capfd.readouterr()
    assert "of the calibration images keep their class" in out
    assert not err
    assert main(["export", *files[:1], str(tmp_path / "a.tflite"), "--int8"]) == 2
    assert "on the command line, --dataset" in capfd.readouterr().err
