"""Each form of an operation gives what its plain form gives, values and gradients."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_structnets.ops import fast_paths
from keras_structnets.ops.spectral import stencil_matrices, transform

ON_TENSORFLOW = keras.backend.backend() == "tensorflow"
SKIP = pytest.mark.skipif(
    ON_TENSORFLOW, reason="TensorFlow has no convolution with the channels first on CPUs"
)
ON_JAX = pytest.mark.skipif(
    keras.backend.backend() != "jax",
    reason="written for JAX; its gradient has the form of JAX alone",
)
DEPTHWISE = [
    "native_depthwise",
    pytest.param("transposed_depthwise", marks=SKIP),
    pytest.param("written_depthwise", marks=ON_JAX),
]


class Applied(keras.layers.Layer):
    """`form(x, kernel)`, both weights."""

    def __init__(self, form, x, kernel):
        super().__init__()
        self.form = form
        self.x = self.add_weight(shape=x.shape, name="x")
        self.kernel = self.add_weight(shape=kernel.shape, name="kernel")
        self.set_weights([x, kernel])

    def call(self, dummy):
        y = self.form(ops.convert_to_tensor(self.x), ops.convert_to_tensor(self.kernel))
        return y + 0.0 * ops.sum(dummy)


def value_and_gradients(form, x, kernel):
    """The output, and the gradients of the sum of its squares."""
    rng = np.random.default_rng(0)
    x, kernel = (rng.normal(size=shape).astype("float32") for shape in (x, kernel))
    layer = Applied(form, x, kernel)
    inputs = keras.Input(batch_shape=(x.shape[0], 1))
    model = keras.Model(inputs, layer(inputs))
    model.compile(keras.optimizers.SGD(1.0), lambda _, y: ops.sum(ops.square(y)) / x.shape[0])
    dummy = np.zeros((x.shape[0], 1), "float32")
    y = model.predict_on_batch(dummy)
    model.train_on_batch(dummy, dummy)
    moved = zip((x, kernel), layer.get_weights(), strict=True)
    return y, *(before - after for before, after in moved)


def assert_equal_forms(form, plain, x, kernel):
    for ours, expected in zip(
        value_and_gradients(form, x, kernel), value_and_gradients(plain, x, kernel), strict=True
    ):
        np.testing.assert_allclose(ours, expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())


@pytest.mark.parametrize("first", [1.0, -np.inf, np.inf, np.nan])
def test_what_is_computed_once_is_as_it_was(first):
    x, kernel = (2, 3, 4, 5), (3, 4, 5)
    assert_equal_forms(lambda x, k: fast_paths.once(x * k), lambda x, k: x * k, x, kernel)
    given = np.random.default_rng(0).normal(size=x).astype("float32")
    given[0, 0, 0, 0] = first
    graph = fast_paths.compiled(fast_paths.once)
    np.testing.assert_array_equal(ops.convert_to_numpy(graph(ops.convert_to_tensor(given))), given)
    empty = ops.convert_to_numpy(graph(ops.convert_to_tensor(given[:0])))
    assert empty.shape == (0, 3, 4, 5)


@ON_JAX
def test_a_chain_of_steps_is_not_computed_again_in_each_of_them():
    import jax

    def operations(n_steps):
        def chain(x, kernel):
            for _ in range(n_steps):
                x = x + fast_paths.depthwise(x, kernel, [(1, 1), (1, 1)])
            return x

        arguments = np.ones((4, 8, 8, 16), "float32"), np.ones((3, 3, 16), "float32")
        return jax.jit(chain).lower(*arguments).compile().cost_analysis()["flops"]

    assert operations(8) < 2.5 * operations(4)


@pytest.mark.parametrize("name", DEPTHWISE)
@pytest.mark.parametrize("batch", [1, 3, 8, 12])
def test_a_form_of_the_depthwise_product_equals_the_shifted_one(name, batch):
    form = getattr(fast_paths, name)
    assert_equal_forms(form, fast_paths.shifted_depthwise, (batch, 7, 6, 4), (3, 2, 4))


@pytest.mark.parametrize(
    "name", ["product_of_rows", pytest.param("transposed_pointwise", marks=SKIP)]
)
@pytest.mark.parametrize("spatial", [(5,), (5, 4), (3, 4, 2)])
def test_a_product_at_each_pixel_is_a_product_of_matrices(name, spatial):
    form = getattr(fast_paths, name)
    assert_equal_forms(form, ops.matmul, (2, *spatial, 4), (4, 3))


@SKIP
@pytest.mark.parametrize("padding", ["valid", "same"])
@pytest.mark.parametrize("strides", [1, 2])
def test_a_convolution_with_the_channels_first_is_that_of_keras(padding, strides):
    assert_equal_forms(
        lambda x, kernel: fast_paths.transposed_conv(x, kernel, strides, padding, 1),
        lambda x, kernel: ops.conv(x, kernel, strides, padding),
        (2, 8, 7, 3),
        (3, 3, 3, 5),
    )


@pytest.mark.skipif(
    keras.backend.backend() != "torch",
    reason="written for PyTorch; elsewhere Keras 3.15 takes no strides with the channels first",
)
def test_a_mean_with_the_channels_first_is_that_of_keras():
    assert_equal_forms(
        lambda x, scale: fast_paths.transposed_average_pool(x * scale, (2, 2), (2, 2)),
        lambda x, scale: ops.average_pool(x * scale, (2, 2), (2, 2)),
        (2, 8, 6, 3),
        (3,),
    )


@pytest.mark.skipif(ON_TENSORFLOW, reason="TensorFlow filters by matrices alone")
@pytest.mark.parametrize("imaginary", [False, True])
@pytest.mark.parametrize("sizes", [(6,), (7,), (5, 4), (4, 5), (2, 3, 4), (3, 1, 5)])
@pytest.mark.parametrize("trailing", [(), (3,)])
def test_a_filter_by_fft_is_that_by_matrices(sizes, trailing, imaginary):
    axes = range(1, len(sizes) + 1)
    frequencies = (*sizes[:-1], sizes[-1] // 2 + 1, *trailing)

    def filtered(form):
        def of(x, kernel):  # any stencil of the image's size has a response that images can have
            matrices = stencil_matrices(sizes, sizes, [0] * len(sizes))
            stencil = kernel if trailing else kernel[..., None]
            spectrum = ops.reshape(transform(stencil[None], matrices), (2, *frequencies))
            return form(x, (spectrum[0], spectrum[1] if imaginary else None), axes)

        return of

    shape = (*sizes, *trailing)
    forms = (fast_paths.filter_by_fft, fast_paths.filter_by_matrices)
    assert_equal_forms(*map(filtered, forms), (3, *shape), shape)


@pytest.mark.parametrize("border", [None, [(1, 1), (1, 1)], [(0, 2), (1, 0)]])
def test_the_form_at_hand_takes_any_border(border):
    zeros = border or [(0, 0), (0, 0)]
    assert_equal_forms(
        lambda x, kernel: fast_paths.depthwise(x, kernel, border),
        lambda x, kernel: fast_paths.shifted_depthwise(
            ops.pad(x, [(0, 0), *zeros, (0, 0)]), kernel
        ),
        (4, 7, 6, 2),
        (3, 3, 2),
    )


def test_a_cast_to_the_type_at_hand_is_no_operation():
    x = ops.ones((2, 3))
    assert fast_paths.cast(x, "float32") is x
    assert keras.backend.standardize_dtype(fast_paths.cast(x, "float16").dtype) == "float16"


@pytest.mark.parametrize("n", [3, 20])
def test_a_loop_stacks_what_each_turn_returns(n):
    rng = np.random.default_rng(0)
    x, y = (rng.normal(size=(n, 4)).astype("float32") for _ in range(2))

    def turns(x, y):
        one = fast_paths.loop(lambda row: 2 * row[:3], x)
        several = fast_paths.loop(lambda rows: (rows[0] * rows[1], ops.sum(rows[1])), (x, y))
        return one, *several

    expected = 2 * x[:, :3], x * y, y.sum(1)
    for found, array in zip(turns(*map(ops.convert_to_tensor, (x, y))), expected, strict=True):
        np.testing.assert_allclose(found, array, rtol=1e-6)
