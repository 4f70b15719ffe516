"""One builder for SimNets of any depth, of which the named networks are settings."""

import itertools

import keras
import numpy as np
import pytest

import keras_structnets as ksn
from tests.cases.models import images, randomize
from tests.reference import simnets as reference

SHAPE = (12, 12, 2)


def build(name="simnet", **sizes):
    options = {"input_shape": SHAPE, "num_classes": 3, "include_preprocessing": False}
    return ksn.zoo.build(name, **options, **sizes)


def trainable(model, *ends):
    return [w.path for w in model.trainable_weights if w.path.endswith(ends)]


@pytest.mark.no_backend
@pytest.mark.parametrize("depth", [1, 2, 4])
def test_it_has_a_whitened_similarity_for_each_of_its_channels(depth):
    model = build(channels=(3, 4, 5, 6)[:depth], local_beta=(0.0,) * (depth - 1))
    pairs = ksn.pretraining.find_pairs(model)
    assert [pair.convolution.filters for pair in pairs] == [3, 4, 5, 6][:depth]
    assert sum(layer.name.startswith("pooling") for layer in model.layers) == 2 * (depth - 1)
    assert np.isfinite(model.predict(images(SHAPE) / 255, verbose=0)).all()


@pytest.mark.no_backend
def test_orders_and_local_betas_are_learned():
    model = build(channels=(3, 4, 5), p=(1.0, 1.5, 2.0), trainable_p=True, local_beta=(0.5, 2.0))
    assert [model.get_layer(f"similarity_{i}").initial_p for i in (1, 2, 3)] == [1.0, 1.5, 2.0]
    assert len(trainable(model, "/p")) == 3
    assert trainable(model, "/beta") == ["classification/beta", "logits/beta"]
    model = build(channels=(3, 4, 5), local_beta=(0.5, 2.0), trainable_local_beta=True)
    assert trainable(model, "/beta")[:2] == ["pooling_1/beta", "pooling_2/beta"]
    assert [model.get_layer(f"pooling_{i}").initial_beta for i in (1, 2)] == [0.5, 2.0]


@pytest.mark.parametrize("similarity", ["lp", "linear"])
def test_a_network_without_whitening_is_figure_1c(similarity):
    model = build("simnet_mlpconv", channels=(4,), similarity=similarity, padding="valid")
    randomize(model)
    weights = {w.path: keras.ops.convert_to_numpy(w).astype("float64") for w in model.weights}
    assert {path.partition("/")[0] for path in weights} == {
        "similarity",
        "classification",
        "logits",
    }
    compare = reference.similarity if similarity == "lp" else reference.linear_similarity
    order = {"p": 2.0} if similarity == "lp" else {}
    x = images(SHAPE).astype("float64") / 255
    maps = reference.on_patches(
        compare,
        x,
        kernel_size=(5, 5),
        strides=(1, 1),
        padding="valid",
        templates=weights["similarity/templates"],
        similarity_weights=weights["similarity/similarity_weights"],
        **order,
    )
    scores = reference.mex(maps, weights["classification/offsets"], weights["classification/beta"])
    logits = reference.global_mex_pool(scores, weights["logits/beta"])
    expected = np.exp(logits - logits.max(-1, keepdims=True))
    expected /= expected.sum(-1, keepdims=True)
    np.testing.assert_allclose(model.predict(x, verbose=0), expected, atol=1e-5)


@pytest.mark.no_backend
def test_channels_of_none_are_the_entries_of_a_patch_and_templates_are_apart():
    model = build(channels=(None, 5), templates=(7, None), kernel_size=(3, 2), local_beta=None)
    found = [tuple(w.shape) for w in model.trainable_weights if w.name in ("kernel", "templates")]
    assert found == [(3, 3, 2, 18), (1, 1, 18, 7), (2, 2, 7, 5), (1, 1, 5, 5)]


@pytest.mark.no_backend
@pytest.mark.parametrize(
    ("name", "sizes", "message"),
    [
        (
            "simnet_3layer",
            {"channels": (4,) * 4},
            r"`kernel_size` must be one value or 4.*\(5, 5, 3\)",
        ),
        ("simnet", {"channels": ()}, r"`channels` must be a sequence .* got \(\)"),
        ("simnet", {"channels": (4, 0)}, "`filters` must be an integer of at least 1, got 0"),
        ("simnet", {"similarity": "l2"}, "unknown `similarity` 'l2'"),
        ("simnet", {"p": (1.0, 0.0)}, "`p` must be a finite number above 0, got 0"),
        ("simnet", {"local_beta": (1.0, 2.0)}, "`local_beta` must be one value or 1"),
        ("simnet", {"trainable_local_beta": True}, "`local_beta` inf cannot be learned"),
        ("simnet_2layer", {"padding": "full"}, "unknown `padding` 'full'"),
        ("caffe_convnet", {"filters": (4, 4)}, "`filters` must be one value or 3"),
    ],
    ids=str,
)
def test_wrong_sizes_are_named(name, sizes, message):
    with pytest.raises(ValueError, match=message):
        build(name, **sizes)


@pytest.mark.no_backend
def test_noise_is_on_the_inputs_of_similarities_in_the_large_network_alone():
    def noisy(name):
        layers = ksn.zoo.build(name, channels=(4, 4, 4)).layers
        pairs = itertools.pairwise(layers)
        return [b.name for a, b in pairs if isinstance(a, keras.layers.GaussianDropout)]

    assert noisy("simnet_3layer") == ["similarity_1", "similarity_2", "similarity_3"]
    assert noisy("simnet_3layer_compact") == []
