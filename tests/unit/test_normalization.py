"""Our batch normalization computes what Keras' own does."""

import keras
import numpy as np
import pytest

import keras_structnets as ksn
from tests.reference.normalization import batch_normalization

SHAPES = [(4, 5, 6, 3), (8, 3), (4, 6, 3), (2, 3, 4, 5, 3)]
OPTIONS = {
    "default": {},
    "no_weights": {"center": False, "scale": False},
    "no_scale": {"scale": False, "momentum": 0.9, "epsilon": 1e-5},
}


def pair(shape, dtype="float32", **options):
    """Ours and Keras' own layer with the same weights, drawn at random."""
    rng = np.random.default_rng(0)
    ours = ksn.layers.BatchNormalization(dtype=dtype, **options)
    keras_own = keras.layers.BatchNormalization(dtype=dtype, **options)
    for layer in (ours, keras_own):
        layer.build(shape)
    weights = [rng.uniform(0.5, 2.0, w.shape).astype("float32") for w in ours.weights]
    for layer in (ours, keras_own):
        layer.set_weights(weights)
    return ours, keras_own


def pixels(shape):
    return (3.0 + 2.0 * np.random.default_rng(1).normal(size=shape)).astype("float32")


def numpy(x):
    return np.asarray(keras.ops.convert_to_numpy(keras.ops.cast(x, "float32")))


def gradients(layer, x):
    """Gradients of a weighted sum of the outputs, by one step of SGD with rate 1."""
    shift = keras.layers.Dense(x.shape[-1], kernel_initializer="identity")
    model = keras.Sequential([keras.Input(x.shape[1:]), shift, layer])
    before = [numpy(w) for w in model.trainable_weights]
    model.compile(keras.optimizers.SGD(1.0), "mse")
    model.train_on_batch(x, np.random.default_rng(2).normal(size=x.shape).astype("float32"))
    return [old - numpy(new) for old, new in zip(before, model.trainable_weights, strict=True)]


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_outputs_and_moving_statistics_are_those_of_keras(shape, options):
    ours, keras_own = pair(shape, **options)
    x = pixels(shape)
    for training in (True, True, False):
        np.testing.assert_allclose(
            numpy(ours(x, training=training)), numpy(keras_own(x, training=training)), atol=2e-5
        )
    for mine, theirs in zip(ours.weights, keras_own.weights, strict=True):
        np.testing.assert_allclose(numpy(mine), numpy(theirs), rtol=2e-6)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_gradients_are_those_of_keras(shape):
    ours, keras_own = pair(shape)
    x = pixels(shape)
    for mine, theirs in zip(gradients(ours, x), gradients(keras_own, x), strict=True):
        np.testing.assert_allclose(mine, theirs, atol=2e-5 * max(1, np.abs(theirs).max()))


@pytest.mark.parametrize("dtype", ["mixed_float16", "mixed_bfloat16"])
def test_half_precision_keeps_float32_statistics(dtype):
    ours, keras_own = pair((4, 5, 6, 3), dtype)
    x = keras.ops.cast(pixels((4, 5, 6, 3)), ours.compute_dtype)
    y, expected = ours(x, training=True), keras_own(x, training=True)
    assert keras.backend.standardize_dtype(y.dtype) == ours.compute_dtype
    np.testing.assert_allclose(numpy(y), numpy(expected), atol=0.02)
    for mine, theirs in zip(ours.weights, keras_own.weights, strict=True):
        assert mine.dtype == "float32"
        np.testing.assert_allclose(numpy(mine), numpy(theirs), rtol=1e-5)


def test_a_frozen_layer_uses_and_keeps_its_moving_statistics():
    ours, keras_own = pair((4, 5, 6, 3))
    ours.trainable = keras_own.trainable = False
    x, before = pixels((4, 5, 6, 3)), [numpy(w) for w in ours.weights]
    np.testing.assert_array_equal(numpy(ours(x, training=True)), numpy(keras_own(x, training=True)))
    for old, new in zip(before, ours.weights, strict=True):
        np.testing.assert_array_equal(old, numpy(new))


@pytest.mark.parametrize(
    "options", [{"axis": 1}, {"renorm": True}, {"dtype": "float64"}], ids=lambda o: next(iter(o))
)
def test_other_settings_take_the_code_of_keras(options):
    ours, keras_own = pair((4, 3, 6, 3), **options)
    x = pixels((4, 3, 6, 3))
    np.testing.assert_array_equal(numpy(ours(x, training=True)), numpy(keras_own(x, training=True)))


def test_masked_steps_have_no_part():
    ours, keras_own = pair((2, 4, 3))
    x, mask = pixels((2, 4, 3)), np.array([[True, True, False, False], [True, True, True, False]])
    np.testing.assert_array_equal(
        numpy(ours(x, training=True, mask=mask)), numpy(keras_own(x, training=True, mask=mask))
    )


def test_one_value_per_channel_gives_beta():
    ours, keras_own = pair((1, 1, 1, 3))
    x = pixels((1, 1, 1, 3))
    np.testing.assert_allclose(
        numpy(ours(x, training=True)), numpy(keras_own(x, training=True)), atol=1e-6
    )


def test_a_model_with_it_can_be_saved(tmp_path):
    x = pixels((4, 5, 6, 3))
    model = keras.Sequential(
        [keras.Input(x.shape[1:]), ksn.layers.BatchNormalization(momentum=0.8)]
    )
    model(x, training=True)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    assert type(again.layers[0]) is ksn.layers.BatchNormalization
    np.testing.assert_array_equal(numpy(again(x)), numpy(model(x)))


def second_derivative(layer, x, direction):
    """d/dx of `sum(direction * d/dx sum(sin y))`, by the backend's own differentiation."""
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        x = tf.Variable(x)
        with tf.GradientTape() as outer:
            with tf.GradientTape() as inner:
                total = tf.reduce_sum(tf.sin(layer(x, training=True)))
            slope = tf.reduce_sum(direction * inner.gradient(total, x))
        return numpy(outer.gradient(slope, x))
    if backend == "torch":
        import torch

        x = torch.tensor(x, requires_grad=True)
        total = torch.sin(layer(x, training=True)).sum()
        (slope,) = torch.autograd.grad(total, x, create_graph=True)
        return numpy(torch.autograd.grad((slope * torch.tensor(direction)).sum(), x)[0])
    import jax

    weights = [w.value for w in layer.non_trainable_variables]
    trained = [w.value for w in layer.trainable_variables]

    def total(x):
        y, _ = layer.stateless_call(trained, weights, x, training=True)
        return keras.ops.sum(keras.ops.sin(y))

    return numpy(jax.grad(lambda x: (direction * jax.grad(total)(x)).sum())(x))


def test_second_derivatives_are_those_of_central_differences():
    """Not compared with Keras: on TensorFlow its moments stop a gradient that the second one needs."""
    ours, _ = pair((4, 3, 3, 2))
    x = pixels((4, 3, 3, 2))
    direction = np.random.default_rng(3).normal(size=x.shape).astype("float32")
    gamma, beta = (numpy(w).astype("float64") for w in ours.trainable_weights)

    def total(x):
        return np.sin(batch_normalization(x, gamma, beta, ours.epsilon)).sum()

    expected, step = np.empty(x.shape), 1e-4
    for at in np.ndindex(*x.shape):
        corners = []
        for i, j in ((1, 1), (1, -1), (-1, 1), (-1, -1)):
            point = x + j * step * direction.astype("float64")
            point[at] += i * step
            corners.append(i * j * total(point))
        expected[at] = sum(corners) / (4 * step**2)
    found = second_derivative(ours, x, direction)
    np.testing.assert_allclose(found, expected, atol=2e-5 * np.abs(expected).max())


@pytest.mark.skipif(keras.backend.backend() == "jax", reason="JAX has no kernel")
def test_the_fused_operation_runs(monkeypatch):
    used = []
    kernel = ksn.ops.kernels.select("batch_normalization")
    monkeypatch.setattr(
        ksn.ops.kernels, "select", lambda _: lambda *a: used.append(a) or kernel(*a)
    )
    ours, _ = pair((4, 5, 6, 3))
    ours(pixels((4, 5, 6, 3)), training=True)
    assert used
