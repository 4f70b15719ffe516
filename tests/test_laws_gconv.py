"""Laws of generalized convolution: Conv2D as its special case, and the paper's own examples."""

import keras
import numpy as np
import pytest

import keras_structnets as ksn
from tests.parity.probe import Probe

CONV = [
    {},
    {"padding": "same"},
    {"strides": 2},
    {"strides": (1, 2), "padding": "same"},
    {"dilation_rate": 2},
    {"dilation_rate": (2, 1), "padding": "same"},
    {"activation": "tanh", "use_bias": False},
]


def random(*shape, seed=0):
    return np.random.default_rng(seed).uniform(-1, 1, shape).astype("float32")


def forward_and_gradients(layer, x, cotangent):
    """[y, gradient of x, gradients of the weights], by one step of SGD(1.0)."""
    probe = Probe(layer, x, cotangent)
    before = [keras.ops.convert_to_numpy(v) for v in probe.trainable_variables]
    probe.compile(keras.optimizers.SGD(1.0), loss=lambda _, y: y, run_eagerly=True)
    y = keras.ops.convert_to_numpy(layer(keras.ops.convert_to_tensor(x)))
    probe.train_on_batch(np.zeros((1, 1), "float32"), np.zeros((1,), "float32"))
    after = [keras.ops.convert_to_numpy(v) for v in probe.trainable_variables]
    gradients = {
        v.name: b - a for v, b, a in zip(probe.trainable_variables, before, after, strict=True)
    }
    return y, gradients


def assert_close(found, expected, tolerance=1e-6):
    expected = np.asarray(expected)
    assert np.max(np.abs(found.reshape(expected.shape) - expected)) <= tolerance * np.max(
        np.abs(expected)
    )


@pytest.mark.parametrize(
    ("structure", "config"),
    [*(((1,), config) for config in CONV), ((1, 1), CONV[3]), ((), CONV[4])],
    ids=str,
)
def test_structure_of_one_equals_conv2d_in_values_and_gradients(structure, config):
    x = random(2, 7, 6, 3)
    ours = ksn.layers.GConv2D(4, structure, 3, **config)
    keras_own = keras.layers.Conv2D(4, 3, **config)
    structured = x.reshape(*x.shape, *structure)
    ours.build(structured.shape)
    keras_own.build(x.shape)
    for mine, theirs in zip(ours.weights, keras_own.weights, strict=True):
        theirs.assign(random(*theirs.shape, seed=1))
        mine.assign(random(*theirs.shape, seed=1).reshape(mine.shape))
    cotangent = random(*keras_own.compute_output_shape(x.shape), seed=2)
    shape = ours.compute_output_shape(structured.shape)
    y, gradients = forward_and_gradients(ours, structured, cotangent.reshape(shape))
    y_keras, gradients_keras = forward_and_gradients(keras_own, x, cotangent)
    assert_close(y, y_keras)
    assert gradients.keys() == gradients_keras.keys()
    for name in gradients:
        assert_close(gradients[name], gradients_keras[name])


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_full_contraction_equals_a_convolution_of_the_folded_axes(rank):
    x = random(2, *(5,) * rank, 2, 3, 2)
    layer = getattr(ksn.layers, f"GConv{rank}D")(
        2, (2, 4), 3, padding="same", bias_initializer="ones"
    )
    y = keras.ops.convert_to_numpy(layer(x))
    kernel = np.swapaxes(keras.ops.convert_to_numpy(layer.kernel), rank + 1, rank + 2)
    folded = keras.ops.conv(
        x.reshape(*x.shape[: rank + 1], 12), kernel.reshape(*(3,) * rank, 12, 16), 1, "same"
    )
    assert_close(y, keras.ops.convert_to_numpy(folded).reshape(y.shape) + 1)


def test_the_papers_first_example_contracts_nearest_axes_first():
    u, w = random(1, 2, 3, 4), random(4, 3, 7, 8, seed=1)
    expected = np.zeros((1, 2, 7, 8))
    for c in range(3):
        for d in range(4):
            expected += u[:, :, c, d, None, None] * w[d, c]
    x = u.reshape(1, 1, 1, 1, 1, 2, 3, 4)  # one pixel, one channel, structure (1, 2, 3, 4)
    kernel = w.reshape(1, 1, 1, 4, 3, 1, 7, 8)  # a 1x1 kernel to one channel
    v = keras.ops.convert_to_numpy(ksn.ops.generalized_conv(x, kernel, contract=2))
    assert v.shape == (1, 1, 1, 1, 1, 2, 7, 8)
    assert_close(v, expected)


def test_the_papers_second_example_has_the_papers_shape():
    layer = ksn.layers.GConv2D(4, (4, 4, 4, 4), 3, strides=2)
    x = keras.Input((128, 128, 1, 1, 3))
    assert layer(x).shape == (None, 63, 63, 4, 4, 4, 4, 4)
    assert tuple(layer.kernel.shape) == (3, 3, 1, 3, 1, 4, 4, 4, 4, 4)
    y = layer(random(1, 128, 128, 1, 1, 3))
    assert tuple(y.shape) == (1, 63, 63, 4, 4, 4, 4, 4)


def test_contraction_of_nothing_is_the_outer_product():
    x, kernel = random(2, 3, 3, 2, 5), random(1, 1, 2, 3, 4, seed=1)
    y = keras.ops.convert_to_numpy(ksn.ops.generalized_conv(x, kernel, contract=0))
    assert_close(y, np.einsum("bhwms,mce->bhwcse", x, kernel[0, 0]))


def test_kept_axes_share_the_weights():
    layer = ksn.layers.GConv2D(2, (3,), 3, contract=1, bias_initializer="ones")
    x = random(2, 5, 5, 2, 4, 3)
    y = keras.ops.convert_to_numpy(layer(x))
    for kept in range(4):
        alone = keras.ops.convert_to_numpy(layer(x[:, :, :, :, kept : kept + 1]))
        assert_close(y[:, :, :, :, kept], alone)


def test_two_full_contractions_in_a_row_match_the_contraction_of_their_product():
    x, first, second = random(1, 1, 1, 1, 2, 3), random(3, 2, 4, 5, seed=1), random(5, 4, 6, seed=2)

    def as_kernel(w):
        return w.reshape(1, 1, 1, *w.shape[:2], 1, *w.shape[2:])

    y = ksn.ops.generalized_conv(ksn.ops.generalized_conv(x, as_kernel(first)), as_kernel(second))
    product = np.einsum("cdef,feg->cdg", first, second)
    expected = ksn.ops.generalized_conv(x, as_kernel(product))
    assert_close(keras.ops.convert_to_numpy(y), keras.ops.convert_to_numpy(expected))


def test_destructure_inverts_structure():
    x = random(2, 3, 4, 12)
    packed = ksn.layers.Structure((3, 2))(x)
    assert tuple(packed.shape) == (2, 3, 4, 2, 3, 2)
    assert np.array_equal(keras.ops.convert_to_numpy(ksn.layers.Destructure()(packed)), x)


@pytest.mark.parametrize("skips", [1, 3, 4])
def test_skip_i_joins_the_input_of_convolution_i_to_the_output_of_convolution_i_plus_1(skips):
    x = keras.Input((8, 7, 1, 3, 1))
    model = keras.Model(x, ksn.blocks.gconv_skip_block(x, skips, structure=(2, 2)))
    convolutions = sorted(
        (layer for layer in model.layers if isinstance(layer, ksn.layers.GConv2D)),
        key=lambda layer: int("0" + layer.name.rpartition("d")[2].strip("_")),
    )  # in the order of creation: the projection, then the chain
    assert len(convolutions) == skips + 2
    assert [c.strides for c in convolutions] == [(2, 2), (2, 2), *[(1, 1)] * skips]

    def norm(c, u):  # a fresh batch normalization has mean 0 and variance 1
        return keras.ops.convert_to_numpy(c(u)) / np.sqrt(1 + 1e-3)

    def prelu(u):
        return np.where(u > 0, u, 0.25 * u).astype("float32")

    image = random(2, 8, 7, 1, 3, 1)
    projection, *chain = convolutions
    inputs = [image, prelu(norm(chain[0], image))]  # of convolution 0, 1, ...
    for i in range(skips):
        skip = prelu(norm(projection, image)) if i == 0 else inputs[i]
        inputs.append(prelu(norm(chain[i + 1], inputs[i + 1]) + skip))
    assert_close(keras.ops.convert_to_numpy(model(image, training=False)), inputs[-1], 1e-5)
