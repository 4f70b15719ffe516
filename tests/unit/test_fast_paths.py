"""Each form of an operation gives what its plain form gives, values and gradients."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_structnets.ops import fast_paths
from keras_structnets.ops.spectral import stencil_matrices, transform
from keras_structnets.ops.winograd import winograd_conv

ON_TENSORFLOW = keras.backend.backend() == "tensorflow"
SKIP = pytest.mark.skipif(
    ON_TENSORFLOW, reason="TensorFlow has no convolution with the channels first on CPUs"
)
ON_JAX = pytest.mark.skipif(
    keras.backend.backend() != "jax",
    reason="a form for JAX alone",
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


@pytest.mark.parametrize(
    ("x", "padding"),
    [
        ((2, 6, 8, 3), "same"),
        ((1, 5, 4, 3), "valid"),
        ((3, 3, 3, 1), "valid"),
        ((2, 7, 1, 2), "same"),
        ((3, 60, 60, 1), "same"),  # in three pieces
        ((7, 40, 41, 1), "same"),  # in pieces of one image: 7 is prime
    ],
)
def test_a_convolution_by_fewer_products_is_that_of_keras(x, padding):
    assert_equal_forms(
        lambda x, kernel: winograd_conv(x, kernel, padding),
        lambda x, kernel: ops.conv(x, kernel, padding=padding),
        x,
        (3, 3, x[-1], 2),
    )


@pytest.mark.parametrize("name", ["written_depthwise", "winograd_conv"])
@ON_JAX
def test_a_gradient_that_is_written_out_has_a_gradient(name):
    import jax

    rng = np.random.default_rng(0)
    x = rng.normal(size=(2, 6, 6, 2)).astype("float32")
    kernel = rng.normal(size=(3, 3, 2) if name == "written_depthwise" else (3, 3, 2, 2))

    def steepness(form):
        def of(x, kernel):
            slope = jax.grad(lambda *args: ops.sum(form(*args) ** 3), (0, 1))(x, kernel)
            return sum(ops.sum(s**2) for s in slope)

        return jax.jit(jax.grad(of, (0, 1)))(x, kernel.astype("float32"))

    ours, plain = {
        "written_depthwise": (fast_paths.written_depthwise, fast_paths.shifted_depthwise),
        "winograd_conv": (
            lambda x, k: winograd_conv(x, k, "valid"),
            lambda x, k: ops.conv(x, k, padding="valid"),
        ),
    }[name]
    for slope, expected in zip(steepness(ours), steepness(plain), strict=True):
        np.testing.assert_allclose(slope, expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max())


@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize(
    ("x", "window", "strides"),
    [((2, 6, 7, 3), (3, 3), (1, 1)), ((2, 7, 6, 3), (2, 3), (2, 1)), ((2, 9, 2), (4,), (3,))],
)
def test_a_convolution_by_patches_is_that_of_keras(x, window, strides, padding):
    assert_equal_forms(
        lambda x, kernel: fast_paths.product_of_patches(x, kernel, strides, padding),
        lambda x, kernel: ops.conv(x, kernel, strides, padding),
        x,
        (*window, x[-1], 4),
    )


@pytest.mark.parametrize(
    ("x", "kernel", "options", "products"),
    [
        ((8, 32, 32, 24), (3, 3, 24, 24), {}, 16),  # by fewer products
        ((8, 34, 34, 24), (3, 3, 24, 24), {"padding": "valid"}, 16),
        ((4, 32, 32, 24), (3, 3, 24, 24), {}, 1),  # few pixels: by patches
        ((128, 8, 8, 128), (3, 3, 128, 128), {}, 0),  # many channels for so few pixels
        ((8, 32, 32, 3), (3, 1, 3, 24), {}, 1),
        ((8, 32, 32, 24), (3, 3, 24, 24), {"strides": (2, 2)}, 1),
        ((64, 32, 32, 24), (5, 5, 24, 24), {}, 0),  # too many patches
        ((8, 32, 32, 24), (3, 3, 24, 8), {}, 0),  # few channels
        ((8, 32, 32, 24), (3, 3, 24, 24), {"dilation_rate": (2, 2)}, 0),
    ],
)
@ON_JAX
def test_which_convolutions_are_products_of_matrices(x, kernel, options, products):
    import jax

    options = {"strides": (1, 1), "padding": "same", "dilation_rate": (1, 1), **options}

    def program(dtype):
        arguments = [jax.ShapeDtypeStruct(shape, dtype) for shape in (x, kernel)]
        return str(jax.make_jaxpr(lambda *args: fast_paths.conv(*args, **options))(*arguments))

    assert program("float32").count("= conv_general_dilated") == (products == 0)
    assert program("float32").replace("\n", " ").count("= dot_general") >= products
    assert "conv_general_dilated" in program("float16")


def test_a_mean_with_the_channels_first_is_that_of_keras():
    assert_equal_forms(
        lambda x, scale: fast_paths.transposed_average_pool(x * scale, (2, 2), (2, 2)),
        lambda x, scale: ops.average_pool(x * scale, (2, 2), (2, 2)),
        (2, 8, 6, 3),
        (3,),
    )


@pytest.mark.parametrize(
    ("x", "pool_size", "strides", "padding"),
    [
        ((2, 9, 8, 3), (3, 3), (2, 2), "valid"),
        ((2, 8, 7, 3), (3, 3), (2, 2), "same"),
        ((1, 6, 5, 2), (2, 3), (1, 2), "same"),
        ((3, 11, 2), (2,), (4,), "valid"),  # pixels that no window has
        ((1, 4, 5, 6, 2), (2, 2, 3), (2, 1, 2), "same"),
    ],
)
def test_a_written_maximum_is_that_of_keras(x, pool_size, strides, padding):
    assert_equal_forms(
        lambda x, scale: fast_paths.written_max_pool(x * scale, pool_size, strides, padding),
        lambda x, scale: ops.max_pool(x * scale, pool_size, strides, padding),
        x,
        (x[-1],),
    )


@pytest.mark.parametrize("strides", [(1, 1), (2, 2), (3, 3)])
@ON_JAX
def test_the_first_of_equal_pixels_has_the_gradient_of_a_maximum(strides):
    import jax

    x = np.random.default_rng(0).integers(0, 2, (2, 9, 9, 3)).astype("float32")

    def slope(form):
        def of(x):
            y = form(x, (3, 3), strides, "same")
            return ops.sum(y * (1.0 + ops.reshape(ops.arange(y.size), y.shape)))

        return jax.grad(of)(x)

    np.testing.assert_allclose(slope(fast_paths.written_max_pool), slope(ops.max_pool), rtol=1e-6)


@pytest.mark.parametrize(("dtype", "written"), [("float32", True), ("int32", False)])
@ON_JAX
def test_which_maxima_are_written_out(dtype, written):
    import jax

    x = jax.ShapeDtypeStruct((2, 8, 8, 3), dtype)
    pool = jax.make_jaxpr(lambda x: fast_paths.max_pool(x, (3, 3), (2, 2), "same"))
    assert ("reduce_window" in str(pool(x))) != written


FILTERS = [
    pytest.param(
        "filter_by_fft",
        marks=pytest.mark.skipif(ON_TENSORFLOW, reason="TensorFlow filters by matrices alone"),
    ),
    pytest.param("filter_in_pieces", marks=ON_JAX),
]


@pytest.mark.parametrize("form", FILTERS)
@pytest.mark.parametrize("imaginary", [False, True])
@pytest.mark.parametrize("sizes", [(6,), (7,), (5, 4), (4, 5), (2, 3, 4), (3, 1, 5)])
@pytest.mark.parametrize("trailing", [(), (3,)])
def test_a_filter_is_that_by_matrices(form, sizes, trailing, imaginary):
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
    forms = (getattr(fast_paths, form), fast_paths.filter_by_matrices)
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
