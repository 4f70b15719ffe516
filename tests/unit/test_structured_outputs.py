"""The margin loss, the structured head of GConvNets, and a structure for each block."""

import keras
import numpy as np
import pytest

import keras_structnets as ksn
from tests.cases.models import images
from tests.reference import gconv as reference

LABELS = np.array([0, 2, 1, 2])
LENGTHS = np.random.default_rng(0).uniform(0.02, 0.98, (4, 3)).astype("float32")
SMALL = {"input_shape": (16, 16, 3), "skips": (1, 1), "channels": 2, "structure": (2, 3)}


def numpy(x):
    return keras.ops.convert_to_numpy(x)


@pytest.mark.parametrize("given", [LABELS, LABELS[:, None], np.eye(3)[LABELS]], ids=np.ndim)
def test_the_loss_is_the_papers(given):
    expected = reference.margin_loss(LABELS, LENGTHS.astype("float64"))
    found = ksn.losses.MarginLoss(reduction=None)(given, LENGTHS)
    np.testing.assert_allclose(numpy(found), expected, rtol=1e-5)
    mean = float(ksn.losses.MarginLoss()(given, LENGTHS))
    assert mean == pytest.approx(expected.mean(), rel=1e-5)


def test_margins_and_weight_enter_and_logits_are_squashed():
    logits = np.log(LENGTHS / (1 - LENGTHS))
    loss = ksn.losses.MarginLoss(0.7, 0.3, 0.2, from_logits=True)
    expected = reference.margin_loss(LABELS, LENGTHS.astype("float64"), 0.7, 0.3, 0.2).mean()
    assert float(loss(LABELS, logits)) == pytest.approx(expected, rel=1e-4)


def test_its_gradient_is_that_of_the_reference():
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, use_bias=False)])
    model.set_weights([LENGTHS])
    model.compile(keras.optimizers.SGD(1.0), ksn.losses.MarginLoss(reduction="sum"))
    model.train_on_batch(np.eye(4, dtype="float32"), LABELS)
    found, step = LENGTHS - model.get_weights()[0], 1e-6
    for i in np.ndindex(LENGTHS.shape):
        moved = [LENGTHS.astype("float64") for _ in range(2)]
        for values, sign in zip(moved, (1, -1), strict=True):
            values[i] += sign * step
        up, down = (reference.margin_loss(LABELS, values).sum() for values in moved)
        assert found[i] == pytest.approx((up - down) / (2 * step), abs=1e-5)


@pytest.mark.parametrize("name", ["present_margin", "absent_margin", "absent_weight"])
def test_a_wrong_number_is_named(name):
    with pytest.raises(ValueError, match=f"`{name}` must be a finite number above 0, got -1"):
        ksn.losses.MarginLoss(**{name: -1})


def test_logits_are_logarithms_of_squared_lengths():
    x = np.random.default_rng(1).normal(size=(2, 3, 2, 2, 2, 3)).astype("float32")
    inputs = keras.Input(x.shape[1:])
    model = keras.Model(inputs, ksn.blocks.structured_classifier(inputs, 4))
    expected = reference.structured_classifier(x, model.get_weights()[0])
    np.testing.assert_allclose(model.predict(x, verbose=0), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.no_backend
def test_the_structured_head_has_the_weights_of_a_dense_layer():
    square = SMALL | {"structure": (3, 3)}
    dense, structured = (
        ksn.zoo.build("g_conv_net", head=h, **square) for h in ("dense", "structured")
    )
    assert structured.count_params() == dense.count_params() - 10  # the bias
    assert ksn.zoo.flops(structured).total > 0
    with pytest.raises(ValueError, match="unknown `head` 'capsule'"):
        ksn.zoo.build("g_conv_net", head="capsule", **SMALL)


def test_a_structured_network_trains_and_comes_back_from_a_file(tmp_path):
    keras.utils.set_random_seed(0)
    model = ksn.zoo.build(
        "g_conv_net", head="structured", num_classes=3, classifier_activation="sigmoid", **SMALL
    )
    loss = ksn.losses.MarginLoss(absent_weight=0.4)
    model.compile(keras.optimizers.Adam(0.01), loss, metrics=["accuracy"])
    x = images((16, 16, 3), 4)
    losses = model.fit(x, LABELS, epochs=6, verbose=0).history["loss"]
    assert losses[-1] < losses[0]
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert loaded.loss.get_config() == loss.get_config()
    expected = model.evaluate(x, LABELS, verbose=0)
    np.testing.assert_allclose(loaded.evaluate(x, LABELS, verbose=0), expected, atol=1e-5)


@pytest.mark.no_backend
def test_each_block_has_a_structure_of_its_own():
    sizes = SMALL | {"structure": ((4,), (2, 3), (5, 1))}
    model = ksn.zoo.build("g_conv_net", **sizes)
    structures = [
        model.get_layer(n).structure for n in ("block1_convolution1", "block2_convolution2")
    ]
    assert structures == [(4,), (2, 3)]
    assert model.get_layer("destructure").output.shape == (None, 4, 4, 2 * 5)
    assert ksn.zoo.build("g_conv_net", head="structured", **sizes).output_shape == (None, 10)
    with pytest.raises(ValueError, match="one structure, or 3 of them for 2 blocks"):
        ksn.zoo.build("g_conv_net", **SMALL | {"structure": ((4,), (2, 3))})
