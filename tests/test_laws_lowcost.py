"""Laws of the low-cost parameterizations, on operators written out as dense matrices."""

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_structnets import layers, ops
from tests.reference import lowcost as reference

# image [*n, c] and stencil sizes: odd, even, larger than the image, of one pixel
SHAPES = [
    ((7, 2), (3,)),
    ((5, 4, 3), (3, 3)),
    ((4, 5, 2), (2, 4)),
    ((2, 1, 2), (5, 3)),
    ((1, 1, 2), (3, 3)),
    ((3, 2, 4, 2), (3, 3, 2)),
]
shapes = pytest.mark.parametrize(("shape", "size"), SHAPES)
paddings = pytest.mark.parametrize("padding", ["same", "periodic"])


@shapes
@paddings
def test_the_adjoint_moves_an_operator_across_the_inner_product(shape, size, padding):
    kernel, x, y = _random((*size, shape[-1])), _random((2, *shape)), _random((2, *shape))
    moved = np.sum(_numpy(ops.depthwise_conv(x, kernel, padding)) * y)
    back = np.sum(x * _numpy(ops.depthwise_adjoint(y, kernel, padding)))
    assert moved == pytest.approx(back, rel=1e-5, abs=1e-5)


@shapes
@paddings
def test_a_square_of_diffusion_is_symmetric_and_positive_semidefinite(shape, size, padding):
    kernel = _random((*size, shape[-1]))
    square = np.eye(np.prod(shape)) - _matrix(
        lambda x: ops.explicit_diffusion(x, kernel, 1.0, padding), shape
    )
    scale = np.abs(square).max()
    np.testing.assert_allclose(square, square.T, atol=2e-6 * scale)
    assert np.linalg.eigvalsh((square + square.T) / 2).min() >= -5e-6 * scale


@settings(max_examples=10, deadline=None, derandomize=True)
@given(data=st.data())
def test_the_implicit_step_has_a_spectral_radius_of_at_most_1(data):
    rank = data.draw(st.integers(1, 3))
    spatial = data.draw(st.tuples(*[st.integers(1, 5)] * rank))
    size = data.draw(st.tuples(*[st.integers(1, 7)] * rank))
    scale = 10.0 ** data.draw(st.integers(-3, 4))
    step_size = 10.0 ** data.draw(st.integers(-2, 3))
    kernel = scale * _random((*size, 1), seed=data.draw(st.integers(0, 99)))
    step = _matrix(lambda x: ops.implicit_diffusion(x, kernel, step_size), (*spatial, 1))
    eigenvalues = np.linalg.eigvalsh((step + step.T) / 2)
    np.testing.assert_allclose(step, step.T, atol=1e-5)
    assert eigenvalues.max() <= 1 + 1e-6
    assert eigenvalues.min() >= -1e-6


@shapes
def test_the_implicit_step_undoes_what_it_solves(shape, size):
    kernel, x = 0.5 * _random((*size, shape[-1])), _random((2, *shape))
    y = ops.implicit_diffusion(x, kernel, 0.7)
    square = y - ops.explicit_diffusion(y, kernel, 1.0, "periodic")
    np.testing.assert_allclose(_numpy(y + 0.7 * square), x, atol=1e-5)


@shapes
def test_a_circulant_product_is_that_of_the_dense_block_matrix(shape, size):
    kernel = _random((*size, shape[-1]))
    dense = reference.circulant_matrix(kernel.astype("float64"), shape[:-1])
    found = _matrix(lambda x: ops.circulant_conv(x, kernel), shape, channels_first=True)
    np.testing.assert_allclose(found, dense, atol=2e-6 * max(1, np.abs(dense).max()))


def test_a_circulant_step_commutes_with_shifts_of_channels_and_pixels():
    kernel, x = _random((3, 3, 4)), _random((1, 5, 6, 4))
    y = _numpy(ops.circulant_diffusion(x, kernel, 0.1))
    for axis in (1, 2, 3):
        moved = _numpy(ops.circulant_diffusion(np.roll(x, 1, axis), kernel, 0.1))
        np.testing.assert_allclose(moved, np.roll(y, 1, axis), atol=1e-5)


@pytest.mark.parametrize("size", [(3, 3), (2, 4), (1, 5)])
def test_linear_mix_is_the_masked_full_convolution(size):
    x, depthwise, pointwise = _random((2, 6, 7, 4)), _random((*size, 4)), _random((4, 4))
    full = depthwise[..., None] * np.eye(4, dtype="float32")
    full[(size[0] - 1) // 2, (size[1] - 1) // 2] += pointwise
    expected = keras.ops.conv(x, full, padding="same")
    found = ops.linear_mix_conv(x, depthwise, pointwise)
    np.testing.assert_allclose(_numpy(found), _numpy(expected), atol=1e-5)


@pytest.mark.parametrize("spatial", [(8,), (6, 5), (4, 3, 2)])
def test_the_spectrum_of_a_stencil_is_that_of_its_matrix(spatial):
    kernel = _random((*(3,) * len(spatial), 1))
    re, im = (_numpy(part)[..., 0] for part in ops.stencil_spectrum(kernel, spatial))
    dense = reference.stencil_matrix(kernel[..., 0].astype("float64"), spatial, "periodic")
    column = np.fft.rfftn(dense[:, 0].reshape(spatial))  # F(K e_1)
    np.testing.assert_allclose(re + 1j * im, column, atol=1e-5)


@pytest.mark.parametrize("layer", ["ExplicitDiffusion", "CirculantDiffusion"])
@pytest.mark.parametrize("step_size", [0.1, 1.0, 4.0])
@pytest.mark.parametrize("size", [3, 7])
def test_an_explicit_step_is_stable_when_training_starts(layer, step_size, size):
    keras.utils.set_random_seed(3)
    step = getattr(layers, f"{layer}2D")(size, step_size=step_size)
    step.build((None, 16, 16, 8))
    kernel = keras.ops.convert_to_numpy(step.kernel)
    if layer == "CirculantDiffusion":
        power = np.abs(np.fft.fftn(_embedded(kernel, (16, 16)))) ** 2
    else:
        power = np.abs(np.fft.fft2(_embedded(kernel, (16, 16)), axes=(0, 1))) ** 2
    assert step_size * power.max() <= 2
    assert step_size * power.mean() == pytest.approx(1 / 20, rel=0.5)


def _embedded(kernel, spatial):
    image = np.zeros((*spatial, kernel.shape[-1]))
    image[: kernel.shape[0], : kernel.shape[1]] = kernel
    return image


def _random(shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def _numpy(x):
    return keras.ops.convert_to_numpy(x)


def _matrix(operator, shape, channels_first=False):
    """The dense matrix of a linear operator; each column is the image of a unit vector."""
    size = int(np.prod(shape))
    columns = _numpy(operator(np.eye(size, dtype="float32").reshape(size, *shape)))
    if not channels_first:
        return columns.reshape(size, size).T.astype("float64")
    order = np.moveaxis(np.arange(size).reshape(shape), -1, 0).ravel()
    return columns.reshape(size, size).T[np.ix_(order, order)].astype("float64")
