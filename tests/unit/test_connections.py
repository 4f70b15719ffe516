"""The three connecting layers of the low-cost networks."""

import keras
import numpy as np
import pytest

import keras_structnets as ksn
from tests.cases.models import LOW_COST, SMALL

N = 1 / np.sqrt(1 + 1e-3)  # an untrained normalization


def mean_of_windows(x):
    """Average pooling of 2x2 windows of [b, h, w, c], over the entries inside the image."""
    rows, columns = (-(-n // 2) for n in x.shape[1:3])
    windows = [
        x[:, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2].mean((1, 2))
        for i in range(rows)
        for j in range(columns)
    ]
    return np.stack(windows, 1).reshape(x.shape[0], rows, columns, -1)


@pytest.mark.parametrize("connection", ["pooled", "strided"])
def test_a_pointwise_connection_is_pooled_or_strided(connection):
    x = np.random.default_rng(0).normal(size=(2, 5, 6, 3)).astype("float32")
    inputs = keras.Input(x.shape[1:])
    model = keras.Model(inputs, ksn.blocks.connecting_layer(inputs, connection=connection))
    (kernel,) = (keras.ops.convert_to_numpy(w) for w in model.trainable_weights)
    mixed = N * (x.astype("float64") @ kernel[0, 0])
    expected = mean_of_windows(mixed) if connection == "pooled" else mixed[:, ::2, ::2]
    np.testing.assert_allclose(model.predict(x, verbose=0), expected, atol=1e-5)


@pytest.mark.no_backend
@pytest.mark.parametrize("connection", ["pooled", "strided"])
@pytest.mark.parametrize("family", LOW_COST)
def test_networks_take_the_connection(family, connection):
    sizes = SMALL[f"{family}_a"]
    default, model = (
        ksn.zoo.build(f"{family}_a", input_shape=(8, 8, 3), **sizes, **options)
        for options in ({}, {"connection": connection})
    )
    more = sum(2 * c * c - 9 * c for c in sizes["widths"])
    assert model.count_params() == default.count_params() + more
    assert [layer.output.shape for layer in model.layers[-3:]] == [
        layer.output.shape for layer in default.layers[-3:]
    ]


def test_an_unknown_connection_is_named():
    with pytest.raises(ValueError, match="unknown `connection` 'stride'. Did you mean 'strided'"):
        ksn.zoo.build("linear_mix_a", connection="stride")
