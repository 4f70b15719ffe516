"""The benchmarks run, and compare what is equal."""

import dataclasses
import importlib.util
import json

import keras
import numpy as np
import pytest

import keras_structnets as ksn
from benchmarks import (
    architectures,
    exports,
    figure1,
    figure2b,
    kernels,
    layers,
    models,
    noise,
    normalization,
    ranks,
    run,
    speed,
    timing,
)
from benchmarks.baselines import Einsum, model_of
from keras_structnets.__main__ import main
from keras_structnets.inference import formats
from keras_structnets.ops.kernels import BACKENDS

pytestmark = pytest.mark.no_backend  # the figures are of the machine, and not tested
HAS_TORCH = importlib.util.find_spec("torch") is not None
NEEDS_TORCH = pytest.mark.skipif(not HAS_TORCH, reason="the references are PyTorch's")
BACKEND = keras.backend.backend()
NETWORKS = ("explicit_rd_a", "implicit_rd_a", "linear_mix_a", "simnet_2layer", "g_conv_net")


@NEEDS_TORCH
@pytest.mark.parametrize("name", NETWORKS)
def test_a_pytorch_reference_is_the_network_of_the_zoo(name):
    from benchmarks import pytorch_reference

    torch = pytorch_reference.torch
    model = ksn.zoo.build(name, include_preprocessing=False, classifier_activation=None)
    rng = np.random.default_rng(0)
    model.set_weights(
        [w + np.abs(rng.normal(0, 0.1, w.shape)).astype("float32") for w in model.get_weights()]
    )
    reference = pytorch_reference.reference_of(name, model).eval()
    x = rng.normal(size=(2, 32, 32, 3)).astype("float32")
    with torch.inference_mode():
        theirs = reference(torch.from_numpy(x.transpose(0, 3, 1, 2).copy())).numpy()
    ours = model.predict_on_batch(x)
    np.testing.assert_allclose(theirs, ours, atol=1e-4 * np.abs(ours).max())
    assert ksn.zoo.info(name).parameters == sum(p.numel() for p in reference.parameters())


def test_the_einsum_is_the_partial_contraction():
    shape = (2, 5, 4, 1, 3, 3)
    layer = ksn.layers.GConv2D(1, (3,), 3, contract=1, padding="same", use_bias=False)
    ours, theirs = model_of(layer, shape, False), model_of(Einsum(), shape, False)
    theirs.set_weights(ours.get_weights())
    x = np.random.default_rng(0).normal(size=shape).astype("float32")
    np.testing.assert_allclose(ours.predict_on_batch(x), theirs.predict_on_batch(x), atol=1e-5)


def test_bench_writes_what_it_measured(tmp_path, capsys, monkeypatch):
    pytest.importorskip("matplotlib", reason="the picture needs the extra `train`")
    case = next(case for case in layers.cases() if case.name.startswith("MEX"))
    small = dataclasses.replace(case, shape=(2, 4, 4, 192))
    monkeypatch.setattr(layers, "cases", lambda: [small])
    out = tmp_path / "bench"
    assert main(["bench", "layers", "--only", "MEX", "--rounds", "2", "--out", str(out)]) == 0
    found = json.loads((out / f"layers_{BACKEND}.json").read_text(encoding="utf-8"))
    assert found["times faster, step"][case.name] > 0
    assert found["backend"] == BACKEND
    assert (out / f"layers_{BACKEND}.png").stat().st_size > 1000
    assert "times faster, forward" in capsys.readouterr().out


def test_bench_refuses_a_batch_size_where_it_has_no_use(capsys):
    assert main(["bench", "layers", "--batch-size", "3"]) == 2
    assert "--batch-size is for figure1" in capsys.readouterr().err


def test_times_faster_is_their_time_over_ours():
    times = {"ours": [1.0, 2.0, 1.0], "theirs": [3.0, 6.0, 3.0]}
    assert timing.times_faster(times, "ours", "theirs") == [3.0, 3.0, 3.0]


def test_alternating_steps_take_turns_in_changing_order():
    order = []
    times = timing.alternate({k: lambda k=k: order.append(k) for k in "ab"}, rounds=2, warm_up=1)
    assert [len(values) for values in times.values()] == [2, 2]
    assert sorted(order) == sorted("ab" * 3)
    assert order[:2] != order[2:4]


def test_curves_are_drawn_for_numbers_and_bars_for_names():
    pytest.importorskip("matplotlib", reason="the picture needs the extra `train`")
    curves = run.draw({"times faster by channels: implicit": {"32": 0.5, "64": 1.5}}, "x")
    assert len(curves.axes[0].lines) == 2
    bars = run.draw({"times faster, step": {"MEX": 2.0}, "goal": {"MEX": 1.5}}, "x")
    assert len(bars.axes[0].patches) == 1


def test_the_table_of_exports_is_what_was_measured():
    found = json.loads((timing.RESULTS / "exports_tensorflow.json").read_text(encoding="utf-8"))
    table = (timing.RESULTS / "exports.md").read_text(encoding="utf-8")
    assert exports.table(found["records"]) == table


def test_the_table_of_architectures_is_what_was_measured():
    table = (timing.RESULTS / "architectures.md").read_text(encoding="utf-8")
    assert architectures.table(architectures.saved()) == table
    numbers = [
        r for rows in architectures.saved().values() for row in rows.values() for r in row.values()
    ]
    assert max(number for number in numbers if not isinstance(number, str)) < 1e-4


def test_files_of_an_architecture_are_compared_with_the_model(monkeypatch):
    suffix = {"tensorflow": ".tflite", "torch": ".pt2", "jax": ".stablehlo"}[BACKEND]
    monkeypatch.setattr(architectures, "FORMATS", {suffix: formats.FORMATS[suffix]})
    monkeypatch.setattr(
        architectures, "control_flow", lambda path: ()
    )  # it needs the extra `export`
    inputs = keras.Input((6,))
    outputs = ksn.layers.MEX(3, beta=1.0, trainable_beta=True)(inputs)
    monkeypatch.setattr(architectures, "randomized", lambda name: keras.Model(inputs, outputs))
    (difference,) = architectures.rows_of("any").values()
    assert 0 < difference < 1e-4
    monkeypatch.setattr(architectures, "control_flow", lambda path: ["WHILE"])
    if suffix == ".tflite":
        assert architectures.rows_of("any") == {"LiteRT": "holds WHILE"}


@pytest.mark.skipif(BACKEND != "tensorflow", reason="TensorFlow writes files of reduced precision")
def test_exports_of_a_model_are_measured(monkeypatch):
    pytest.importorskip("ai_edge_litert")
    monkeypatch.setattr(exports, "FILES", [(".tflite", "float32"), (".tflite", "int8")])
    model = ksn.zoo.build("caffe_convnet", input_shape=(16, 16, 3))
    images = np.random.default_rng(0).integers(0, 256, (20, 16, 16, 3), "uint8")
    data = Images(images, images, np.arange(20) % 10)
    full, quantized = exports.measure(model, data, rounds=2)
    assert full["images"] == 20
    assert full["KB"] > 2 * quantized["KB"]
    assert min(full["ms"], quantized["ms"]) > 0
    assert exports.table({"a": [full, quantized]}).count("| a | LiteRT |") == 2


@dataclasses.dataclass
class Images:
    """What `exports.measure` takes of a data set."""

    x_train: np.ndarray
    x_val: np.ndarray
    y_val: np.ndarray


def test_the_table_of_goals_is_what_was_measured():
    assert speed.text() == (timing.RESULTS / "speed.md").read_text(encoding="utf-8")


def test_a_point_of_figure_1_has_all_layers():
    faster = figure1.point(batch_size=1, rounds=2, size=8, channels=4)
    assert set(faster) == set(figure1.LAYERS)
    assert min(faster.values()) > 0


@NEEDS_TORCH
def test_a_model_is_measured_against_its_reference(monkeypatch):
    from benchmarks import pytorch_reference

    monkeypatch.setattr(models, "BATCH", 2)
    monkeypatch.setattr(models, "PREDICTED", (1, 2))
    monkeypatch.setattr(models.shutil, "which", lambda name: None)  # torch.compile takes a minute
    found = models.measure("simnet_2layer", pytorch_reference, rounds=2)
    measured = ("training", "predicting 1", "predicting 2", "predicting 1, predictor")
    assert {f"times faster, {what}" for what in measured} < set(found)
    if not formats.missing(["onnxruntime", *formats.FORMATS[".onnx"].packages[BACKEND]]):
        is_there = "times faster, predicting 2, ONNX" in found
        assert is_there == (BACKEND not in formats.FORMATS[".onnx"].fixed)


def test_a_kernel_is_measured_against_the_generic_form(monkeypatch):
    monkeypatch.setattr(kernels, "BATCH", 2)
    monkeypatch.setattr(kernels, "PREDICTED", 2)
    before = dict(BACKENDS)
    found = kernels.measure("max_pool", "simnet_2layer", rounds=2)
    assert {"times faster, training", "times faster, predictor"} < set(found)
    assert before == BACKENDS
    assert set(kernels.NETWORKS) < set(BACKENDS)


def test_normalization_is_measured_against_keras_own(monkeypatch):
    saved = {}
    monkeypatch.setattr(normalization, "NAMES", ("simnet_2layer",))
    monkeypatch.setattr(timing, "save", lambda name, rows: saved.update({name: rows}))
    normalization.main(batch=2, rounds=1)
    (row,) = saved["normalization"].values()
    assert row["ratio"] == pytest.approx(row["keras_ms"] / row["ours_ms"], rel=0.1)


@pytest.mark.parametrize(
    ("name", "data", "table"),
    [
        ("noise", "noise", noise.noise_table),
        ("gap", "noise", noise.gap_table),
        ("ranks", "ranks", ranks.table),
    ],
)
def test_a_table_is_what_was_measured(name, data, table):
    found = json.loads((timing.RESULTS / f"{data}.json").read_text(encoding="utf-8"))
    assert table(found) == (timing.RESULTS / f"{name}.md").read_text(encoding="utf-8")


def test_noise_in_weights_goes_again_and_differs_from_noise_in_pixels(monkeypatch):
    monkeypatch.setattr(noise, "PIXELS", (60,))
    monkeypatch.setattr(noise, "WEIGHTS", (2.0,))
    model = ksn.zoo.build("simnet_2layer", weights="cifar10")
    monkeypatch.setattr(ksn.zoo, "build", lambda name, weights: model)
    before = model.get_weights()
    images = np.random.default_rng(0).integers(0, 255, (50, 32, 32, 3)).astype("uint8")
    labels = model.predict(images, verbose=0).argmax(axis=-1)
    record = ksn.zoo.info("simnet_2layer").records["cifar10"]
    found = noise.measure(record, {"training": (images, labels), "validation": (images, labels)})
    assert found["training"] == found["validation"] == 1
    assert found["pixels"]["60"] < 1
    assert found["weights"]["2.0"] < 1
    for weight, value in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weight, value)


def test_figure_2b_has_a_curve_for_each_network(tmp_path):
    assert len(figure2b.rows()) == 17
    recipes = figure2b.rows("digits", epochs=1, most=50)
    assert set(recipes) == {f"{model}_50" for model in figure2b.LABELS}
    row = figure2b.train("row", recipes["convnet_1layer_50"], tmp_path)
    assert row == figure2b.train("row", recipes["convnet_1layer_50"], tmp_path)  # resumed
    assert (row["channels"], row["epochs"], row["images"]) == (50, 1, 359)
    (axes,) = figure2b.draw({"row": row}).axes
    assert [len(line.get_xdata()) for line in axes.lines] == [1, 0, 0]


def test_the_last_volumes_are_for_validation(tmp_path):
    x, y = np.zeros((100, 4, 4, 4, 1), "uint8"), np.arange(100) % 2
    np.savez(tmp_path / "adrenal3d-train.npz", x_train=x, y_train=y)
    found = ranks.runs(tmp_path, tmp_path / "runs")
    recipe = found["volumes linear_mix_a 0"]
    data = ksn.training.load(recipe.dataset)
    assert (len(data.x_train), len(data.x_val)) == (2, 98)
    assert found["series resnet_a 1"].seed == 1
