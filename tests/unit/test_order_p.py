"""Similarity of order p, and second derivatives of similarity and MEX."""

import keras
import numpy as np
import pytest
from keras import ops

import keras_structnets as ksn
from keras_structnets.ops import kernels

BACKEND = keras.backend.backend()
STEP = 4e-3  # of a difference


def drawn(m, n_in, n_out):
    """x, z and u; some of x equal to z."""
    rng = np.random.default_rng(0)
    x, z = (rng.normal(size=shape).astype("float32") for shape in ((m, n_in), (n_in, n_out)))
    x[: m // 3] = z[:, 0]
    return x, z, rng.uniform(0.5, 1, (n_in, n_out)).astype("float32")


def test_a_model_gives_the_same_for_every_number_of_images():
    rng = np.random.default_rng(0)
    inputs = keras.Input((6, 6, 32))
    layer = ksn.layers.Similarity2D(33, p=1.0, templates_initializer="random_normal")
    model = keras.Model(inputs, layer(inputs))
    x = rng.normal(size=(5, 6, 6, 32)).astype("float32")
    z, u = (ops.convert_to_numpy(weight)[0, 0] for weight in layer.weights)
    expected = -(u * np.abs(x[..., None] - z)).sum(-2)
    predictor = ksn.zoo.predictor(model)
    for n in (5, 1):
        np.testing.assert_allclose(model.predict(x[:n], verbose=0), expected[:n], rtol=1e-5)
        np.testing.assert_allclose(predictor(x[:n]), expected[:n], rtol=1e-5)


def test_sums_run_in_float32_whatever_floatx_is():
    x, z, _ = drawn(4, 32, 33)
    of = kernels.select("compiled")(lambda x, z: ksn.ops.lp_similarity(x, z, p=1.0))
    expected = -np.abs(x[..., None] - z).sum(1)
    floatx = keras.config.floatx()
    keras.config.set_floatx("float16")
    try:
        y = ops.convert_to_numpy(of(*(ops.convert_to_tensor(a, "float32") for a in (x, z))))
    finally:
        keras.config.set_floatx(floatx)
    assert y.dtype == np.float32
    np.testing.assert_allclose(y, expected, rtol=1e-5)


FUNCTIONS = {
    "order 3": lambda x, z: ksn.ops.lp_similarity(x, z, p=3.0),
    "a learned order": lambda x, z: ksn.ops.lp_similarity(
        x, z, p=ops.convert_to_tensor(2.5, "float32")
    ),
    "MEX": lambda x, b: ksn.ops.mex(x, b, beta=0.7),
    "MEX of far terms": lambda x, b: ksn.ops.mex(x, 25.0 * b, beta=0.7),
    "MEX without offsets": lambda x, b: ksn.ops.mex(x[:, :4] * b[:1, :1], beta=2.0),
}


@pytest.mark.parametrize(
    ("name", "size"), [*((name, (4, 3)) for name in FUNCTIONS), ("a learned order", (34, 33))]
)
def test_a_gradient_can_be_differentiated(name, size):
    """The slope of the squared norm of a gradient, as for a gradient penalty, by differences."""
    x, z, _ = drawn(6, *size)
    x = np.where(np.arange(6)[:, None] < 2, x + 0.5, x).astype("float32")
    steepness = steepness_of(FUNCTIONS[name])
    rng = np.random.default_rng(2)
    for i in range(2):
        directions = [
            rng.normal(size=a.shape).astype("float32") * (i == k) for k, a in enumerate((x, z))
        ]
        _, slopes = steepness(x, z)
        found = np.sum(np.asarray(slopes[i]) * directions[i])
        after, before = (
            steepness(*(a + sign * STEP * d for a, d in zip((x, z), directions, strict=True)))[0]
            for sign in (1, -1)
        )
        np.testing.assert_allclose(found, (after - before) / (2 * STEP), rtol=0.05)


def steepness_of(f):
    """A function of (x, z) to the squared norm of the gradient of mean f^2 over x, and its gradients."""
    if BACKEND == "torch":
        import torch

        def steepness(*arrays):
            x, z = (torch.tensor(array, requires_grad=True) for array in arrays)
            (slope,) = torch.autograd.grad(f(x, z).square().mean(), x, create_graph=True)
            norm = slope.square().sum()
            return norm.item(), [part.numpy() for part in torch.autograd.grad(norm, (x, z))]

        return steepness
    if BACKEND == "jax":
        import jax

        def norm(x, z):
            return ops.sum(jax.grad(lambda x: ops.mean(f(x, z) ** 2))(x) ** 2)

        return jax.jit(jax.value_and_grad(norm, (0, 1)))
    import tensorflow as tf

    @tf.function(autograph=False)
    def slopes(x, z):
        with tf.GradientTape() as outer:
            outer.watch((x, z))
            with tf.GradientTape() as inner:
                inner.watch(x)
                y = tf.reduce_mean(f(x, z) ** 2)
            norm = tf.reduce_sum(inner.gradient(y, x) ** 2)
        return norm, outer.gradient(norm, (x, z))

    return lambda *arrays: slopes(*map(tf.constant, arrays))
