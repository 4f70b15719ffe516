"""Networks and blocks take series, images and volumes."""

import keras
import numpy as np
import pytest

import keras_structnets as ksn
from tests.cases.models import EACH_FAMILY, SMALL, images, randomize

UNPADDED = (
    "simnet_1layer_l1",
    "simnet_1layer_l2",
    "convnet_1layer",
)  # they need 5 entries per axis
# nin has the layers of nin_compact; at SMALL's widths all its ReLU are off
LAYOUTS = {1: (16, 2), 2: (16, 12, 2), 3: (8, 8, 8, 2)}


def build(name, shape, **options):
    return ksn.zoo.build(
        name, input_shape=shape, include_preprocessing=False, **SMALL.get(name, {}), **options
    )


def in_the_middle(value, shape):
    """`value` as the middle one along the first axis of `shape`, between zeros."""
    if value.shape == shape:
        return value
    padded = np.zeros(shape, value.dtype)
    padded[(shape[0] - 1) // 2] = value
    return padded


@pytest.mark.no_backend
@pytest.mark.parametrize("rank", [1, 2])
@pytest.mark.parametrize("name", [name for name in EACH_FAMILY if name not in (*UNPADDED, "nin")])
def test_a_network_is_that_of_one_more_axis_on_inputs_of_size_one_along_it(name, rank):
    shape = (*[8] * rank, 2)
    narrow, wide = (build(name, s, classifier_activation=None) for s in (shape, (1, *shape)))
    randomize(narrow)
    for weight, target in zip(narrow.weights, wide.weights, strict=True):
        value = keras.ops.convert_to_numpy(weight)
        target.assign(in_the_middle(value, tuple(target.shape)))
    x = images(shape) / 255
    expected = narrow.predict(x, verbose=0)
    np.testing.assert_allclose(wide.predict(x[:, None], verbose=0), expected, rtol=1e-4, atol=1e-5)
    assert np.ptp(expected, axis=0).max() > 1e-4  # it depends on the input


@pytest.mark.no_backend
@pytest.mark.parametrize("rank", [1, 3])
@pytest.mark.parametrize("name", UNPADDED)
def test_networks_without_padding_take_series_and_volumes(name, rank):
    model = build(name, LAYOUTS[rank])
    assert np.isfinite(model.predict(images(LAYOUTS[rank]), verbose=0)).all()


@pytest.mark.no_backend
@pytest.mark.parametrize("rank", [1, 2, 3])
def test_a_mixed_network_has_one_stencil_and_one_coupling_per_layer_in_each_rank(rank):
    model = build("linear_mix_a", LAYOUTS[rank])
    k, (first, second) = 3**rank, SMALL["linear_mix_a"]["widths"]
    steps = 2 * sum(k * c + c * c for c in (first, second))
    connections = k * (first + second)
    classifier = 2 * second * 10 + 10
    assert model.count_params() - sum(
        int(np.prod(w.shape)) for w in model.non_trainable_weights
    ) == (5**rank * 2 * first + steps + connections + classifier)


@pytest.mark.parametrize("rank", [1, 3])
def test_networks_of_series_and_volumes_are_saved_and_loaded(rank, tmp_path):
    model = build("implicit_rd_a", LAYOUTS[rank])
    model.save(tmp_path / "model.keras")
    x = images(LAYOUTS[rank]) / 255
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(loaded.predict(x, verbose=0), model.predict(x, verbose=0), atol=1e-6)


def test_feature_maps_and_pooled_features_of_series():
    model = build("linear_mix_a", LAYOUTS[1])
    maps = ksn.zoo.features(model).output
    assert {tuple(x.shape) for x in maps.values()} == {(None, 16, 8), (None, 8, 16), (None, 4, 16)}
    pooled = build("linear_mix_a", LAYOUTS[1], include_top=False, pooling="max")
    assert pooled.output_shape == (None, 16)


def test_series_are_taken_as_they_are_and_volumes_as_pixels():
    def first_layers(shape):
        small = SMALL["linear_mix_a"]
        return [
            layer.name for layer in ksn.zoo.build("linear_mix_a", input_shape=shape, **small).layers
        ]

    assert "pixel_normalization" not in first_layers((16, 3))
    assert first_layers((8, 8, 8, 1))[1] == "pixel_normalization"


@pytest.mark.parametrize("shape", [(32,), (8, 8, 8, 8, 1), 32])
def test_a_network_names_the_shapes_that_it_takes(shape):
    with pytest.raises(ValueError, match=r"`input_shape` must be \(steps, channels\) or \(height"):
        ksn.zoo.build("linear_mix_a", input_shape=shape)


def test_a_network_of_images_alone_says_so():
    with pytest.raises(ValueError, match=r"`input_shape` must be \(height, width, channels\), got"):
        ksn.zoo.build("mobilenet_v2", input_shape=(128, 9))


@pytest.mark.parametrize("shape", [(1, 32, 32, 32), (3, 128)])
def test_channels_first_is_recognized_in_each_rank(shape):
    with pytest.raises(ValueError, match="looks like channels first"):
        ksn.zoo.build("linear_mix_a", input_shape=shape)


def test_a_registered_network_has_the_rank_of_its_input_shape():
    before = dict(ksn.zoo.registry._ENTRIES)
    try:

        @ksn.zoo.register("of_series", paper="a test", summary="", input_shape=(16, 2))
        def of_series(x):
            return keras.layers.Conv1D(3, 3)(x)

        assert ksn.zoo.info("of_series").ranks == (1,)
        assert ksn.zoo.build("of_series").output_shape == (None, 10)
    finally:
        ksn.zoo.registry._ENTRIES.clear()
        ksn.zoo.registry._ENTRIES.update(before)


@pytest.mark.parametrize(
    "block", ["resnet_step", "implicit_rd_step", "connecting_layer", "mobilenet_step"]
)
def test_blocks_refuse_four_spatial_axes(block):
    with pytest.raises(ValueError, match="with 1 or 2 or 3 spatial axes"):
        getattr(ksn.blocks, block)(keras.Input((4, 4, 4, 4, 2)))


def test_structured_blocks_refuse_an_unknown_rank():
    x = keras.Input((8, 1, 3, 1))
    assert ksn.blocks.gconv_prelu(x, 2, (4,), 3, rank=1).shape == (None, 8, 2, 4)
    with pytest.raises(ValueError, match="unknown `rank` 4"):
        ksn.blocks.gconv_prelu(x, 2, (4,), 3, rank=4)
