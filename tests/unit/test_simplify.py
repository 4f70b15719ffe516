"""The inference form computes what the model computes, with plain operations."""

import keras
import numpy as np
import pytest

import keras_structnets as ksn
from keras_structnets.inference.rules import rule_of
from keras_structnets.layers._base import Layer
from tests.cases import LAYERS, catalogue
from tests.cases.models import images, randomize

INF = float("inf")
TOLERANCE = (
    1e-5  # of the largest output; the worst case of the catalogue is measured at a fifth of it
)
SMALL = {
    "g_conv_net": {"structure": (2, 3), "skips": (2,)},
    "resnet_a": {"widths": (4, 8), "n_steps": 1},
    "mobilenet_a": {"widths": (4, 8), "n_steps": 1},
    "linear_mix_a": {"widths": (4, 8), "n_steps": 1},
    "explicit_rd_a": {"widths": (4, 8), "n_steps": 1},
    "implicit_rd_a": {"widths": (4, 8), "n_steps": 1},
    "circulant_rd_a": {"widths": (4, 8), "n_steps": 1},
    "caffe_convnet": {"filters": (3, 4, 5)},
    "convnet_1layer": {"filters": 4},
    "nin_compact": {},
}
SIMNETS = {
    "simnet_mlp": {"units": 5},
    "simnet_1layer_l1": {"templates": 5},
    "simnet_1layer_l2": {"templates": 5},
    "simnet_2layer": {"channels": (4, 6)},
    "simnet_3layer_compact": {},
}


def outputs(model, x):
    if keras.backend.backend() == "jax":  # compiles the model at once, not each operation
        return model.predict_on_batch(x)
    return keras.ops.convert_to_numpy(model(x))


def assert_same(simple, model, x, tolerance=TOLERANCE):
    found, expected = outputs(simple, x), outputs(model, x)
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() <= tolerance * np.abs(expected).max()


def assert_predicted(model, x, tolerance=TOLERANCE):
    expected = outputs(model, x)
    found = ksn.inference.predictor(model)(x)
    assert found.shape == expected.shape
    assert found.dtype == "float32"
    assert np.abs(found - expected).max() <= tolerance * np.abs(expected).max()


def small(name, beta=None):
    """A small network of the zoo with random weights, all betas set to `beta`."""
    options = (SMALL | SIMNETS)[name]
    model = ksn.zoo.build(name, classifier_activation=None, input_shape=(16, 16, 3), **options)
    randomize(model)
    for layer in model.layers:
        if beta is not None and getattr(layer, "trainable_beta", False):
            layer.beta.assign(np.float32(beta))
    return model


def model_of(case):
    layer = getattr(ksn.layers, case.layer)(**case.config)
    inputs = keras.Input(case.input_shape[1:])
    model = keras.Model(inputs, layer(inputs))
    for weight in layer.weights:
        weight.assign(case.values(weight.name, tuple(weight.shape)))
    return model


COMPLETE = [case for case in catalogue() if not case.missing]


def test_missing_values_are_refused():
    model = keras.Sequential([keras.Input((3,)), ksn.layers.Similarity(2, ignore_nan=True)])
    with pytest.raises(ValueError, match="has ignore_nan=True"):
        ksn.inference.simplify(model)


@pytest.mark.parametrize("case", COMPLETE, ids=str)
def test_a_layer_and_its_plain_operations_agree(case):
    model = model_of(case)
    x = case.values("x", case.input_shape)
    assert_same(ksn.inference.simplify(model), model, x)
    assert_predicted(model, x)


@pytest.mark.parametrize("name", LAYERS)
def test_a_public_layer_has_a_rule(name):
    case = next(case for case in catalogue() if case.layer == name)
    assert rule_of(getattr(ksn.layers, name)(**case.config)) is not None


@pytest.mark.parametrize("name", SMALL)
def test_a_network_of_the_zoo_keeps_its_outputs(name):
    model = small(name)
    simple = ksn.inference.simplify(model)
    assert_same(simple, model, images((16, 16, 3), 3))
    assert_predicted(model, images((16, 16, 3), 3))
    assert not any(
        isinstance(layer, Layer | keras.layers.BatchNormalization) for layer in simple.layers
    )


@pytest.mark.parametrize(
    ("name", "beta"),
    [("simnet_2layer", beta) for beta in (0.0, 1e-4, -0.3, 60.0, INF, -INF)]
    + [(name, 0.3) for name in SIMNETS],
)
def test_a_simnet_keeps_its_outputs_at_any_beta(name, beta):
    model = small(name, beta)
    assert_same(ksn.inference.simplify(model), model, images((16, 16, 3), 3))
    assert_predicted(model, images((16, 16, 3), 3))


@pytest.mark.parametrize("beta", [1e-44, 1e-30, 1e-6, 1e-3, 0.05, 0.4, 2.0, 20.0, 1e4, -1e-3, -2.0])
@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
@pytest.mark.parametrize("spread", [None, 1e-2, 1.0, 100.0])
def test_mex_is_accurate_for_any_beta_offsets_and_inputs(beta, scale, spread):
    """Against the sum in float64."""
    rng = np.random.default_rng(0)
    x = (scale * rng.normal(size=(20, 7))).astype("float32")
    layer = ksn.layers.MEX(3, beta=beta, use_offsets=spread is not None)
    model = keras.Sequential([keras.Input((7,)), layer])
    offsets = np.zeros((7, 3), "float32")
    if spread is not None:
        offsets = (spread * rng.normal(size=(7, 3))).astype("float32")
        layer.offsets.assign(offsets)
    c = x[:, :, None].astype("float64") + offsets
    b = float(np.float32(beta))
    mean = c.mean(axis=1, keepdims=True)
    top = (b * (c - mean)).max(axis=1, keepdims=True)
    s = b * (c - mean)
    near = np.log1p(np.expm1(np.minimum(s, 1)).mean(axis=1))
    far = np.log(np.exp(s - top).mean(axis=1)) + top[:, 0]
    expected = mean[:, 0] + np.where(top[:, 0] < 1, near, far) / b
    for found in (outputs(ksn.inference.simplify(model), x), ksn.inference.predictor(model)(x)):
        assert np.abs(found - expected).max() <= 2e-6 * np.abs(c).max()


def test_operations_are_few_and_no_tensor_has_more_than_four_axes():
    simple = ksn.inference.simplify(small("g_conv_net"))
    assert {type(layer).__name__ for layer in simple.operations} == {
        "InputLayer", "Rescaling", "Conv2D", "PReLU", "Add", "GlobalAveragePooling2D", "Dense",
    }  # fmt: skip
    for operation in simple.operations:
        assert len(operation.output.shape) <= 4


def test_factors_and_normalizations_go_into_the_weights_before_them():
    simple = ksn.inference.simplify(small("explicit_rd_a"))
    kinds = [type(operation).__name__ for operation in simple.operations]
    assert kinds.count("Rescaling") == 3  # the pixels, and after each concatenation


@keras.saving.register_keras_serializable("tests")
class Twice(keras.layers.Layer):
    """A layer of a user's own."""

    def call(self, x):
        return 2 * x


def test_nested_and_shared_layers_and_several_inputs_and_outputs():
    shared = ksn.layers.GConv2D(4, (), 3, padding="same")
    norm = keras.layers.BatchNormalization()
    inner_input = keras.Input((8, 8, 4))
    inner = keras.Model(inner_input, ksn.layers.MEXPooling2D(2)(shared(inner_input)))
    sequence = keras.Sequential([keras.Input((4, 4, 4)), Twice(), ksn.layers.GlobalMEXPooling2D()])
    a, b = keras.Input((8, 8, 4), name="a"), keras.Input((8, 8, 4), name="b")
    x, y = inner(a), inner(norm(shared(b)))
    x, y = sequence(1 - x), sequence(y * 3.0)
    outputs_ = {"sum": x + y, "features": shared(a), "split": keras.ops.split(x, 2, axis=-1)[1]}
    model = keras.Model({"a": a, "b": b}, outputs_)
    randomize(model)
    simple = ksn.inference.simplify(model)
    x = {name: images((8, 8, 4), 2) / 255 for name in "ab"}
    found, expected = simple(x), model(x)
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        value = keras.ops.convert_to_numpy(value)
        np.testing.assert_allclose(
            keras.ops.convert_to_numpy(found[key]), value, rtol=1e-5, atol=1e-5
        )


def test_a_form_is_saved_and_loaded(tmp_path):
    x = images((16, 16, 3), 2)
    for name in ("implicit_rd_a", "simnet_2layer", "simnet_1layer_l1", "g_conv_net"):
        simple = ksn.inference.simplify(small(name))
        simple.save(tmp_path / "form.keras")
        again = keras.saving.load_model(tmp_path / "form.keras")
        np.testing.assert_array_equal(outputs(again, x), outputs(simple, x))


def test_a_form_is_a_snapshot_that_does_not_train():
    model = small("linear_mix_a")
    simple = ksn.inference.simplify(model)
    before = outputs(simple, images((16, 16, 3), 2))
    model.set_weights([2 * w for w in model.get_weights()])
    np.testing.assert_array_equal(outputs(simple, images((16, 16, 3), 2)), before)
    assert not simple.trainable_weights


def test_pixels_of_integers_are_taken():
    inputs = keras.Input((8, 8, 4), dtype="uint8")
    model = keras.Model(inputs, ksn.layers.Similarity2D(3, 2)(inputs))
    x = images((8, 8, 4), 2).astype("uint8")
    assert_same(ksn.inference.simplify(model), model, x)


class Louder(ksn.layers.MEX):
    """Computes something else than MEX."""

    def call(self, inputs):
        return 2 * super().call(inputs)


class Holder(keras.layers.Layer):
    """A layer that holds one of ours."""

    def __init__(self):
        super().__init__(name="holder")
        self.parts = [ksn.layers.MEX(2, name="inner")]

    def call(self, x):
        return self.parts[0](x)


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (Louder(2, name="loud"), "no rule for the layer 'loud' of the class Louder"),
        (Holder(), "'holder' of the class Holder holds 'inner', a MEX"),
        (
            keras.layers.TimeDistributed(ksn.layers.MEX(2, name="inner"), name="wrapper"),
            "'wrapper' of the class TimeDistributed holds 'inner'",
        ),
    ],
    ids=["derived", "holds", "wrapper"],
)
def test_a_layer_without_a_rule_is_named(layer, message):
    model = keras.Sequential([keras.Input((4, 3)), layer])
    with pytest.raises(ValueError, match=message):
        ksn.inference.simplify(model)


class Subclass(keras.Model):
    def call(self, x):
        return x


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("simnet_2layer", "must be a keras.Model, got 'simnet_2layer'"),
        (keras.Sequential([keras.layers.Dense(2)], name="unbuilt"), "'unbuilt' has no graph"),
        (Subclass(name="mine"), "'mine' has no graph of layers"),
    ],
    ids=["name", "not built", "subclass"],
)
def test_what_has_no_graph_is_refused(model, message):
    with pytest.raises(ValueError, match=message):
        ksn.inference.simplify(model)
