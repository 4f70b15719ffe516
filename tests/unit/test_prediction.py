"""`predictor` gives what `model.predict` gives."""

import keras
import numpy as np
import pytest

import keras_structnets as ksn

SMALL = {
    "explicit_rd_a": {"widths": (4, 8), "n_steps": 1},
    "implicit_rd_a": {"widths": (4, 8), "n_steps": 1},
    "linear_mix_a": {"widths": (4, 8), "n_steps": 1},
    "simnet_2layer": {"channels": (4, 6)},
    "g_conv_net": {"structure": (2, 3), "skips": (2,)},
}


def images(n, seed=0, shape=(8, 8, 3)):
    return np.random.default_rng(seed).integers(0, 256, (n, *shape)).astype("float32")


def with_random_weights(model):
    """`model` with means, variances and offsets that are not those of the start."""
    rng = np.random.default_rng(0)
    noise = [np.abs(rng.normal(0, 0.1, w.shape)).astype(w.dtype) for w in model.get_weights()]
    model.set_weights([w + extra for w, extra in zip(model.get_weights(), noise, strict=True)])
    return model


def small(name, **options):
    return with_random_weights(ksn.zoo.build(name, input_shape=(8, 8, 3), **SMALL[name], **options))


def assert_same(ours, expected):
    np.testing.assert_allclose(ours, expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize("name", SMALL)
def test_a_predictor_gives_what_the_model_predicts(name):
    model = small(name, classifier_activation=None)
    predict = ksn.zoo.predictor(model, batch_size=4)
    for n in (1, 4, 9):
        found = predict(images(n))
        assert isinstance(found, np.ndarray)
        assert_same(found, model.predict(images(n), verbose=0))
        assert_same(predict(images(n)), found)  # nothing is left over from a call


def test_a_predictor_takes_the_branch_of_its_images():
    """MEX is a product of matrices or a loop, as the range of its inputs asks."""
    offsets = keras.initializers.RandomNormal(stddev=100.0, seed=0)
    layers = [keras.Input((5,)), ksn.layers.MEX(3, beta=1.0, offsets_initializer=offsets)]
    model = keras.Sequential(layers)
    predict = ksn.zoo.predictor(model)
    for scale in (1.0, 1000.0):
        x = scale * np.random.default_rng(0).normal(size=(4, 5)).astype("float32")
        assert_same(predict(x), model.predict(x, verbose=0))


def test_a_predictor_forgets_the_images_before():
    """On PyTorch `+=` writes in place, here into what would be a constant."""

    class Sum(keras.layers.Layer):
        def call(self, x):
            total = keras.ops.zeros((4,))
            total += keras.ops.sum(x, axis=0)
            return x + total

    model = keras.Sequential([keras.Input((4,)), keras.layers.BatchNormalization(), Sum()])
    predict = ksn.zoo.predictor(model)
    for seed in (0, 1):
        x = images(2, seed, (4,))
        assert_same(predict(x), model.predict(x, verbose=0))


def test_a_predictor_is_a_snapshot():
    model = small("linear_mix_a")
    predict = ksn.zoo.predictor(model)
    before = predict(images(2))
    model.compile("sgd", "sparse_categorical_crossentropy")
    model.train_on_batch(images(2), np.zeros(2))
    model.set_weights([2 * w for w in model.get_weights()])
    np.testing.assert_array_equal(predict(images(2)), before)
    assert_same(ksn.zoo.predictor(model)(images(2)), model.predict(images(2), verbose=0))


@pytest.mark.parametrize(
    "convert",
    [
        lambda x: x.astype("uint8"),
        lambda x: x.astype("float64"),
        lambda x: x.tolist(),
        keras.ops.convert_to_tensor,
        lambda x: keras.ops.convert_to_tensor(x.astype("uint8")),
    ],
    ids=["uint8", "float64", "list", "tensor", "tensor of uint8"],
)
def test_a_predictor_takes_what_holds_numbers(convert):
    model = keras.Sequential(
        [keras.Input((8, 8, 3)), keras.layers.Flatten(), keras.layers.Dense(2)]
    )
    predict = ksn.zoo.predictor(model, batch_size=2)
    assert_same(predict(convert(images(3))), model.predict(images(3), verbose=0))


class Scaled(keras.layers.Layer):
    """Its input times a weight."""

    def __init__(self, shape):
        super().__init__()
        self.scale = self.add_weight(shape=shape, initializer="ones", name="scale")

    def call(self, x):
        return x * self.scale


def test_a_convolution_absorbs_nothing_but_what_each_of_its_channels_is_multiplied_with():
    """Here an image has as many columns as channels."""
    x = inputs = keras.Input((6, 6, 3))
    x = Scaled((4, 1))(keras.layers.Conv2D(4, 3)(x))
    x = keras.layers.Conv2D(4, 1)(x)
    x = Scaled((4,))(x) * Scaled((4,))(x)
    x = Scaled((4,))(1.0 - keras.layers.Conv2D(4, 1)(x))
    x = Scaled((1, 4))(2.0 * keras.layers.Conv2D(4, 1, use_bias=False)(x) - 3.0)
    model = with_random_weights(keras.Model(inputs, x))
    x = images(3, shape=(6, 6, 3))
    assert_same(ksn.zoo.predictor(model)(x), model.predict(x, verbose=0))


class Louder(ksn.layers.MEX):
    """Derived from a layer of ours: there is no rule for it."""

    def call(self, x):
        return 2.0 * super().call(x)


@pytest.mark.parametrize(
    "layer",
    [
        Louder(3),
        ksn.layers.Similarity(3, ignore_nan=True),
        keras.layers.TimeDistributed(ksn.layers.MEX(3)),
        keras.layers.LayerNormalization(),
        keras.layers.LSTM(3),
    ],
    ids=["derived", "ignore_nan", "wrapper", "normalization", "loop"],
)
def test_a_layer_without_a_rule_is_called_with_its_weights_of_then(layer):
    model = with_random_weights(keras.Sequential([keras.Input((4, 5)), layer]))
    x = images(3, shape=(4, 5)) / 256
    predict, expected = ksn.zoo.predictor(model), model.predict(x, verbose=0)
    model.set_weights([0 * w for w in model.get_weights()])
    assert_same(predict(x), expected)


def test_a_predictor_takes_images_whose_size_a_layer_hides():
    class Hidden(keras.layers.Layer):
        def call(self, x):
            return x

        def compute_output_spec(self, x):
            return keras.KerasTensor((None, None, None, 3))

    convolve = keras.layers.Conv2D(4, 3, strides=2, padding="same")
    parts = [Hidden(), convolve, keras.layers.GlobalMaxPooling2D()]
    model = keras.Sequential([keras.Input((8, 8, 3)), *parts])
    assert_same(ksn.zoo.predictor(model)(images(2)), model.predict(images(2), verbose=0))


def test_a_predictor_overwrites_nothing_that_is_needed_again():
    """On PyTorch sums, factors and ReLUs write into their inputs."""
    x = inputs = keras.Input((6, 6, 3))
    relu = keras.layers.ReLU()(x)
    conv = keras.layers.Conv2D(3, 1)(relu)
    twice = keras.layers.Add()([conv, conv])
    flat = keras.layers.Reshape((36, 3))(keras.layers.ReLU()(conv))
    summed = keras.layers.Add()([x, relu, conv, twice, keras.layers.Reshape((6, 6, 3))(flat)])
    model = keras.Model(inputs, keras.layers.Concatenate()([summed, conv, twice]))
    x = keras.ops.convert_to_tensor(images(2, shape=(6, 6, 3)) - 128)
    before = keras.ops.convert_to_numpy(x).copy()
    assert_same(ksn.zoo.predictor(model)(x), model.predict(before, verbose=0))
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(x), before)


two_inputs = [keras.Input((2,)), keras.Input((2,))]


class Subclass(keras.Model):
    def call(self, x):
        return x


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("simnet_2layer", "must be a keras.Model, got 'simnet_2layer'"),
        (keras.layers.Dense(2), "must be a keras.Model"),
        (keras.Sequential([keras.layers.Dense(2)]), "one input of known size"),
        (keras.Model(two_inputs, keras.layers.add(two_inputs)), "one input of known size"),
        (keras.Sequential([keras.Input((None, 3)), keras.layers.Dense(2)]), r"\(None, None, 3\)"),
        (keras.Sequential([keras.Input(batch_shape=(2, 3)), keras.layers.Dense(2)]), "any number"),
        (Subclass(), "Functional or Sequential"),
    ],
    ids=["name", "layer", "not built", "two inputs", "unknown size", "two images", "subclass"],
)
def test_what_is_no_such_model_is_refused(model, message):
    with pytest.raises(ValueError, match=message):
        ksn.zoo.predictor(model)


@pytest.mark.parametrize("shape", [(8, 8, 3), (2, 8, 8, 1), (0, 8, 8, 3), ()])
def test_images_of_another_shape_are_refused(shape):
    model = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Flatten()])
    predict = ksn.zoo.predictor(model)
    with pytest.raises(ValueError, match=r"shape \(n, 8, 8, 3\), n at least 1, got"):
        predict(np.zeros(shape))


def test_a_batch_of_no_images_is_refused():
    with pytest.raises(ValueError, match="`batch_size` must be an integer of at least 1, got 0"):
        ksn.zoo.predictor(keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)]), 0)
