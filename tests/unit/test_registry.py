"""The registry of models, on a tiny model that is registered for each test and removed again."""

import keras
import numpy as np
import pytest

import keras_structnets as ksn
from keras_structnets.zoo import registry


def tiny_body(x, *, filters=4, depth=1):
    for _ in range(depth):
        x = keras.layers.Conv2D(filters, 3, padding="same", activation="relu")(x)
    return x


@pytest.fixture(autouse=True)
def tiny():
    """'tiny_net' and 'tiny_twin', the same body under two names, for the length of one test."""
    before = dict(registry._ENTRIES)
    arguments = {"paper": "a test", "summary": "one convolution", "input_shape": (8, 8, 3)}
    ksn.zoo.register("tiny_net", printed={10: "162"}, depth=2, **arguments)(tiny_body)
    ksn.zoo.register("tiny_twin", depth=2, **arguments)(tiny_body)
    yield
    registry._ENTRIES.clear()
    registry._ENTRIES.update(before)


def pixels(shape=(5, 8, 8, 3)):
    return np.random.default_rng(0).integers(0, 256, shape).astype("float32")


def predictions(model, x):
    return keras.ops.convert_to_numpy(model(keras.ops.convert_to_tensor(x)))


def test_a_model_maps_raw_pixels_to_probabilities():
    y = predictions(ksn.zoo.build("tiny_net"), pixels())
    assert y.shape == (5, 10)
    np.testing.assert_allclose(y.sum(axis=1), 1, atol=1e-5)
    assert (y >= 0).all()


def test_without_an_activation_the_outputs_are_the_logits_of_those_probabilities():
    model, logits = (
        ksn.zoo.build("tiny_net"),
        ksn.zoo.build("tiny_net", classifier_activation=None),
    )
    logits.set_weights(model.get_weights())
    z = predictions(logits, pixels()).astype("float64")
    assert np.abs(z.sum(axis=1) - 1).min() > 1e-3  # not probabilities themselves
    softmax = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(predictions(model, pixels()), softmax, atol=1e-5)


def test_without_top_the_outputs_are_the_features():
    features = ksn.zoo.build("tiny_net", include_top=False, filters=6)
    assert features.output_shape == (None, 8, 8, 6)
    assert not any(isinstance(layer, keras.layers.Dense) for layer in features.layers)


def test_pixels_normalized_by_hand_give_what_raw_pixels_give():
    raw = ksn.zoo.build("tiny_net")
    normalized = ksn.zoo.build("tiny_net", include_preprocessing=False)
    normalized.set_weights(raw.get_weights())
    by_hand = (pixels() / 255 - np.array([0.485, 0.456, 0.406])) / np.array([0.229, 0.224, 0.225])
    np.testing.assert_allclose(
        predictions(raw, pixels()), predictions(normalized, by_hand.astype("float32")), atol=1e-5
    )
    assert np.abs(predictions(raw, pixels()) - predictions(normalized, pixels())).max() > 1e-2


def test_gray_pixels_are_mapped_to_minus_one_to_one():
    raw = ksn.zoo.build("tiny_net", input_shape=(8, 8, 1))
    normalized = ksn.zoo.build("tiny_net", input_shape=(8, 8, 1), include_preprocessing=False)
    normalized.set_weights(raw.get_weights())
    x = pixels((5, 8, 8, 1))
    np.testing.assert_allclose(
        predictions(raw, x), predictions(normalized, x / 127.5 - 1), atol=1e-5
    )


def test_rescaled_pixels_are_divided_by_255_alone():
    raw = ksn.zoo.build("tiny_net", include_preprocessing="rescale")
    normalized = ksn.zoo.build("tiny_net", include_preprocessing=False)
    normalized.set_weights(raw.get_weights())
    np.testing.assert_allclose(
        predictions(raw, pixels()), predictions(normalized, pixels() / 255), atol=1e-5
    )
    with pytest.raises(ValueError, match="`include_preprocessing` 'scale'"):
        ksn.zoo.build("tiny_net", include_preprocessing="scale")


def test_a_model_whose_body_normalizes_gets_raw_pixels():
    register = ksn.zoo.register("tiny_own", paper="a test", summary="-", normalize=False)
    register(tiny_body)
    layers = ksn.zoo.build("tiny_own").layers
    assert not any(isinstance(layer, keras.layers.Rescaling) for layer in layers)


def test_sizes_change_the_model():
    assert ksn.zoo.build("tiny_net", include_top=False).output_shape[-1] == 4
    wide = ksn.zoo.build("tiny_net", filters=7, depth=3)
    convolutions = [layer for layer in wide.layers if isinstance(layer, keras.layers.Conv2D)]
    assert [layer.filters for layer in convolutions] == [7, 7, 7]


def test_sizes_reach_the_body_and_the_head_and_need_no_default_of_their_own():
    def body(x, *, filters):
        return keras.layers.Conv2D(filters, 3)(x)

    def head(features, num_classes, *, hidden):
        x = keras.layers.Dense(hidden)(keras.layers.GlobalAveragePooling2D()(features))
        return keras.layers.Dense(num_classes)(x)

    register = ksn.zoo.register("tiny_head", paper="-", summary="-", head=head, filters=3, hidden=5)
    register(body)
    assert ksn.zoo.info("tiny_head").sizes == {"filters": 3, "hidden": 5}
    shapes = [tuple(weight.shape) for weight in ksn.zoo.build("tiny_head", hidden=6).weights]
    assert shapes == [(3, 3, 3, 3), (3,), (3, 6), (6,), (6, 10), (10,)]


def test_the_outputs_are_float32_under_half_precision():
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = ksn.zoo.build("tiny_net")
    finally:
        keras.config.set_dtype_policy(before)
    assert keras.backend.standardize_dtype(model(pixels()).dtype) == "float32"


# Names


def test_list_models_is_sorted_and_takes_wildcards():
    names = ksn.zoo.list_models()
    assert names == sorted(names)
    assert {"tiny_net", "tiny_twin", "resnet18"} <= set(names)
    assert ksn.zoo.list_models("tiny_*") == ["tiny_net", "tiny_twin"]
    assert ksn.zoo.list_models("tiny_?et") == ["tiny_net"]
    assert ksn.zoo.list_models("no_such_*") == []


def test_info_tells_what_was_registered():
    info = ksn.zoo.info("tiny_net")
    assert info.name == "tiny_net"
    assert (info.paper, info.summary) == ("a test", "one convolution")
    assert info.printed == {10: "162"}
    assert info.printed_flops == {}
    assert ksn.zoo.info("simnet_2layer").printed_flops == {10: "14.2M", 100: "14.6M"}
    assert info.input_shape == (8, 8, 3)
    assert info.sizes == {"filters": 4, "depth": 2}  # the decorator's default replaces the body's


@pytest.mark.parametrize("function", [ksn.zoo.build, ksn.zoo.info])
def test_an_unknown_name_is_answered_with_the_closest_ones(function):
    with pytest.raises(ValueError, match=r"'tiny_ned'.*Did you mean 'tiny_net'.*list_models\(\)"):
        function("tiny_ned")
    with pytest.raises(ValueError, match=r"'qqqqqqqq'\. See"):
        function("qqqqqqqq")


def test_a_name_is_registered_once():
    with pytest.raises(ValueError, match=r"'tiny_net' is taken\. Choose another"):
        ksn.zoo.register("tiny_net", paper="", summary="")


# Arguments


@pytest.mark.parametrize("num_classes", [0, -3, True, 2.5, "10"])
def test_num_classes_must_be_a_positive_integer(num_classes):
    with pytest.raises(ValueError, match=r"build\('tiny_net'\): `num_classes`.*got .*Use"):
        ksn.zoo.build("tiny_net", num_classes=num_classes)


def test_num_classes_may_be_a_numpy_integer():
    assert ksn.zoo.build("tiny_net", num_classes=np.int64(3)).output_shape == (None, 3)


@pytest.mark.parametrize("shape", [(3, 32, 32), (1, 28, 28), [3, 64, 48]])
def test_a_shape_with_channels_first_is_refused_with_the_shape_to_use(shape):
    right = (*shape[1:], shape[0])
    with pytest.raises(ValueError, match=r"channels first.*moveaxis") as error:
        ksn.zoo.build("tiny_net", input_shape=shape)
    assert f"input_shape={right}" in str(error.value)


@pytest.mark.parametrize(
    "shape",
    [(32, 32), (32, 32, 0), (-1, 8, 3), (None, None, 3), 32, "32", (8, 8, 3, 1), (8.0, 8, 3)],
)
def test_input_shape_must_be_three_positive_integers(shape):
    with pytest.raises(ValueError, match=r"`input_shape` must be.*Use"):
        ksn.zoo.build("tiny_net", input_shape=shape)


def test_an_unknown_size_is_answered_with_the_known_ones():
    with pytest.raises(ValueError, match=r"`filter`=3.*Did you mean 'filters'.*'depth', 'filters'"):
        ksn.zoo.build("tiny_net", filter=3)


def test_the_global_setting_channels_first_is_refused():
    keras.config.set_image_data_format("channels_first")
    try:
        with pytest.raises(ValueError, match="channels_last"):
            ksn.zoo.build("tiny_net")
    finally:
        keras.config.set_image_data_format("channels_last")


# Weights


@pytest.fixture(params=["model.weights.h5", "model.keras"])
def path(request, tmp_path):
    return tmp_path / request.param


def save(model, path):
    if path.suffix == ".keras":
        model.save(path)
    else:
        model.save_weights(path)


def test_weights_are_loaded_from_a_path(path):
    model = ksn.zoo.build("tiny_net", num_classes=4, filters=5)
    save(model, path)
    for name in (path, str(path)):
        again = ksn.zoo.build("tiny_net", num_classes=4, filters=5, weights=name)
        np.testing.assert_array_equal(predictions(model, pixels()), predictions(again, pixels()))


def test_weights_of_a_trained_model_are_loaded(path):
    model = ksn.zoo.build("tiny_net")
    model.compile("adam", "sparse_categorical_crossentropy")
    model.train_on_batch(pixels(), np.zeros(5))
    save(model, path)
    again = ksn.zoo.build("tiny_net", weights=path)
    np.testing.assert_array_equal(predictions(model, pixels()), predictions(again, pixels()))


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("tiny_net", {"num_classes": 7}),
        ("tiny_net", {"filters": 5}),
        ("tiny_net", {"depth": 3}),  # Keras would load the first two layers of the file
        ("tiny_net", {"depth": 1}),
        ("tiny_net", {"include_top": False}),
        ("tiny_twin", {}),  # equal shapes
    ],
    ids=str,
)
@pytest.mark.filterwarnings("ignore:Skipping nested container:UserWarning")  # of Keras, first
def test_weights_of_another_model_are_refused(path, name, arguments):
    save(ksn.zoo.build(name, **arguments), path)
    with pytest.raises(
        ValueError, match=r"`weights` .* is not a weights file of this model.*Use"
    ) as error:
        ksn.zoo.build("tiny_net", weights=path)
    assert len(str(error.value)) < 600  # Keras' own message lists the values of the weight


def test_weights_that_are_not_there_are_named(path):
    with pytest.raises(ValueError, match=r"model\.(weights\.h5|keras)' is not a file"):
        ksn.zoo.build("tiny_net", weights=path)


@pytest.mark.parametrize("content", [b"", b"not weights at all", b"PK\x03\x04 half a zip"])
def test_a_file_that_holds_no_weights_is_refused(path, content):
    path.write_bytes(content)
    with pytest.raises(ValueError, match="is not a weights file of this model"):
        ksn.zoo.build("tiny_net", weights=path)


def test_a_zip_or_h5_file_of_something_else_is_refused(tmp_path):
    np.savez(tmp_path / "arrays.npz", a=np.zeros(3))
    (tmp_path / "arrays.npz").rename(tmp_path / "arrays.keras")
    with pytest.raises(ValueError, match="is not a weights file of this model"):
        ksn.zoo.build("tiny_net", weights=tmp_path / "arrays.keras")


def test_a_model_whose_classes_are_not_known_is_refused(tmp_path):
    @keras.saving.register_keras_serializable(package="a_test")
    class Unknown(keras.layers.Layer):
        def call(self, x):
            return x

    inputs = keras.Input((3,))
    keras.Model(inputs, Unknown()(inputs)).save(tmp_path / "model.keras")
    keras.saving.get_custom_objects().pop("a_test>Unknown")
    with pytest.raises(ValueError, match="is not a weights file of this model"):
        ksn.zoo.build("tiny_net", weights=tmp_path / "model.keras")


def test_weights_must_have_an_ending_that_keras_knows(tmp_path):
    path = tmp_path / "model.pt"
    path.write_bytes(b"")
    with pytest.raises(ValueError, match=r"must end in \.weights\.h5 or \.keras"):
        ksn.zoo.build("tiny_net", weights=path)
