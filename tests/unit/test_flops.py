"""Operations counted by formula, against counts by hand and against the papers."""

import importlib

import keras
import numpy as np
import pytest

import keras_structnets as ksn
from keras_structnets.zoo import flops

largest_activations = importlib.import_module("keras_structnets.zoo.flops").largest_activations

L = ksn.layers
pytestmark = pytest.mark.no_backend  # shapes alone


def counted(*layers, shape=(6, 5, 4)):
    count = flops(keras.Sequential([keras.Input(shape), *layers]))
    return count.multiplies, count.adds


@pytest.mark.parametrize(
    ("layer", "multiplies", "adds"),
    [
        (keras.layers.Conv2D(7, 3), 4 * 3 * 7 * 36, 4 * 3 * 7 * 36),
        (keras.layers.Conv2D(7, 3, use_bias=False), 4 * 3 * 7 * 36, 4 * 3 * 7 * 35),
        (keras.layers.Conv2D(8, 3, groups=2, padding="same"), 30 * 8 * 18, 30 * 8 * 18),
        (keras.layers.DepthwiseConv2D(3, padding="same"), 30 * 4 * 9, 30 * 4 * 9),
        (keras.layers.Dense(7), 30 * 7 * 4, 30 * 7 * 4),
        (keras.layers.BatchNormalization(), 120, 120),
        (keras.layers.GlobalAveragePooling2D(), 4, 4 * 29),
        (keras.layers.AveragePooling2D(2), 6 * 4, 6 * 4 * 3),
        (keras.layers.PReLU(), 120, 0),
        (L.Similarity2D(7), 30 * 7 * 4 * 2, 30 * 7 * (4 * 2 - 1)),
        (L.Similarity2D(7, use_similarity_weights=False), 30 * 7 * 4, 30 * 7 * (4 * 2 - 1)),
        (L.LinearSimilarity2D(7), 30 * 7 * 4 * 2, 30 * 7 * 3),
        (L.MEX(7), 30 * 7 * (4 + 1), 30 * 7 * (4 + 4 - 1)),
        (L.MEXPooling2D(2, beta=0.0, trainable_beta=False), 6 * 4, 6 * 4 * 3),
        (L.MEXPooling2D(2, beta=float("inf"), trainable_beta=False), 0, 0),
        (L.GlobalMEXPooling2D(), 4 * 31, 4 * 29),
        (L.StencilConv2D(3), 120 * 9, 120 * 8),
        (
            L.LinearMixConv2D(4, 3, padding="same", use_bias=False),
            120 * (9 + 4),
            120 * (8 + 3 + 1),
        ),
        (L.LinearMixConv2D(7, 3, strides=2), 2 * 2 * 7 * (9 + 4), 2 * 2 * 7 * (9 + 4)),
        (L.ExplicitDiffusion2D(3), 120 * (9 + 9 + 1), 120 * (8 + 8 + 1)),
        (keras.layers.MaxPooling2D(2), 0, 0),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, keras.layers.Layer) else "",
)
def test_a_layer_is_counted_as_by_hand(layer, multiplies, adds):
    other = keras.layers.Rescaling(2.0)  # a model that needs nothing cannot be told from an error
    assert counted(other, layer) == (120 + multiplies, 120 + adds)


def test_generalized_convolutions_are_counted_as_by_hand():
    layers = [L.Structure((2, 2)), L.GConv2D(3, (5,), 3, use_bias=False), L.Destructure()]
    assert counted(*layers) == (4 * 3 * 15 * 9 * 4, 4 * 3 * 15 * (9 * 4 - 1))


def test_transforms_are_counted_by_their_formula():
    n, image = 64 * 64 * 4, np.log2(64 * 64)
    both_ways = (2 * n * image + n, 3 * n * image)
    assert counted(L.ImplicitDiffusion2D(3), shape=(64, 64, 4)) == both_ways
    n, volume = 8 * 8 * 4, np.log2(8 * 8 * 4)
    both_ways = (2 * n * volume + n, 3 * n * volume)
    assert counted(L.CirculantDiffusion2D(3), shape=(8, 8, 4)) == both_ways


@pytest.mark.skipif(keras.backend.backend() != "jax", reason="JAX shows what XLA counts")
@pytest.mark.parametrize("shape", [(32, 32, 32), (24, 16, 8)])
@pytest.mark.parametrize("layer", [L.ImplicitDiffusion2D, L.ExplicitDiffusion2D])
def test_steps_are_counted_as_xla_does(layer, shape):
    import jax

    step = keras.Sequential([keras.Input(shape), layer(3)])
    program = jax.jit(step).lower(np.zeros((8, *shape), "float32")).compile()
    assert flops(step).total == pytest.approx(program.cost_analysis()["flops"] / 8, rel=0.1)


def test_operations_between_layers_are_counted():
    x = keras.Input((5,))
    model = keras.Model(x, keras.layers.Dense(5, use_bias=False)(x) + 0.5 * x)
    assert (flops(model).multiplies, flops(model).adds) == (25 + 5, 20 + 5)


@pytest.mark.parametrize(
    ("name", "printed", "per_entry"),
    [
        ("caffe_convnet", 24.8e6, 0),
        ("simnet_2layer", 14.2e6, 2),
        ("simnet_3layer_compact", 3.5e6, 0),
    ],
)
def test_counts_are_within_three_percent_of_the_papers(name, printed, per_entry):
    """Deep SimNets, Table 1 and section 6.4.

    For the two-layer network the paper counts 2 operations for an entry of a template, as in a matrix
    product, where the weighted square of a difference has 4. Its rounder number for the compact
    one is met by 4. Its convolutions are padded.
    """
    sizes = {"padding": "same"} if name.startswith("simnet") else {}
    model = ksn.zoo.build(name, **sizes)
    entries = sum(
        int(np.prod(layer.templates.shape)) * int(np.prod(layer.output.shape[1:-1]))
        for layer in model.layers
        if isinstance(layer, L.Similarity2D)
    )
    assert flops(model).total - per_entry * entries == pytest.approx(printed, rel=0.03)


@pytest.mark.parametrize("name", ksn.zoo.list_models())
def test_every_model_of_the_zoo_can_be_counted(name):
    assert ksn.zoo.info(name).flops.total > 1e5


def test_what_cannot_be_counted_is_named():
    with pytest.raises(ValueError, match="no rule for UpSampling2D"):
        counted(keras.layers.UpSampling2D())
    with pytest.raises(ValueError, match="fixed input_shape"):
        counted(keras.layers.BatchNormalization(), shape=(None, None, 3))


def test_the_largest_activations_are_those_of_the_layer_with_the_most():
    inputs = keras.Input((4, 4, 2))
    x = keras.layers.Conv2D(8, 3, padding="same")(inputs)
    model = keras.Model(inputs, keras.layers.Dense(3)(keras.layers.Add()([x, 2 * x])[:, 0, 0]))
    assert largest_activations(model) == 3 * 4 * 4 * 8  # the sum: two inputs and its output
