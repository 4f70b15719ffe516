"""Laws of MEX and of the similarity, on the backend of this process."""

import keras
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import keras_structnets as ksn
from tests.parity.probe import gradients
from tests.reference import simnets as reference

INF = float("inf")
FLOATS = st.floats(-5, 5, width=32)


def _numpy(x):
    return keras.ops.convert_to_numpy(x)


@pytest.mark.parametrize(("beta", "limit"), [(INF, np.max), (-INF, np.min), (0.0, np.mean)])
def test_mex_at_its_limits_is_maximum_minimum_and_mean(beta, limit):
    x = np.random.default_rng(0).normal(size=(4, 9)).astype("float32")
    np.testing.assert_allclose(_numpy(ksn.ops.mex(x, beta=beta)), limit(x, axis=-1), atol=2e-7)


@pytest.mark.parametrize(("sign", "limit"), [(1, np.max), (-1, np.min)])
def test_mex_tends_to_maximum_and_minimum_as_beta_grows(sign, limit):
    x = np.random.default_rng(1).normal(size=(4, 9)).astype("float32")
    distances = [
        np.abs(_numpy(ksn.ops.mex(x, beta=sign * beta)) - limit(x, axis=-1)).max()
        for beta in (1.0, 10.0, 100.0, 1e4)
    ]
    assert distances == sorted(distances, reverse=True)
    assert distances[-1] <= np.log(9) / 1e4 + 1e-6  # log(n) / beta bounds the distance


@settings(max_examples=20, deadline=None)
@given(
    hnp.arrays("float32", (3, 4), elements=FLOATS),
    st.sampled_from([-INF, -3, -1e-4, 0, 0.5, 8, INF]),
)
@example(np.full((3, 4), 1.3144424, "float32"), -INF)  # equal terms, whose mean is rounded
def test_mex_collapses(x, beta):
    inner = ksn.ops.mex(x, beta=float(beta))
    np.testing.assert_allclose(
        _numpy(ksn.ops.mex(inner, beta=float(beta))),
        _numpy(ksn.ops.mex(x.ravel(), beta=float(beta))),
        atol=5e-6,
    )


@settings(max_examples=20, deadline=None)
@given(hnp.arrays("float32", (6,), elements=FLOATS), FLOATS, st.floats(-20, 20, width=32))
def test_mex_of_shifted_terms_is_shifted(x, shift, beta):
    y, shifted = (_numpy(ksn.ops.mex(v, beta=float(beta))) for v in (x, x + np.float32(shift)))
    np.testing.assert_allclose(shifted, y + shift, atol=5e-6)


def test_mex_grows_with_beta_and_lies_between_minimum_and_maximum():
    x = np.random.default_rng(2).normal(size=(9,)).astype("float32")
    betas = [-INF, -1e4, -30, -1, -1e-2, -1e-6, 0, 1e-6, 1e-2, 1, 30, 1e4, INF]
    values = [float(_numpy(ksn.ops.mex(x, beta=float(beta)))) for beta in betas]
    assert np.all(np.diff(values) >= -1e-6)
    assert values[0] == x.min()
    assert values[-1] == x.max()


def test_the_derivative_in_beta_is_half_the_variance_at_zero_and_continuous_there():
    x = np.random.default_rng(3).normal(size=(1, 7)).astype("float32")
    slopes = []
    for beta in (-1e-3, -1e-6, 0.0, 1e-6, 1e-3):
        layer = ksn.layers.MEX(1, beta=beta, use_offsets=False)
        slopes.append(float(gradients(layer, x)["beta"]))
    np.testing.assert_allclose(slopes, np.var(x.astype("float64")) / 2, rtol=2e-3)
    assert abs(slopes[2] - np.var(x.astype("float64")) / 2) < 1e-6


def test_the_gradient_does_not_jump_where_the_formula_changes():
    x = np.array([[0.0, 0.25, 1.0]], "float32")  # of range 1: the formula changes at beta = 1
    below, above = (
        gradients(ksn.layers.MEX(1, beta=beta, use_offsets=False), x)
        for beta in (0.999999, 1.000001)
    )
    for name in below:
        np.testing.assert_allclose(below[name], above[name], rtol=1e-5)


def test_ties_of_a_maximum_share_the_gradient():
    x = np.array([[1.0, 3.0, 3.0]], "float32")
    layer = ksn.layers.MEX(1, beta=INF, trainable_beta=False, use_offsets=False)
    np.testing.assert_allclose(gradients(layer, x)["x"], [[0, 0.5, 0.5]], atol=1e-6)


def test_a_learned_beta_crosses_zero():
    layer = ksn.layers.MEX(1, beta=0.02, use_offsets=False)
    inputs = keras.Input((4,))
    model = keras.Model(inputs, layer(inputs))
    model.compile(keras.optimizers.SGD(0.05), "mse")
    x = np.random.default_rng(4).normal(size=(64, 4)).astype("float32")
    model.fit(x, x.min(axis=1), epochs=3, verbose=0)
    beta = float(_numpy(layer.beta))
    assert np.isfinite(beta)
    assert beta < 0


@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("padding", ["valid", "same"])
def test_mex_pooling_with_beta_zero_and_infinity_is_average_and_maximum_pooling(rank, padding):
    x = np.random.default_rng(5).normal(size=(2, *(5, 6, 4)[:rank], 3)).astype("float32")
    average = reference.mex_pool(x.astype("float64"), (3,) * rank, (2,) * rank, padding, 0)
    maximum = getattr(keras.layers, f"MaxPooling{rank}D")(3, 2, padding)(x)
    pooling = getattr(ksn.layers, f"MEXPooling{rank}D")
    for learned in (False, True):  # a learned beta takes the general formula
        mean = pooling(3, 2, padding, beta=0.0, trainable_beta=learned)(x)
        most = pooling(3, 2, padding, beta=INF, trainable_beta=learned)(x)
        np.testing.assert_allclose(_numpy(mean), average, atol=1e-6)
        np.testing.assert_allclose(_numpy(most), _numpy(maximum), atol=1e-6)


def test_unweighted_similarity_of_order_p_is_the_distance_to_the_power_p():
    rng = np.random.default_rng(6)
    x, z = (rng.normal(size=shape).astype("float32") for shape in ((5, 8), (8, 3)))
    for p in (1.0, 1.5, 2.0, 3.0):
        expected = -(np.linalg.norm(x[:, :, None] - z[None], ord=p, axis=1) ** p)
        found = _numpy(ksn.ops.lp_similarity(x, z, p=p))
        np.testing.assert_allclose(found, expected, rtol=5e-6)


def test_a_similarity_of_patches_equals_the_similarity_of_their_vectors():
    rng = np.random.default_rng(7)
    x = rng.normal(size=(2, 3, 3, 2)).astype("float32")
    layer = ksn.layers.Similarity2D(4, kernel_size=3, templates_initializer="random_normal")
    y = _numpy(layer(x))
    z = _numpy(layer.templates).reshape(18, 4)
    u = _numpy(layer.similarity_weights).reshape(18, 4)
    expected = _numpy(ksn.ops.lp_similarity(x.reshape(2, 18), z, u))
    np.testing.assert_allclose(y[:, 0, 0], expected, rtol=1e-5)


def test_the_simnet_mlp_is_a_kernel_machine():
    """exp(beta h) is a sum of Gaussian kernels with coefficients exp(beta b) (section 3)."""
    rng = np.random.default_rng(8)
    x, z, b = (rng.normal(size=s).astype("float32") for s in ((5, 3), (3, 6), (6, 2)))
    beta = 0.7
    h = _numpy(ksn.ops.mex(ksn.ops.lp_similarity(x, z), b, beta))
    kernel = np.exp(-beta * ((x[:, :, None] - z[None]) ** 2).sum(axis=1))
    np.testing.assert_allclose(np.exp(beta * h), kernel @ np.exp(beta * b) / 6, rtol=1e-5)
