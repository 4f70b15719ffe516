"""Layers of zoo models have names that tell their place, and the models the names that are asked for."""

import keras
import numpy as np
import pytest

import keras_structnets as ksn
from keras_structnets.zoo.registry import of_skeleton
from tests.cases.models import EACH_FAMILY


@pytest.mark.no_backend
@pytest.mark.parametrize("name", EACH_FAMILY)
def test_names_are_the_same_in_each_process_and_the_head_ends_in_logits(name):
    def names(model):
        assert model.layers[-2].output.shape == (None, 7)
        return [layer.name for layer in model.layers]

    first = of_skeleton(names, name, 7)
    keras.layers.Dense(1)  # Keras counts its names on
    assert of_skeleton(names, name, 7) == first
    assert len(set(first)) == len(first)
    assert first[-2] == "logits"


@pytest.mark.no_backend
def test_names_tell_stage_step_and_part():
    def names_of(name):
        return of_skeleton(lambda model: [layer.name for layer in model.layers], name)

    names = names_of("explicit_rd_a")
    assert {"opening", "stage1_step2_reaction", "stage3_step4_diffusion"} <= set(names)
    assert "stage2_connection_pooling" in names
    names = names_of("g_conv_net")
    assert {"block1_convolution1", "block4_sum2", "convolution_prelu"} <= set(names)


def test_two_builds_with_names_of_their_own_make_one_model(tmp_path):
    first, second = (ksn.zoo.build("simnet_3layer_compact", name=name) for name in ("one", "two"))
    assert (first.name, second.name) == ("one", "two")
    pixels = keras.Input((32, 32, 3))
    model = keras.Model(pixels, keras.layers.average([first(pixels), second(pixels)]))
    assert model.output_shape == (None, 10)
    first.save_weights(tmp_path / "one.weights.h5")
    again = ksn.zoo.build("simnet_3layer_compact", weights=tmp_path / "one.weights.h5")
    for mine, theirs in zip(again.weights, first.weights, strict=True):
        np.testing.assert_array_equal(*map(keras.ops.convert_to_numpy, (mine, theirs)))


def test_pooling_gives_a_vector_of_features():
    x = np.random.default_rng(0).uniform(0, 255, (2, 32, 32, 3)).astype("float32")
    keras.utils.set_random_seed(0)
    maps = ksn.zoo.build("simnet_3layer_compact", include_top=False)
    for pooling, pool in (("avg", np.mean), ("max", np.max)):
        pooled = ksn.zoo.build("simnet_3layer_compact", include_top=False, pooling=pooling)
        pooled.set_weights(maps.get_weights())
        expected = pool(maps.predict(x, verbose=0), axis=(1, 2))
        np.testing.assert_allclose(pooled.predict(x, verbose=0), expected, rtol=1e-5)
    with pytest.raises(ValueError, match="Did you mean 'avg'"):
        ksn.zoo.build("simnet_3layer_compact", include_top=False, pooling="avgg")
    with pytest.raises(ValueError, match="include_top=False"):
        ksn.zoo.build("simnet_3layer_compact", pooling="avg")


@pytest.mark.no_backend
def test_pretrained_models_are_those_with_records():
    names = ksn.zoo.list_models(pretrained=True)
    assert names == [name for name in ksn.zoo.list_models() if ksn.zoo.info(name).records]
    assert "resnet_c" not in names
    assert "simnet_2layer" in names
