"""Each kernel gives what the generic form gives, values and gradients, and `select` chooses it."""

import keras
import numpy as np
import pytest
from keras import ops

import keras_structnets as ksn
from keras_structnets.ops import kernels
from keras_structnets.ops.fourier import stencil_matrices, transform
from keras_structnets.ops.kernels import generic, select
from keras_structnets.ops.precision import cast

BACKEND = keras.backend.backend()
ON_JAX = pytest.mark.skipif(BACKEND != "jax", reason="a kernel of JAX alone")


class Applied(keras.layers.Layer):
    """`operation(x, kernel)`, both weights."""

    def __init__(self, operation, x, kernel):
        super().__init__()
        self.operation = operation
        self.x = self.add_weight(shape=x.shape, name="x")
        self.kernel = self.add_weight(shape=kernel.shape, name="kernel")
        self.set_weights([x, kernel])

    def call(self, dummy):
        y = self.operation(ops.convert_to_tensor(self.x), ops.convert_to_tensor(self.kernel))
        return y + 0.0 * ops.sum(dummy)


def value_and_gradients(operation, x, kernel):
    """The output, and the gradients of the sum of its squares."""
    rng = np.random.default_rng(0)
    x, kernel = (rng.normal(size=shape).astype("float32") for shape in (x, kernel))
    layer = Applied(operation, x, kernel)
    inputs = keras.Input(batch_shape=(x.shape[0], 1))
    model = keras.Model(inputs, layer(inputs))
    model.compile(keras.optimizers.SGD(1.0), lambda _, y: ops.sum(ops.square(y)) / x.shape[0])
    dummy = np.zeros((x.shape[0], 1), "float32")
    y = model.predict_on_batch(dummy)
    model.train_on_batch(dummy, dummy)
    moved = zip((x, kernel), layer.get_weights(), strict=True)
    return y, *(before - after for before, after in moved)


def assert_equal(kernel_form, generic_form, x, kernel):
    found, wanted = (value_and_gradients(f, x, kernel) for f in (kernel_form, generic_form))
    for ours, expected in zip(found, wanted, strict=True):
        np.testing.assert_allclose(ours, expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())


@pytest.mark.parametrize("first", [1.0, -np.inf, np.inf, np.nan])
def test_stop_fusion_returns_its_input(first):
    x, kernel = (2, 3, 4, 5), (3, 4, 5)
    assert_equal(lambda x, k: select("stop_fusion")(x * k), lambda x, k: x * k, x, kernel)
    given = np.random.default_rng(0).normal(size=x).astype("float32")
    given[0, 0, 0, 0] = first
    graph = select("compiled")(select("stop_fusion"))
    np.testing.assert_array_equal(ops.convert_to_numpy(graph(ops.convert_to_tensor(given))), given)
    empty = ops.convert_to_numpy(graph(ops.convert_to_tensor(given[:0])))
    assert empty.shape == (0, 3, 4, 5)


@ON_JAX
def test_xla_computes_each_step_of_a_chain_once():
    import jax

    from keras_structnets.ops import depthwise_conv

    def operations(n_steps):
        def chain(x, kernel):
            for _ in range(n_steps):
                x = x + depthwise_conv(x, kernel)
            return x

        arguments = np.ones((4, 8, 8, 16), "float32"), np.ones((3, 3, 16), "float32")
        return jax.jit(chain).lower(*arguments).compile().cost_analysis()["flops"]

    assert operations(8) < 2.5 * operations(4)


def plain_depthwise(x, kernel, border=None):
    x = ops.pad(x, [(0, 0), *(border or [(0, 0)] * (len(x.shape) - 2)), (0, 0)])
    return generic.shifted_depthwise(x, kernel)


@pytest.mark.parametrize("batch", [1, 3, 8, 12])
@pytest.mark.parametrize("border", [None, [(1, 1), (1, 1)], [(0, 2), (1, 0)]])
@pytest.mark.parametrize("size", [(3, 2), (3, 3)])
def test_a_depthwise_kernel_is_the_sum_of_shifted_images(size, border, batch):
    assert_equal(
        lambda x, kernel: select("depthwise", x)(x, kernel, border),
        lambda x, kernel: plain_depthwise(x, kernel, border),
        (batch, 7, 6, 4),
        (*size, 4),
    )


@pytest.mark.parametrize("spatial", [(5,), (5, 4), (3, 4, 2)])
def test_a_pointwise_kernel_is_a_product_of_matrices(spatial):
    assert_equal(select("pointwise"), ops.matmul, (2, *spatial, 4), (4, 3))


@pytest.mark.parametrize("padding", ["valid", "same"])
@pytest.mark.parametrize("strides", [1, 2])
@pytest.mark.parametrize("size", [1, 3])
def test_a_convolution_kernel_is_that_of_keras(size, padding, strides):
    assert_equal(
        lambda x, kernel: select("conv", x)(x, kernel, (strides, strides), padding),
        lambda x, kernel: ops.conv(x, kernel, strides, padding, "channels_last"),
        (2, 8, 7, 3),
        (size, size, 3, 5),
    )


@ON_JAX
def test_the_custom_gradient_of_a_depthwise_convolution_can_be_differentiated():
    import jax

    rng = np.random.default_rng(0)
    x = rng.normal(size=(2, 6, 6, 2)).astype("float32")
    kernel = rng.normal(size=(3, 3, 2)).astype("float32")

    def second_derivatives(depthwise):
        def norm(x, kernel):
            slopes = jax.grad(lambda *args: ops.sum(depthwise(*args) ** 3), (0, 1))(x, kernel)
            return sum(ops.sum(slope**2) for slope in slopes)

        return jax.jit(jax.grad(norm, (0, 1)))(x, kernel)

    found, wanted = map(second_derivatives, (select("depthwise"), generic.shifted_depthwise))
    for ours, expected in zip(found, wanted, strict=True):
        np.testing.assert_allclose(ours, expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max())


def test_an_average_pool_is_that_of_keras():
    assert_equal(
        lambda x, scale: select("average_pool")(x * scale, (2, 2), (2, 2)),
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
def test_a_maximum_pool_is_that_of_keras(x, pool_size, strides, padding):
    assert_equal(
        lambda x, scale: select("max_pool")(x * scale, pool_size, strides, padding),
        lambda x, scale: ops.max_pool(x * scale, pool_size, strides, padding),
        x,
        (x[-1],),
    )


@pytest.mark.parametrize("strides", [(1, 1), (2, 2), (3, 3)])
@ON_JAX
def test_the_first_of_equal_pixels_has_the_gradient_of_a_maximum(strides):
    import jax

    x = np.random.default_rng(0).integers(0, 2, (2, 9, 9, 3)).astype("float32")

    def slope(max_pool):
        def of(x):
            y = max_pool(x, (3, 3), strides, "same")
            return ops.sum(y * (1.0 + ops.reshape(ops.arange(y.size), y.shape)))

        return jax.grad(of)(x)

    np.testing.assert_allclose(slope(select("max_pool")), slope(ops.max_pool), rtol=1e-6)


@pytest.mark.parametrize("imaginary", [False, True])
@pytest.mark.parametrize("sizes", [(6,), (35,), (5, 4), (4, 35), (34, 3), (2, 3, 4), (3, 1, 5)])
@pytest.mark.parametrize("trailing", [(), (3,)])
def test_a_filter_is_that_by_matrices(sizes, trailing, imaginary):
    axes = range(1, len(sizes) + 1)
    frequencies = (*sizes[:-1], sizes[-1] // 2 + 1, *trailing)

    def filtered(spectral_filter):
        def apply(x, kernel):  # a stencil of the image's size has a response that images can have
            matrices = stencil_matrices(sizes, sizes, [0] * len(sizes))
            stencil = kernel if trailing else kernel[..., None]
            spectrum = ops.reshape(transform(stencil[None], matrices), (2, *frequencies))
            return spectral_filter(x, (spectrum[0], spectrum[1] if imaginary else None), axes)

        return apply

    shape = (*sizes, *trailing)
    found, wanted = map(filtered, (select("spectral_filter"), generic.spectral_filter))
    assert_equal(found, wanted, (3, *shape), shape)


def test_a_cast_to_the_same_type_is_no_operation():
    x = ops.ones((2, 3))
    assert cast(x, "float32") is x
    assert keras.backend.standardize_dtype(cast(x, "float16").dtype) == "float16"


@pytest.mark.parametrize("n", [3, 20])
def test_a_loop_stacks_its_results(n):
    rng = np.random.default_rng(0)
    x, y = (rng.normal(size=(n, 4)).astype("float32") for _ in range(2))

    def loops(x, y):
        loop = select("loop")
        single = loop(lambda row: 2 * row[:3], x)
        several = loop(lambda rows: (rows[0] * rows[1], ops.sum(rows[1])), (x, y))
        return single, *several

    expected = 2 * x[:, :3], x * y, y.sum(1)
    for found, array in zip(loops(*map(ops.convert_to_tensor, (x, y))), expected, strict=True):
        np.testing.assert_allclose(found, array, rtol=1e-6)


@pytest.mark.parametrize("operation", kernels.BACKENDS)
def test_a_kernel_runs_on_its_backends_and_the_generic_form_elsewhere(operation):
    has_kernel = BACKEND in kernels.BACKENDS[operation]
    x = ops.ones((2, 4, 4, 3))
    assert (select(operation, x) is not getattr(generic, operation, None)) == has_kernel
    for other in (keras.Input((4, 4, 3)), ops.ones((2, 4, 4, 3), "int32")):
        assert select(operation, other) is getattr(generic, operation, None)


@ON_JAX
def test_kernels_for_cpus_run_on_cpus_alone(monkeypatch):
    monkeypatch.setattr(keras.distribution, "list_devices", lambda: ["gpu:0"])
    x = ops.ones((2, 4, 4, 3))
    assert select("max_pool", x) is generic.max_pool
    assert select("conv", x) is not generic.conv


@pytest.mark.skipif(BACKEND != "tensorflow", reason="a kernel of TensorFlow alone")
def test_custom_gradients_keep_no_graph_of_a_model_that_is_gone():
    """TensorFlow's own registers a gradient, which holds the graph, for each call that it traces."""
    from tensorflow.python.framework.ops import gradient_registry

    def build():
        layers = [
            ksn.layers.Similarity2D(3, 2, p=1.5),
            ksn.layers.MEX(2),
            ksn.layers.MEXPooling2D(2),
        ]
        keras.Sequential([keras.Input((8, 8, 2)), *layers]).predict_on_batch(np.zeros((1, 8, 8, 2)))

    build()
    before = len(gradient_registry.list())
    build()
    assert len(gradient_registry.list()) == before
