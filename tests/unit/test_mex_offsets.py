"""Offsets of MEX pooling: what they are at first, their regions, and wrong ones."""

import keras
import numpy as np
import pytest

import keras_structnets as ksn

X = np.random.default_rng(0).normal(size=(2, 5, 6, 3)).astype("float32")


@pytest.mark.parametrize("beta", [0.0, 2.0, float("inf")])
@pytest.mark.parametrize("padding", ["valid", "same"])
def test_a_pooling_starts_as_one_without_offsets(beta, padding):
    plain, with_offsets = (
        ksn.layers.MEXPooling2D(2, 1, padding, beta=beta, use_offsets=use)(X)
        for use in (False, True)
    )
    found, expected = (keras.ops.convert_to_numpy(y) for y in (with_offsets, plain))
    np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.no_backend
@pytest.mark.parametrize(
    ("options", "regions"),
    [
        ({}, (1, 1)),
        ({"shared_region": 2}, (3, 3)),
        ({"shared_region": (5, 4)}, (1, 2)),
        ({"unshared_region": 2}, (2, 2)),
        ({"unshared_region": 100}, (5, 6)),
    ],
    ids=str,
)
def test_there_are_offsets_for_each_region(options, regions):
    layer = ksn.layers.MEXPooling2D(2, 1, "same", use_offsets=True, **options)
    layer.build(X.shape)
    assert tuple(layer.offsets.shape) == (*regions, 2, 2, 3)
    assert ksn.zoo.flops(keras.Sequential([keras.Input(X.shape[1:]), layer])).total > 0


@pytest.mark.no_backend
def test_fixed_offsets_are_not_trainable():
    layer = ksn.layers.MEXPooling2D(2, use_offsets=True, trainable_offsets=False)
    layer.build(X.shape)
    assert [w.name for w in layer.trainable_weights] == ["beta"]
    assert [w.name for w in layer.non_trainable_weights] == ["offsets"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"shared_region": 0},
            "`shared_region` must be an integer or 2 integers of at least 1, got 0",
        ),
        ({"unshared_region": (1, 2, 3)}, "`unshared_region` must be an integer or 2 integers"),
        ({"shared_region": 2, "unshared_region": 2}, "exclude each other"),
    ],
    ids=str,
)
def test_wrong_regions_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        ksn.layers.MEXPooling2D(2, use_offsets=True, **options)
    with pytest.raises(ValueError, match=message):
        ksn.ops.mex_pool(X, 2, offsets=np.zeros((1, 1, 2, 2, 3), "float32"), **options)


def test_offsets_of_another_shape_are_named():
    with pytest.raises(
        ValueError, match=r"`offsets` must have the shape \[1, 1, 2, 2, 3\], got \(2, 2, 3\)"
    ):
        ksn.ops.mex_pool(X, 2, offsets=np.zeros((2, 2, 3), "float32"))


@pytest.mark.parametrize("alpha", [0.01, 1.0, 5.0])
def test_dirichlet_offsets_are_logarithms_of_shares_with_the_distributions_moments(alpha):
    make = ksn.initializers.DirichletOffsets(alpha, axis=(1, 2), seed=0)
    offsets = keras.ops.convert_to_numpy(make((4000, 2, 2)))
    assert np.isfinite(offsets).all()
    shares = np.exp(offsets.astype("float64"))
    np.testing.assert_allclose(shares.sum((1, 2)), 1, atol=1e-4)
    np.testing.assert_allclose(shares.mean(0), 0.25, atol=0.03)
    variance = 0.25 * 0.75 / (4 * alpha + 1)
    np.testing.assert_allclose(shares.var(0), variance, rtol=0.15)
    again = type(make).from_config(make.get_config())
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(again((4000, 2, 2))), offsets)


@pytest.mark.no_backend
@pytest.mark.parametrize("options", [{"alpha": 0}, {"axis": -1}, {"axis": "last"}], ids=str)
def test_wrong_dirichlet_offsets_are_named(options):
    with pytest.raises(ValueError, match=f"`{next(iter(options))}` must be"):
        ksn.initializers.DirichletOffsets(**options)
