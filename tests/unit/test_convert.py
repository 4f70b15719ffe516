"""Conversion of models: weights against dense solutions, graphs of all kinds, reports and errors."""

import dataclasses
import itertools
import json

import keras
import numpy as np
import pytest

import keras_structnets as ksn
from keras_structnets.__main__ import main
from keras_structnets.conversion.least_squares import LeastSquares

L = keras.layers
RANKS = pytest.mark.parametrize(
    "rank", [2, *(pytest.param(rank, marks=pytest.mark.no_backend) for rank in (1, 3))]
)
CONVOLUTIONS = ["circulant", "linear_mix", "low_rank", "separable"]


def random(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def numpy(x):
    return keras.ops.convert_to_numpy(x)


def one(layer, shape):
    return keras.Sequential([keras.Input(shape), layer])


def error(old, new, x):
    old, new = numpy(old(x)), numpy(new(x))
    return np.linalg.norm(old - new) / np.linalg.norm(old)


def nested():
    """Shared layers, a model in it, strides, dilation, and pooling."""
    inputs = keras.Input((16, 16, 8))
    shared = L.Conv2D(8, 3, padding="same", use_bias=False, name="shared")
    x = shared(inputs)
    x = x + shared(L.BatchNormalization()(x))
    strided = L.Conv2D(12, 3, 2, "same", name="strided", activation="relu")
    dilated = L.Conv2D(12, 3, dilation_rate=2, name="dilated")
    inner = keras.Sequential([keras.Input((16, 16, 8)), strided, dilated], name="inner")
    x = L.MaxPooling2D(2, name="maximum")(inner(x))
    return keras.Model(inputs, L.Dense(4)(L.GlobalAveragePooling2D(name="mean")(x)))


# Weights


@pytest.mark.parametrize("use_bias", [False, True])
@RANKS
@pytest.mark.parametrize(
    ("strides", "padding", "dilation"),
    [(1, "same", 1), (2, "same", 1), (2, "valid", 1), (1, "valid", 2)],
)
def test_linear_mix_with_images_is_the_dense_least_squares_solution(
    rank, strides, padding, dilation, use_bias
):
    c, shape = 4, (7, 6, 6)[:rank]
    options = {"dilation_rate": dilation, "use_bias": use_bias}
    conv = getattr(L, f"Conv{rank}D")(c, 3, strides, padding, **options)
    model, x = one(conv, (*shape, c)), random(90 if rank == 1 else 12, *shape, c)
    new, _ = ksn.convert(model, images=x, min_channels=1)
    assert type(new.layers[0]).__name__ == f"LinearMixConv{rank}D"
    # a column for each weight: the output of the layer with that weight alone
    columns = []
    weights = [np.zeros_like(w) for w in new.get_weights()]
    for weight in weights:
        for index in np.ndindex(weight.shape):
            weight[index] = 1
            new.layers[0].set_weights(weights)
            columns.append(numpy(new(x)).astype("float64").ravel())
            weight[index] = 0
    dense = np.stack(columns, axis=1)
    wanted = (
        dense @ np.linalg.lstsq(dense, numpy(model(x)).ravel().astype("float64"), rcond=1e-9)[0]
    )
    fitted, _ = ksn.convert(model, images=x, min_channels=1)
    scale = np.abs(wanted).max()
    assert np.allclose(numpy(fitted(x)).ravel(), wanted, atol=1e-5 * scale)


@pytest.mark.parametrize(("size", "channels"), [(3, 6), ((3, 5), 4), ((2, 4), 4)])
def test_the_projection_of_linear_mix_is_the_closest_masked_kernel(size, channels):
    model = one(L.Conv2D(channels, size, padding="same"), (6, 6, channels))
    new, _ = ksn.convert(model, min_channels=1)
    kernel = numpy(model.layers[0].kernel)
    size = kernel.shape[:2]
    mask = np.zeros(kernel.shape)
    mask[..., np.arange(channels), np.arange(channels)] = 1
    mask[(size[0] - 1) // 2, (size[1] - 1) // 2] = 1
    stencils, matrix, bias = new.get_weights()
    found = stencils[..., None] * np.eye(channels)
    found[(size[0] - 1) // 2, (size[1] - 1) // 2] += matrix
    assert np.allclose(found, kernel * mask, atol=1e-6)
    assert np.array_equal(bias, numpy(model.layers[0].bias))


def test_the_projection_of_circulant_is_the_closest_circulant_kernel():
    c = 5
    model = one(L.Conv2D(c, 3, padding="same", use_bias=False), (6, 6, c))
    new, _ = ksn.convert(model, "circulant", min_channels=1)
    kernel = numpy(model.layers[0].kernel).astype("float64")
    basis = np.zeros((c, c, c))  # [d, in, out]
    for d, out in itertools.product(range(c), range(c)):
        basis[d, (out + d) % c, out] = 1
    dense = basis.reshape(c, -1).T
    wanted = np.linalg.lstsq(dense, kernel.reshape(9, -1).T, rcond=None)[0].T.reshape(3, 3, c)
    assert np.allclose(new.get_weights()[0], wanted, atol=1e-5)


@pytest.mark.parametrize("to", ["separable", "linear_mix"])
def test_a_pair_is_the_best_of_rank_one_for_each_channel(to):
    model = one(L.Conv2D(7, 3, use_bias=False), (6, 6, 5))
    new, _ = ksn.convert(model, to, min_channels=1)
    kernel = numpy(model.layers[0].kernel)
    depthwise, pointwise = sorted(new.get_weights(), key=lambda w: -w.shape[0])
    if to == "separable":
        found = depthwise * pointwise[0, 0]
        axis = 2
    else:
        found = pointwise * depthwise[..., 0][:, :, None]
        axis = 3
    for i in range(kernel.shape[axis]):
        matrix = np.take(kernel, i, axis).reshape(9, -1)
        values = np.linalg.svd(matrix, compute_uv=False)
        left = np.linalg.norm(matrix - np.take(found, i, axis).reshape(9, -1))
        assert left == pytest.approx(np.linalg.norm(values[1:]), rel=1e-4)


@pytest.mark.parametrize("budget", [0.2, 0.6])
def test_low_rank_keeps_the_budget_and_more_is_closer(budget):
    model, x = one(L.Conv2D(24, 3, padding="same"), (8, 8, 16)), random(4, 8, 8, 16)
    new, report = ksn.convert(model, "low_rank", budget=budget)
    before, after = (parameters - 24 for parameters in report.layers[0].parameters)
    rank = new.layers[0].layers[0].filters
    assert after <= budget * before < after * (rank + 1) / rank  # one more would be too many
    closer, _ = ksn.convert(model, "low_rank", budget=budget + 0.2)
    assert error(model, closer, x) < error(model, new, x)


def structured(to, rank):
    """A convolution whose kernel has the target form already."""
    c, n_out = 8, 8 if to in ("linear_mix", "circulant") else 10
    kernel = random(*(3,) * rank, c, n_out)
    if to == "linear_mix":
        center = kernel[(1,) * rank].copy()
        kernel = kernel * np.eye(c)
        kernel[(1,) * rank] = center
    elif to == "circulant":
        i = np.arange(c)
        kernel = random(*(3,) * rank, c)[..., (i[:, None] - i) % c]
    elif to == "separable":
        kernel = random(*(3,) * rank, c, 1) * random(c, n_out, seed=1)
    else:
        kernel = random(*(3,) * rank, c, 2) @ random(2, n_out, seed=1)
    conv = getattr(L, f"Conv{rank}D")(n_out, 3, padding="same", bias_initializer="ones")
    model = one(conv, (*(6, 5, 4)[:rank], c))
    conv.set_weights([kernel, random(n_out)])
    return model


@pytest.mark.parametrize("to", CONVOLUTIONS)
@RANKS
@pytest.mark.parametrize("fitted", [False, True])
def test_a_kernel_of_the_target_form_is_kept(to, rank, fitted):
    if to == "separable" and rank == 3:
        pytest.skip("Keras has no depthwise convolution in 3-D")
    model = structured(to, rank)
    x = random(6, *model.input_shape[1:])
    new, report = ksn.convert(model, to, images=x if fitted else None)
    assert error(model, new, x) < 1e-5
    assert report.error < 1e-5


@pytest.mark.parametrize("to", ["linear_mix", "separable", "low_rank"])
def test_images_lower_the_error_of_every_layer(to):
    model, x = nested(), random(48, 16, 16, 8)
    model.get_layer("inner").layers[0].activation = keras.activations.linear  # errors before it
    mixed = np.cumsum(x, axis=1) / 4  # pixels that depend on each other, as those of photographs
    fitted, of_fit = ksn.convert(model, to, images=mixed)
    noise, _ = ksn.convert(model, to)
    seen = {}

    def inputs_of(layer, inputs, y):
        seen.setdefault(layer.name, []).append((numpy(inputs), numpy(y)))

    from keras_structnets.conversion.graph import layers_of, watched

    names = {row.name for row in of_fit.layers}
    with watched([layer for layer in layers_of(model) if layer.name in names], inputs_of):
        model(mixed)
    assert len(seen) == len(names) == 3
    for name, calls in seen.items():
        errors = []
        for new in (fitted, noise):
            layer = next(x for x in [*new.layers, *new.get_layer("inner").layers] if x.name == name)
            errors.append(sum(np.sum((numpy(layer(a)) - b) ** 2) for a, b in calls))
        assert errors[0] < errors[1], name


def normalized(form=1.0):
    """Convolutions of mostly positive kernels, batch normalization that knows the statistics of `x`."""
    x = np.cumsum(random(64, 8, 8, 8), axis=1) / 2
    model = keras.Sequential([keras.Input((8, 8, 8))])
    for i in range(3):
        model.add(L.Conv2D(8, 3, padding="same", use_bias=False))
        kernel = random(3, 3, 8, 8, seed=i)
        model.layers[-1].set_weights([form * (np.abs(kernel) + 0.3 * kernel)])
        model.add(L.BatchNormalization(momentum=0.5))
        model.add(L.ReLU())
    for _ in range(20):
        model(x, training=True)
    return model, x


def statistics(model):
    return [w for layer in model.layers[1::3] for w in layer.get_weights()[2:]]


def test_statistics_are_estimated_again_on_images():
    model, x = normalized()
    new, report = ksn.convert(model, images=x)
    old = keras.models.clone_model(new)
    old.set_weights(new.get_weights())
    for layer, of_old in zip(old.layers[1::3], model.layers[1::3], strict=True):
        layer.set_weights(of_old.get_weights())
    assert error(model, new, x) < 0.9 * error(model, old, x)
    assert report.error == pytest.approx(error(model, new, x), rel=1e-3)
    assert all(layer.momentum == 0.5 for layer in new.layers[1::3])


def test_statistics_stay_where_others_do_not_help():
    form = np.eye(8) * np.ones((3, 3, 1, 1))  # what `linear_mix` keeps
    form[1, 1] = 1.0
    model, _ = normalized(form)
    new, report = ksn.convert(model, images=random(4, 8, 8, 8, seed=9))
    assert report.error < 1e-5
    for found, wanted in zip(statistics(new), statistics(model), strict=True):
        np.testing.assert_array_equal(found, wanted)


def test_least_squares_of_shared_and_own_regressors_is_that_of_numpy():
    rng = np.random.default_rng(0)
    shared, own, y = rng.normal(size=(50, 4)), rng.normal(size=(3, 50, 2)), rng.normal(size=(50, 2))
    problem = LeastSquares()
    for part in (slice(0, 20), slice(20, 50)):
        problem.add(shared[part], own[:, part], y[part])
    u, v = problem.solve()
    for o in range(2):
        dense = np.concatenate([shared, own[..., o].T], axis=1)
        wanted = np.linalg.lstsq(dense, y[:, o], rcond=None)[0]
        assert np.allclose([*u[:, o], *v[:, o]], wanted, atol=1e-10)


# Pooling


@RANKS
@pytest.mark.parametrize("padding", ["valid", "same"])
def test_pooling_becomes_mex_pooling_that_computes_the_same(rank, padding):
    inputs = keras.Input((*(7, 6, 5)[:rank], 3))
    x = getattr(L, f"AveragePooling{rank}D")(2, 1, padding)(inputs)
    x = getattr(L, f"MaxPooling{rank}D")(3, 2, padding)(x)
    outputs = [
        getattr(L, f"GlobalMaxPooling{rank}D")()(x),
        getattr(L, f"GlobalAveragePooling{rank}D")(keepdims=True)(x),
    ]
    model = keras.Model(inputs, outputs)
    new, report = ksn.convert(model, "mex_pooling")
    assert [row.after for row in report.layers] == [
        f"{kind}{rank}D"
        for kind in ("MEXPooling", "MEXPooling", "GlobalMEXPooling", "GlobalMEXPooling")
    ]
    x = random(3, *inputs.shape[1:])
    for old, found in zip(model(x), new(x), strict=True):
        assert np.allclose(numpy(found), numpy(old), atol=1e-5)
    assert len(new.trainable_weights) == 4
    soft, _ = ksn.convert(model, "mex_pooling", beta=2.0)
    assert float(numpy(soft.layers[2].beta)) == 2.0


# Models


@pytest.mark.parametrize("to", [*CONVOLUTIONS, "mex_pooling"])
def test_a_nested_model_with_shared_layers_converts_saves_and_loads(to, tmp_path):
    model, x = nested(), random(4, 16, 16, 8)
    before, calls = numpy(model(x)), [layer.call for layer in model.layers]
    new, report = ksn.convert(model, to)
    assert np.array_equal(numpy(model(x)), before)
    assert [layer.call for layer in model.layers] == calls
    new.save(tmp_path / "new.keras")
    again = keras.models.load_model(tmp_path / "new.keras")
    assert np.allclose(numpy(again(x)), numpy(new(x)), atol=1e-6)
    assert report.parameters == (model.count_params(), new.count_params())
    assert 0 < report.error < 2 or to == "mex_pooling"


def test_a_shared_layer_stays_shared():
    new, report = ksn.convert(nested(), where="shared")
    assert [row.name for row in report.layers] == ["shared"]
    assert sum(layer.name == "shared" for layer in new.layers) == 1
    assert type(new.get_layer("shared")).__name__ == "LinearMixConv2D"


def test_a_sequential_model_stays_sequential_and_keeps_names_and_what_is_frozen():
    convolutions = [L.Conv2D(8, 3, name="first", trainable=False), L.Conv2D(8, 3, name="second")]
    new, _ = ksn.convert(keras.Sequential([keras.Input((9, 9, 8)), *convolutions]))
    assert isinstance(new, keras.Sequential)
    assert [layer.name for layer in new.layers] == ["first", "second"]
    assert [layer.trainable for layer in new.layers] == [False, True]


@pytest.mark.parametrize(
    ("where", "names"),
    [("s*", ["shared", "strided"]), (lambda layer: layer.name == "dilated", ["dilated"])],
)
def test_where_chooses_layers(where, names):
    _, report = ksn.convert(nested(), where=where)
    assert [row.name for row in report.layers] == names


def test_resnet_of_the_zoo_converts():
    model = ksn.zoo.build("resnet_a", input_shape=(8, 8, 3), widths=(8, 16), n_steps=1)
    new, report = ksn.convert(model)
    assert {row.before for row in report.layers} == {"GConv2D"}
    assert {row.after for row in report.layers} == {"LinearMixConv2D"}
    assert report.flops[1] < report.flops[0]
    x = np.abs(random(2, 8, 8, 3)) * 100
    assert numpy(new(x)).shape == (2, 10)


@pytest.mark.skipif(
    keras.backend.backend() != "torch", reason="large models: one backend is enough"
)
@pytest.mark.parametrize(
    ("name", "to"),
    [
        ("ResNet50", "linear_mix"),
        ("VGG16", "linear_mix"),
        ("DenseNet121", "linear_mix"),
        ("MobileNetV2", "low_rank"),  # its k x k convolutions are depthwise already
        ("EfficientNetB0", "low_rank"),
    ],
)
def test_a_network_of_keras_applications_converts_saves_and_loads(name, to, tmp_path):
    model = getattr(keras.applications, name)(weights=None, input_shape=(32, 32, 3), classes=10)
    new, report = ksn.convert(model, to)
    assert report.parameters == (model.count_params(), new.count_params())
    assert report.flops[1] < report.flops[0]
    x = np.abs(random(2, 32, 32, 3))
    new.save(tmp_path / "new.keras")
    again = keras.models.load_model(tmp_path / "new.keras")
    assert np.allclose(again.predict(x, verbose=0), new.predict(x, verbose=0), atol=1e-6)


# Reports


def test_the_report_counts_what_the_models_have_and_is_data():
    model = keras.Sequential(
        [keras.Input((8, 8, 16)), L.Conv2D(16, 3, padding="same", name="conv"), L.ReLU()]
    )
    x = random(8, 8, 8, 16)
    new, report = ksn.convert(model, images=x)
    (row,) = report.layers
    assert row.parameters == (9 * 256 + 16, 9 * 16 + 256 + 16)
    assert row.flops == (ksn.zoo.flops(model).total, ksn.zoo.flops(new).total) == report.flops
    assert row.error == pytest.approx(
        error(one(model.layers[0], (8, 8, 16)), new.layers[0], x), rel=1e-4
    )
    assert report.error == pytest.approx(error(model, new, x), rel=1e-4)
    assert json.loads(json.dumps(dataclasses.asdict(report)))["layers"][0]["name"] == "conv"
    assert "2,320 -> 416" in str(report)
    assert "8 images" in str(report)


def test_a_layer_is_kept_where_nothing_is_saved():
    model = keras.Sequential(
        [keras.Input((6, 6, 8)), L.Conv2D(8, 1, name="pointwise"), L.Conv2D(9, 2, name="small")]
    )
    _, report = ksn.convert(model)
    assert [row.name for row in report.layers] == ["small"]


# Errors


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.conv = L.Conv2D(8, 3)

    def call(self, x):
        return self.conv(x)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"to": "linear_mixx"}, "unknown `to` 'linear_mixx'. Did you mean 'linear_mix'"),
        ({"where": "nothing*"}, r"nothing to convert .* where='nothing\*'.* Use another `where`"),
        ({"where": 3}, "`where` must be a pattern of names or a function of a layer, got 3"),
        ({"min_channels": 100}, "min_channels=100. Use"),
        ({"min_channels": 0}, "`min_channels` must be an integer of at least 1, got 0"),
        ({"budget": 1.5}, "`budget` must lie between 0 and 1, got 1.5"),
        ({"beta": -1}, "`beta` must be a finite number above 0"),
        (
            {"images": np.zeros((2, 9, 9, 8))},
            r"\(2, 9, 9, 8\) do not fit .*\(None, 16, 16, 8\). Resize",
        ),
        ({"images": np.zeros((0, 16, 16, 8))}, "do not fit"),
        ({"images": [np.zeros((1, 16, 16, 8))] * 2}, "do not fit"),
    ],
)
def test_bad_arguments_are_named(options, message):
    with pytest.raises(ValueError, match=f"convert: .*{message}"):
        ksn.convert(nested(), **options)


def test_a_subclassed_model_and_one_that_is_not_built_are_refused():
    with pytest.raises(ValueError, match="`model` is a Subclassed.*Use a Sequential or functional"):
        ksn.convert(Subclassed())
    with pytest.raises(ValueError, match=r"is not built. Start it with keras.Input"):
        ksn.convert(keras.Sequential([L.Conv2D(8, 3)]))


def test_a_taken_name_of_a_conversion_is_refused():
    with pytest.raises(ValueError, match="'linear_mix' exists already"):
        ksn.conversion.register("linear_mix")(lambda layer, options: None)


# Command line


def test_the_command_line_writes_model_and_report(tmp_path, capsys):
    conv = L.Conv2D(8, 3, padding="same", name="conv")
    layers = [keras.Input((8, 8, 1)), L.Conv2D(8, 3), conv, L.Flatten(), L.Dense(10)]
    keras.Sequential(layers).save(tmp_path / "old.keras")
    out = tmp_path / "new"
    command = ["convert", str(tmp_path / "old.keras"), "--dataset", "digits", "--images", "64"]
    assert main([*command, "--out", str(out)]) == 0
    assert "64 images" in capsys.readouterr().out
    new = keras.models.load_model(out / "new.keras")
    assert type(new.layers[1]).__name__ == "LinearMixConv2D"
    assert json.loads((out / "conversion.json").read_text())["conversion"] == "linear_mix"
    assert (out / "conversion.txt").read_text().startswith("layer")
    assert main([*command, "--out", str(out)]) == 2
    assert "exists. Choose another folder" in capsys.readouterr().err
    assert main([*command, "--to", "low_rank", "--out", str(out), "--overwrite"]) == 0
