"""Layers and networks of the low-cost parameterizations: shapes, configs, errors, hard values."""

import keras
import numpy as np
import pytest

import keras_structnets as ksn

FAMILIES = ["StencilConv", "LinearMixConv", "ExplicitDiffusion", "ImplicitDiffusion"]
FAMILIES += ["CirculantDiffusion"]
DIFFUSIONS = FAMILIES[2:]
NETWORKS = ["resnet", "mobilenet", "linear_mix", "explicit_rd", "implicit_rd", "circulant_rd"]

families = pytest.mark.parametrize("family", FAMILIES)
ranks = pytest.mark.parametrize("rank", [1, 2, 3])


def random(*shape):
    return np.random.default_rng(0).uniform(-1, 1, shape).astype("float32")


def numpy(x):
    return keras.ops.convert_to_numpy(keras.ops.cast(x, "float32"))


def layer_of(family, rank, kernel_size=3, **kwargs):
    if family == "LinearMixConv":  # as the paper has it
        kwargs = {"filters": None, "padding": "same", "use_bias": False} | kwargs
    return getattr(ksn.layers, f"{family}{rank}D")(kernel_size=kernel_size, **kwargs)


@families
@ranks
def test_the_image_keeps_its_shape_and_weights_have_the_documented_ones(family, rank):
    layer = layer_of(family, rank, kernel_size=(3, 2, 4)[:rank])
    shape = (2, *(6, 5, 4)[:rank], 3)
    assert tuple(layer(random(*shape)).shape) == shape
    assert layer.compute_output_shape(shape) == shape
    name = "depthwise_kernel" if family == "LinearMixConv" else "kernel"
    found = {weight.name: tuple(weight.shape) for weight in layer.weights}
    expected = {name: (*(3, 2, 4)[:rank], 3)}
    if family == "LinearMixConv":
        expected["pointwise_kernel"] = (3, 3)
    assert found == expected


@families
def test_a_config_survives_the_round_trip(family):
    initializer = "depthwise_initializer" if family == "LinearMixConv" else "kernel_initializer"
    regularizer = initializer.replace("initializer", "regularizer")
    constraint = initializer.replace("initializer", "constraint")
    options = {
        "kernel_size": (3, 5),
        initializer: keras.initializers.RandomNormal(0.1, seed=1),
        regularizer: "l2",
        constraint: "max_norm",
        "name": "mine",
    }
    if family in DIFFUSIONS:
        options["step_size"] = 0.3
    if family not in DIFFUSIONS[1:]:
        options["padding"] = "periodic"
    layer = layer_of(family, 2, **options)
    again = keras.layers.deserialize(keras.layers.serialize(layer))
    assert again.get_config() == layer.get_config()
    layer.build((1, 6, 6, 2))
    again.build((1, 6, 6, 2))
    assert np.array_equal(layer.get_weights()[0], again.get_weights()[0])  # the seed came along
    for name in ("kernel_size", "step_size", "padding", "name"):
        assert getattr(again, name, None) == options.get(name, getattr(layer, name, None))


@families
def test_a_saved_layer_computes_the_same(family, tmp_path):
    x = random(2, 5, 5, 3)
    model = keras.Sequential([keras.Input((5, 5, 3)), layer_of(family, 2, 3)])
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    assert np.array_equal(numpy(model(x)), numpy(again(x)))


@families
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "mixed_float16", "mixed_bfloat16"])
def test_half_precision_agrees_with_single(family, dtype):
    wide = layer_of(family, 2, 3, dtype="float32")
    half = layer_of(family, 2, 3, dtype=dtype)
    x = random(2, 8, 8, 4)
    wide.build(x.shape)
    half.build(x.shape)
    half.set_weights(wide.get_weights())
    y = half(keras.ops.cast(x, half.compute_dtype))
    assert keras.backend.standardize_dtype(y.dtype) == half.compute_dtype
    expected = numpy(wide(x))
    tolerance = 4e-3 if "bfloat16" not in dtype else 3e-2
    assert np.abs(numpy(y) - expected).max() < tolerance * np.abs(expected).max()


@pytest.mark.parametrize("family", DIFFUSIONS)
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_a_step_of_diffusion_in_half_precision_stays_finite_near_its_limits(family, dtype):
    layer = layer_of(family, 2, 3, dtype=dtype, kernel_initializer="ones")
    y = numpy(layer(keras.ops.cast(6e4 * np.ones((1, 6, 6, 4), "float32"), dtype)))
    assert np.isfinite(y).all()


@pytest.mark.parametrize("scale", [1e-12, 1.0, 1e4, 1e12])
def test_the_implicit_step_and_its_gradients_are_finite_for_any_stencil(scale):
    from tests.parity.probe import Probe

    layer = ksn.layers.ImplicitDiffusion2D(3, step_size=0.5)
    layer.build((1, 6, 6, 2))
    layer.kernel.assign(scale * random(3, 3, 2))
    probe = Probe(layer, 1e4 * random(1, 6, 6, 2), random(1, 6, 6, 2))
    probe.compile(keras.optimizers.SGD(1.0), loss=lambda _, y: y, run_eagerly=True)
    probe.train_on_batch(np.zeros((1, 1), "float32"), np.zeros((1,), "float32"))
    assert all(np.isfinite(numpy(v)).all() for v in probe.trainable_variables)


@pytest.mark.parametrize("size", [(3, 3), (2, 4), (1, 1)])
def test_a_stencil_is_placed_as_keras_places_it(size):
    x = random(2, 6, 7, 3)
    mine = ksn.layers.StencilConv2D(size)
    keras_layer = keras.layers.DepthwiseConv2D(size, padding="same", use_bias=False)
    mine.build(x.shape)
    keras_layer.build(x.shape)
    keras_layer.set_weights([numpy(mine.kernel)[..., None]])
    assert np.allclose(numpy(mine(x)), numpy(keras_layer(x)), atol=1e-6)


@pytest.mark.parametrize("rank", [1, 2])
def test_the_native_depthwise_convolution_is_a_sum_of_shifted_images(rank):
    from keras_structnets.ops.kernels.generic import depthwise, shifted_depthwise

    x = keras.ops.convert_to_tensor(random(2, *(9, 8)[:rank], 3))
    kernel = keras.ops.convert_to_tensor(random(*(4, 3)[:rank], 3))
    native, shifted = numpy(depthwise(x, kernel)), numpy(shifted_depthwise(x, kernel))
    assert native.shape == shifted.shape
    assert np.allclose(native, shifted, atol=1e-6)


@pytest.mark.parametrize("family", ["StencilConv", "LinearMixConv", "ExplicitDiffusion"])
@ranks
def test_images_of_unknown_size_are_fine_where_nothing_wraps(family, rank):
    inputs = keras.Input((*(None,) * rank, 3))
    layer = layer_of(family, rank, 3)
    model = keras.Model(inputs, layer(inputs))
    assert model.output_shape == (None, *(None,) * rank, 3)
    x = random(2, *(5, 4, 3)[:rank], 3)
    assert np.allclose(model.predict(x, verbose=0), numpy(layer(x)), atol=1e-6)


@ranks
@pytest.mark.parametrize("padding", ["valid", "same"])
@pytest.mark.parametrize("strides", [1, 2, 3])
@pytest.mark.parametrize("size", [3, 4])
def test_linear_mix_is_the_convolution_with_the_masked_kernel(rank, padding, strides, size):
    x = random(2, *(9, 7, 8)[:rank], 3)
    options = {"activation": "relu", "bias_initializer": "ones"}
    mix = getattr(ksn.layers, f"LinearMixConv{rank}D")(5, size, strides, padding, **options)
    conv = getattr(keras.layers, f"Conv{rank}D")(5, size, strides, padding, activation="relu")
    mix.build(x.shape)
    conv.build(x.shape)
    kernel = np.zeros((*(size,) * rank, 3, 5), "float32")
    for j in range(5):
        kernel[..., j % 3, j] += numpy(mix.depthwise_kernel)[..., j]
    kernel[((size - 1) // 2,) * rank] += numpy(mix.pointwise_kernel)
    conv.set_weights([kernel, numpy(mix.bias)])
    assert mix.compute_output_shape(x.shape) == conv.compute_output_shape(x.shape)
    assert np.allclose(numpy(mix(x)), numpy(conv(x)), atol=1e-5)


@pytest.mark.parametrize("padding", ["valid", "same"])
def test_a_strided_linear_mix_takes_images_of_unknown_size(padding):
    layer = ksn.layers.LinearMixConv2D(4, 3, 2, padding)
    inputs = keras.Input((None, None, 3))
    model = keras.Model(inputs, layer(inputs))
    for size in (6, 7):
        x = random(2, size, size, 3)
        assert np.allclose(model.predict(x, verbose=0), numpy(layer(x)), atol=1e-6)


def test_linear_mix_reads_the_configuration_of_version_0_1():
    old = {"kernel_size": [3, 3], "padding": "periodic", "name": "mix"}
    layer = ksn.layers.LinearMixConv2D.from_config(old)
    layer.build((None, 4, 4, 6))
    assert [tuple(w.shape) for w in layer.weights] == [(3, 3, 6), (6, 6)]
    assert layer.padding == "periodic"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"filters": 0}, "`filters` must be an integer of at least 1, got 0"),
        ({"padding": "causal"}, "unknown `padding` 'causal'. Use one of 'valid', 'same'"),
        ({"strides": 2, "dilation_rate": 2}, "cannot both be above 1"),
    ],
)
def test_bad_options_of_linear_mix_are_named(options, message):
    with pytest.raises(ValueError, match=f"LinearMixConv2D: .*{message}"):
        ksn.layers.LinearMixConv2D(**{"filters": 4, "kernel_size": 3} | options)


def test_kernels_of_linear_mix_that_do_not_match_are_named():
    with pytest.raises(
        ValueError, match=r"`pointwise_kernel` must have the shape \[3, 5\], got \(4, 2\)"
    ):
        ksn.ops.linear_mix_conv(random(1, 5, 5, 3), random(3, 3, 5), random(4, 2))


@pytest.mark.parametrize("family", DIFFUSIONS)
@pytest.mark.parametrize("step_size", [0, -1.0, float("inf"), float("nan"), "small"])
def test_a_bad_step_size_is_named(family, step_size):
    with pytest.raises(ValueError, match=f"{family}2D: `step_size` .*above 0.* Use"):
        layer_of(family, 2, 3, step_size=step_size)


@families
@ranks
@pytest.mark.parametrize("size", [0, -1, 2.5, (3, 3, 3, 3), (0, 3)])
def test_a_bad_kernel_size_is_named(family, rank, size):
    with pytest.raises(ValueError, match=f"{family}{rank}D: `kernel_size` .* Use"):
        layer_of(family, rank, size)


@pytest.mark.parametrize("family", ["StencilConv", "LinearMixConv", "ExplicitDiffusion"])
def test_a_bad_padding_is_named(family):
    with pytest.raises(ValueError, match="unknown `padding` 'periodical'. Did you mean 'periodic'"):
        layer_of(family, 2, padding="periodical")
    with pytest.raises(ValueError, match="unknown `padding` 'valid'"):
        ksn.ops.depthwise_conv(random(1, 4, 4, 1), random(3, 3, 1), "valid")


@families
def test_channels_first_is_refused_with_a_remedy(family):
    keras.config.set_image_data_format("channels_first")
    try:
        with pytest.raises(ValueError, match="channels_last data only.*moveaxis"):
            layer_of(family, 2)
    finally:
        keras.config.set_image_data_format("channels_last")


@families
def test_an_input_of_another_rank_is_refused(family):
    with pytest.raises(ValueError, match="must have 4 axes"):
        layer_of(family, 2)(random(2, 5, 3))


@pytest.mark.parametrize("family", FAMILIES)
def test_a_periodic_image_of_unknown_size_is_refused(family):
    options = {} if family in DIFFUSIONS[1:] else {"padding": "periodic"}
    with pytest.raises(ValueError, match=r"periodic image must be known.*keras\.Input"):
        layer_of(family, 2, **options)(keras.Input((None, 8, 3)))


@pytest.mark.parametrize(
    "op", [lambda x, k: ksn.ops.implicit_diffusion(x, k, 1.0), ksn.ops.circulant_conv]
)
def test_an_op_says_when_it_needs_the_size_of_a_keras_tensor(op):
    kernel = random(3, 3, 2)
    x = keras.Input((6, 5, 2))
    assert keras.Model(x, op(x, kernel)).predict(random(3, 6, 5, 2), verbose=0).shape == (
        3,
        6,
        5,
        2,
    )
    with pytest.raises(ValueError, match="the sizes of the image must be known"):
        op(keras.Input((None, 5, 2)), kernel)


@pytest.mark.parametrize("bound", [1, 2])
@pytest.mark.parametrize(
    ("family", "options"),
    [
        ("CirculantDiffusion", {}),
        ("ExplicitDiffusion", {"padding": "same"}),
        ("ExplicitDiffusion", {"padding": "periodic", "kernel_constraint": "non_neg"}),
    ],
)
def test_a_bounded_step_stays_stable_whatever_the_optimizer_does(family, options, bound):
    step = layer_of(family, 2, 3, step_size=0.5, bound=bound, **options)
    model = keras.Sequential([keras.Input((6, 5, 4)), step])
    copy = keras.models.clone_model(model, input_tensors=keras.Input((9, 4, 4)))
    for net in (model, copy):
        net.compile(keras.optimizers.Adam(1.0), "mse")
        x = random(8, *net.input_shape[1:])
        net.fit(x, -3 * x, verbose=0)
        assert np.linalg.norm(net.predict(x, verbose=0)) <= np.linalg.norm(x) * (1 + 1e-6)
        (row,) = ksn.analysis.stability(net).layers
        assert 0.5 * bound < row.product <= bound * (1 + 1e-4)  # it was scaled down


def test_a_bound_is_refused_above_2_and_for_images_of_any_size():
    with pytest.raises(ValueError, match="`bound` must be at most 2"):
        ksn.layers.ExplicitDiffusion2D(bound=2.5)
    with pytest.raises(ValueError, match="`bound`"):
        ksn.layers.CirculantDiffusion2D(bound=-1)
    with pytest.raises(ValueError, match="which `bound` needs"):
        ksn.layers.ExplicitDiffusion2D(bound=1)(keras.Input((None, 8, 2)))
    assert ksn.layers.ExplicitDiffusion2D(bound=0).bound is None


@pytest.mark.parametrize("name", ["explicit_rd_a", "circulant_rd_a"])
def test_networks_take_a_bound(name):
    model = ksn.zoo.build(name, n_steps=1, bound=2)
    bounds = [layer.bound for layer in model.layers if hasattr(layer, "bound")]
    assert bounds == [2.0] * 3


@pytest.mark.no_backend
@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("shape", [(8, 8, 1), (1, 1, 3), (5, 7, 2)])
def test_four_blocks_fit_into_a_small_image(network, shape):
    sizes = {"widths": (2, 4, 8, 16), "n_steps": 1}
    model = ksn.zoo.build(f"{network}_c", input_shape=shape, include_top=False, **sizes)
    assert model.output_shape == (None, 1, 1, 32)


def test_a_network_runs_on_an_image_of_odd_sizes():
    sizes = {"widths": (2, 4), "n_steps": 1}
    model = ksn.zoo.build("circulant_rd_a", input_shape=(5, 1, 2), **sizes)
    assert np.isfinite(model.predict(random(2, 5, 1, 2), verbose=0)).all()


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"n_steps": 0}, "`n_steps` must be an integer of at least 1"),
        ({"widths": ()}, "`widths` must be a sequence"),
        ({"widths": (8, 12)}, "twice the one before"),
        ({"widths": (0, 0)}, "`widths` must be"),
        ({"step_size": -1}, "`step_size` must be a finite number above 0"),
        ({"kernel_size": 0}, "`kernel_size` must be"),
    ],
)
def test_bad_sizes_of_a_network_are_named(sizes, message):
    with pytest.raises(ValueError, match=message):
        ksn.zoo.build("explicit_rd_a", **sizes)
