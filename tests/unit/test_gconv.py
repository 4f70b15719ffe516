"""Layers of GConvNets and g_conv_net: errors, configs, saving, half precision, training."""

import keras
import numpy as np
import pytest

import keras_structnets as ksn

IMAGE = (2, 6, 6, 1, 3, 2)


def random(*shape):
    return np.random.default_rng(0).uniform(-1, 1, shape).astype("float32")


def numpy(x):
    return keras.ops.convert_to_numpy(x)


@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("contract", [None, 0, 1, 2])
@pytest.mark.parametrize("padding", ["valid", "same"])
def test_output_and_kernel_have_the_documented_shapes(rank, contract, padding):
    layer = getattr(ksn.layers, f"GConv{rank}D")(
        4, (5, 6), 3, contract=contract, strides=2, padding=padding
    )
    shape = (2, *(7,) * rank, 2, 3, 1)
    y = layer(random(*shape))
    n = 2 if contract is None else contract
    size = 3 if padding == "valid" else 4
    assert tuple(y.shape) == (2, *(size,) * rank, 4, *(3, 1)[: 2 - n], 5, 6)
    assert tuple(y.shape) == layer.compute_output_shape(shape)
    assert tuple(layer.kernel.shape) == (*(3,) * rank, 2, *(1, 3)[:n], 4, 5, 6)
    assert tuple(layer.bias.shape) == (4, 5, 6)


@pytest.mark.parametrize("contract", [None, 1])
def test_batch_and_spatial_sizes_may_be_unknown(contract):
    layer = ksn.layers.GConv2D(2, (5,), 3, contract=contract, strides=2, padding="same")
    x = keras.Input((None, None, 1, 3, 2))
    model = keras.Model(x, ksn.layers.Destructure()(layer(x)))
    n_out = 10 if contract is None else 30
    assert model.output_shape == (None, None, None, n_out)
    image = random(3, 9, 6, 1, 3, 2)
    y = model.predict(image, verbose=0)
    assert y.shape == (3, 5, 3, n_out)
    assert np.allclose(y, numpy(layer(image)).reshape(y.shape), atol=1e-6)


def test_op_takes_keras_tensors_and_says_when_it_needs_their_sizes():
    kernel = random(3, 3, 1, 2, 3, 4, 5)
    x = keras.Input((6, 6, 1, 3, 2))
    model = keras.Model(x, ksn.ops.generalized_conv(x, kernel))
    assert model.predict(random(*IMAGE), verbose=0).shape == (2, 4, 4, 4, 5)
    with pytest.raises(ValueError, match=r"spatial sizes .* must be known.*GConv2D"):
        ksn.ops.generalized_conv(keras.Input((None, 6, 1, 3, 2)), kernel)


def test_an_empty_batch_gives_an_empty_result():
    try:
        keras.layers.Conv2D(2, 3)(np.zeros((0, 6, 6, 3), "float32"))
    except Exception as error:  # TensorFlow, where an empty convolution has the input's shape
        pytest.skip(f"Keras' own Conv2D refuses an empty batch here: {type(error).__name__}")
    layer = ksn.layers.GConv2D(2, (5,), 3, contract=1)
    layer.build(IMAGE)
    assert tuple(layer(np.zeros((0, *IMAGE[1:]), "float32")).shape) == (0, 4, 4, 2, 3, 5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"filters": 0}, "`filters` must be an integer of at least 1, got 0"),
        ({"filters": -2}, "`filters`.*got -2"),
        ({"structure": (9, 0)}, r"`structure`.*got \(9, 0\).*Use for example"),
        ({"structure": 2.5}, "`structure`.*got 2.5"),
        ({"kernel_size": 0}, "`kernel_size`.*got 0"),
        ({"kernel_size": (3, 3, 3)}, r"`kernel_size`.*2 integers.*got \(3, 3, 3\)"),
        ({"contract": -1}, "`contract`.*at least 0, got -1"),
        ({"contract": "all"}, "`contract`.*got 'all'"),
        ({"strides": 0}, "`strides`.*got 0"),
        ({"padding": "Same"}, "`padding` 'Same'. Did you mean 'same'"),
        ({"padding": "causal"}, "`padding` 'causal'.*'valid', 'same'"),
        ({"dilation_rate": -1}, "`dilation_rate`.*got -1"),
        ({"strides": 2, "dilation_rate": 2}, r"`strides` \(2, 2\).*`dilation_rate` \(2, 2\).*Use"),
    ],
    ids=str,
)
def test_bad_values_fail_at_construction(arguments, message):
    with pytest.raises(ValueError, match=message) as error:
        ksn.layers.GConv2D(**({"filters": 1, "structure": (9,), "kernel_size": 3} | arguments))
    assert str(error.value).startswith("GConv2D")


@pytest.mark.parametrize(
    ("arguments", "shape", "message"),
    [
        (
            {"contract": 3},
            IMAGE,
            r"contract=3 .* structure \(3, 2\) has 2.*Use contract=2 or fewer",
        ),
        ({"kernel_size": 7}, IMAGE, r"kernel that spans \(7, 7\) .* \(6, 6\).*padding='same'"),
        ({"dilation_rate": 3}, IMAGE, r"kernel that spans \(7, 7\)"),
        ({}, (2, 6, 6), r"at least 4 axes.*got shape \(2, 6, 6\)"),
        ({}, (2, 6, 6, 1, None), "must be known when the layer is built"),
    ],
    ids=str,
)
def test_bad_shapes_fail_at_build(arguments, shape, message):
    layer = ksn.layers.GConv2D(**({"filters": 1, "structure": (9,), "kernel_size": 3} | arguments))
    with pytest.raises(ValueError, match=message):
        layer.build(shape)
    with pytest.raises(ValueError, match=message):
        layer.compute_output_shape(shape)


@pytest.mark.parametrize(
    ("kernel_shape", "arguments", "message"),
    [
        ((3, 3, 1, 3, 2, 4), {}, r"needs \[k, k, 1, 2, 3, channels.*nearest axis first"),
        ((3, 3, 1, 2, 3), {}, r"`kernel` has shape \(3, 3, 1, 2, 3\).*channels"),
        ((3, 3, 1, 2, 3, 4), {"contract": 3}, r"contract=3 .* \(3, 2\) has 2"),
        ((7, 7, 1, 2, 3, 4), {}, r"kernel that spans \(7, 7\)"),
        ((3, 3, 1, 2, 3, 4), {"padding": "Valid"}, "Did you mean 'valid'"),
        (
            (3, 3, 1, 2, 3, 4),
            {"bias": np.zeros(3)},
            r"`bias` must have the shape \[4\], got \(3,\)",
        ),
        ((3, 3, 1, 2, 3, 4), {"rank": 4}, "`rank` 4"),
        ((3, 3, 1, 2, 3, 4), {"rank": 3}, "rank=3.*needs"),
        ((3, 3, 1, 2, 3, 4), {"strides": (1, 2, 3)}, r"`strides`.*\(1, 2, 3\)"),
    ],
    ids=str,
)
def test_op_refuses_a_kernel_that_does_not_match(kernel_shape, arguments, message):
    with pytest.raises(ValueError, match=message):
        ksn.ops.generalized_conv(random(*IMAGE), random(*kernel_shape), **arguments)


def test_structure_must_divide_the_channels():
    with pytest.raises(ValueError, match=r"`shape` \(3, 2\) holds 6 .* 8 channels"):
        ksn.layers.Structure((3, 2))(random(2, 4, 4, 8))
    with pytest.raises(ValueError, match=r"`shape`.*got \(0, 2\)"):
        ksn.layers.Structure((0, 2))


def test_destructure_needs_the_spatial_axes():
    with pytest.raises(ValueError, match=r"at least 4 axes.*got shape \(2, 4, 4\)"):
        ksn.layers.Destructure()(random(2, 4, 4))
    with pytest.raises(ValueError, match=r"`rank`.*got -1"):
        ksn.layers.Destructure(-1)


def test_channels_first_is_refused_with_a_remedy():
    keras.config.set_image_data_format("channels_first")
    try:
        for layer in (
            lambda: ksn.layers.GConv2D(1, (2,), 3),
            lambda: ksn.layers.Structure(2),
            lambda: ksn.layers.Destructure(),
        ):
            with pytest.raises(ValueError, match=r"channels_last data only.*moveaxis"):
                layer().build((2, 6, 6, 2))
    finally:
        keras.config.set_image_data_format("channels_last")


@pytest.mark.parametrize(
    "layer",
    [
        ksn.layers.GConv1D(2, [3], 3, name="plain"),
        ksn.layers.GConv2D(
            2,
            (3, 4),
            (3, 2),
            contract=1,
            strides=(2, 1),
            padding="same",
            use_bias=False,
            activation="relu",
            kernel_initializer=keras.initializers.HeNormal(seed=3),
            bias_initializer="ones",
            kernel_regularizer=keras.regularizers.L2(1e-3),
            bias_regularizer="l1",
            kernel_constraint=keras.constraints.MaxNorm(2.0),
            bias_constraint="non_neg",
            activity_regularizer="l2",
            dtype="mixed_float16",
            trainable=False,
        ),
        ksn.layers.GConv3D(1, 5, 3, dilation_rate=2),
        ksn.layers.Structure([3, 1]),
        ksn.layers.Destructure(3),
    ],
    ids=lambda layer: layer.name,
)
def test_config_round_trip_is_exact(layer):
    config = keras.saving.serialize_keras_object(layer)
    again = keras.saving.deserialize_keras_object(config)
    assert type(again) is type(layer)
    assert again.get_config() == layer.get_config()
    assert config["registered_name"] == f"keras_structnets>{type(layer).__name__}"


def test_a_saved_model_loads_and_predicts_the_same(tmp_path):
    x = keras.Input((6, 6, 6))
    y = ksn.layers.Structure((3, 2))(x)
    y = ksn.layers.GConv2D(2, (2, 2), 3, padding="same", activation="relu")(y)
    y = ksn.layers.GConv2D(2, (3,), 2, contract=1, strides=2)(y)
    model = keras.Model(x, ksn.layers.Destructure()(y))
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    images = random(2, 6, 6, 6)
    assert np.array_equal(model.predict(images, verbose=0), again.predict(images, verbose=0))


def test_initial_kernel_has_the_fans_of_the_folded_kernel():
    layer = ksn.layers.GConv2D(2, (9, 9), 3, kernel_initializer=keras.initializers.HeNormal(seed=0))
    layer.build((1, 8, 8, 2, 9, 9))
    assert np.std(numpy(layer.kernel)) == pytest.approx(np.sqrt(2 / (9 * 2 * 81)), rel=0.02)
    layer = ksn.layers.GConv2D(2, (9, 9), 3, kernel_initializer=keras.initializers.GlorotUniform(0))
    layer.build((1, 8, 8, 1, 9, 9))
    limit = np.sqrt(6 / (9 * 81 + 9 * 2 * 81))
    assert np.abs(numpy(layer.kernel)).max() == pytest.approx(limit, rel=0.01)


def test_initial_outputs_keep_the_variance_of_the_inputs():
    layer = ksn.layers.GConv2D(1, (9, 9), 3, kernel_initializer=keras.initializers.LecunNormal(0))
    x = np.random.default_rng(0).normal(size=(8, 10, 10, 1, 9, 9)).astype("float32")
    assert np.var(numpy(layer(x))) == pytest.approx(1, rel=0.1)


@pytest.mark.parametrize("contract", [None, 1])
@pytest.mark.parametrize("policy", ["float16", "bfloat16", "mixed_float16", "mixed_bfloat16"])
def test_half_precision_stays_close_to_float32(policy, contract):
    x = random(2, 8, 8, 1, 3, 4)
    half = ksn.layers.GConv2D(2, (3, 4), 3, contract=contract, dtype=policy)
    full = ksn.layers.GConv2D(2, (3, 4), 3, contract=contract)
    half.build(x.shape)
    full.build(x.shape)
    full.set_weights([numpy(keras.ops.cast(w, "float32")) for w in half.weights])
    y = half(x)
    assert keras.backend.standardize_dtype(y.dtype) == policy.removeprefix("mixed_")
    y = numpy(keras.ops.cast(y, "float32"))
    assert np.all(np.isfinite(y))
    assert np.allclose(y, numpy(full(x)), atol=1e-2 if "bfloat" not in policy else 5e-2)


def test_regularizer_and_constraint_act_on_the_kernel():
    layer = ksn.layers.GConv2D(
        1, (2,), 3, kernel_regularizer=keras.regularizers.L2(0.5), kernel_constraint="non_neg"
    )
    layer.build(IMAGE)
    layer.kernel.assign(-np.ones(layer.kernel.shape, "float32"))
    assert float(numpy(layer.losses[0])) == pytest.approx(0.5 * 9 * 3 * 2 * 2)
    assert np.all(numpy(layer.kernel_constraint(keras.ops.convert_to_tensor(layer.kernel))) == 0)


@pytest.mark.parametrize("shape", [(8, 8, 1), (64, 64, 3), (9, 17, 2)])
def test_g_conv_net_takes_images_of_any_size(shape):
    sizes = {"structure": (2, 2), "skips": (1, 2, 1, 2)}  # small, to be quick
    model = ksn.zoo.build("g_conv_net", input_shape=shape, num_classes=7, **sizes)
    y = numpy(model(random(1, *shape) * 255, training=False))
    assert y.shape == (1, 7)
    assert np.sum(y) == pytest.approx(1, abs=1e-5)
