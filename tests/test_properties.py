"""Every layer takes every type, batches of 0 to 3 and sizes that are not known beforehand.

`make fuzz` runs more examples: EXAMPLES sets how many.
"""

import os

import keras
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import keras_structnets as ksn
from keras_structnets.ops.kernels import select
from tests.cases import catalogue
from tests.parity.probe import build

DTYPES = ("uint8", "int32", "int64", "bool", "float16", "bfloat16", "float32", "float64")
WHOLE = DTYPES[:4]
KEEP_TYPE = ("Structure", "Destructure")  # they move numbers and compute nothing
EXAMPLES = int(os.environ.get("EXAMPLES", "50"))
CASES = {case.name: case for case in catalogue()}
FIRST = {case.layer: case for case in reversed(catalogue())}


def numpy(x):
    return keras.ops.convert_to_numpy(keras.ops.cast(x, "float32")).astype("float64")


def refuses_empty(case):
    """Whether the backend's own convolution gives an empty batch another shape, as Conv2D does there."""
    convolutions = ("GConv", "StencilConv", "LinearMixConv", "ExplicitDiffusion")
    return keras.backend.backend() == "tensorflow" and case.layer.startswith(convolutions)


def images(case, dtype, batch, seed):
    """Numbers that `dtype` has, as a tensor of it."""
    rng, shape = np.random.default_rng(seed), (batch, *case.input_shape[1:])
    low, high = case.ranges.get("x", (-1.0, 1.0))
    x = rng.integers(0, 4, shape) if dtype in WHOLE else rng.uniform(low, high, shape)
    return keras.ops.cast(keras.ops.convert_to_tensor(x.astype("float32")), dtype)


def dynamic_shape(case, layer):
    """The input shape, with None for the sizes that a layer may leave open."""
    shape = list(case.input_shape)
    last = 1 + layer.rank if hasattr(layer, "rank") else len(shape) - 1
    return (None, *[None] * (last - 1), *shape[last:])


def result(case, x, dynamic):
    """What the layer gives, by a graph of open sizes or by a direct call."""
    if not dynamic:
        return build(case)(x)
    layer = getattr(ksn.layers, case.layer)(**case.config)
    inputs = keras.Input(batch_shape=dynamic_shape(case, layer), dtype=x.dtype)
    model = keras.Model(inputs, layer(inputs))
    for weight in layer.weights:
        weight.assign(case.values(weight.name, tuple(weight.shape)))
    return select("compiled")(model, inputs=model.inputs)(x)


@settings(max_examples=EXAMPLES, deadline=None)
@given(
    name=st.sampled_from(sorted(CASES)),
    dtype=st.sampled_from(DTYPES),
    batch=st.integers(0, 3),
    dynamic=st.booleans(),
    seed=st.integers(0, 2**16),
)
def test_a_layer_gives_what_it_gives_for_float32_or_names_the_argument(
    name, dtype, batch, dynamic, seed
):
    case = CASES[name]
    assume(batch or not refuses_empty(case))
    x = images(case, dtype, batch, seed)
    try:
        found = result(case, x, dynamic)
    except ValueError as error:
        if dynamic and "must be known when the layer is built" in str(error):
            return
        raise
    kind = keras.backend.standardize_dtype(found.dtype)
    assert case.layer in KEEP_TYPE or keras.backend.is_float_dtype(kind)
    expected = numpy(build(case)(keras.ops.cast(x, "float32")))
    scale = np.abs(expected).max(initial=1.0)
    np.testing.assert_allclose(numpy(found), expected, rtol=0, atol=1e-5 * scale)


@pytest.mark.parametrize("case", FIRST.values(), ids=str)
def test_an_empty_batch_gives_an_empty_result(case):
    if refuses_empty(case):
        pytest.skip("a convolution of TensorFlow refuses it")
    layer = build(case)
    y = layer(np.zeros((0, *case.input_shape[1:]), "float32"))
    assert tuple(y.shape) == (0, *layer.compute_output_shape(case.input_shape)[1:])


@pytest.mark.parametrize("layer", ["Similarity2D", "LinearSimilarity2D", "GConv2D", "MEX"])
@pytest.mark.parametrize(
    "options", [("valid", 1, 1), ("same", 2, 1), ("same", 1, 2), ("same", 3, 1)]
)
def test_images_of_two_sizes_go_through_one_graph(layer, options):
    padding, strides, dilation = options
    config = {"kernel_size": 3, "strides": strides, "padding": padding, "dilation_rate": dilation}
    config |= {"structure": ()} if layer == "GConv2D" else {}
    config = {} if layer == "MEX" else config
    inputs = keras.Input((None, None, 3))
    layer = getattr(ksn.layers, layer)(4, **config)
    model = keras.Model(inputs, layer(inputs))
    graph = select("compiled")(model, inputs=model.inputs)
    for size in ((7, 8), (10, 9)):
        x = np.random.default_rng(0).normal(size=(2, *size, 3)).astype("float32")
        y = graph(keras.ops.convert_to_tensor(x))
        assert tuple(y.shape) == layer.compute_output_shape(x.shape)
        np.testing.assert_allclose(numpy(y), numpy(layer(x)), atol=1e-5)
        np.testing.assert_allclose(model.predict(x, verbose=0), numpy(y), atol=1e-5)
