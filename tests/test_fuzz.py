"""Wrong calls end in a ValueError or a TypeError; `make fuzz` makes more of them."""

import keras
import numpy as np
import pytest

import keras_structnets as ksn
from tests.fuzz import calls

KERNEL = np.ones((3, 3, 3), "float32")
IMAGE = np.ones((2, 5, 5, 3), "float32")


@pytest.mark.parametrize("call", calls.valid_calls(), ids=lambda call: f"{call.module}.{call.name}")
def test_what_wrong_calls_are_made_of_is_valid(call):
    call.run(**call.arguments)


@pytest.mark.parametrize(("module", "count"), [("ops", 300), ("layers", 300), ("blocks", 150)])
def test_a_wrong_call_ends_in_a_value_error_or_a_type_error(module, count):
    found = list(calls.outcomes(0, count, module))
    assert all(end in calls.GOOD for _, _, end in found), calls.table(found)
    assert sum(end == "ValueError" for _, _, end in found) > count / 2


VECTORS, TEMPLATES = np.ones((2, 3), "float32"), np.ones((3, 4), "float32")


@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("weights", lambda: ksn.ops.lp_similarity(VECTORS, TEMPLATES, np.ones((3, 5)), p=1.5)),
        ("templates", lambda: ksn.ops.lp_similarity(VECTORS[:, :1], TEMPLATES, p=1.5)),
        ("templates", lambda: ksn.ops.linear_similarity(VECTORS[:, :1], TEMPLATES)),
        ("offsets", lambda: ksn.ops.mex(VECTORS[:, :1], TEMPLATES)),
        ("beta", lambda: ksn.ops.mex(VECTORS, beta=float("nan"))),
        ("beta", lambda: ksn.ops.mex_pool(IMAGE, 2, beta=np.ones(3))),
        ("kernel", lambda: ksn.ops.depthwise_conv(IMAGE, KERNEL[..., :1])),
        ("kernel", lambda: ksn.ops.depthwise_adjoint(IMAGE, KERNEL[..., :1])),
        ("kernel", lambda: ksn.ops.implicit_diffusion(IMAGE, KERNEL[..., :1], 0.5)),
        ("kernel", lambda: ksn.ops.circulant_conv(IMAGE, KERNEL[..., :1])),
        ("pointwise_kernel", lambda: ksn.ops.linear_mix_conv(IMAGE, KERNEL, KERNEL[0, :, :1])),
        ("step_size", lambda: ksn.ops.explicit_diffusion(IMAGE, KERNEL, float("nan"))),
        ("step_size", lambda: ksn.ops.implicit_diffusion(IMAGE, KERNEL, float("nan"))),
        ("step_size", lambda: ksn.ops.circulant_diffusion(IMAGE, KERNEL, -1.0)),
        ("filters", lambda: ksn.blocks.opening_layer(keras.Input((8, 8, 3)), filters=0)),
        ("filters", lambda: ksn.blocks.whitened_similarity(keras.Input((8, 8, 3)), 0, 3)),
        ("noise", lambda: ksn.blocks.whitened_similarity(keras.Input((8, 8, 3)), 4, 3, noise=-1)),
        ("name", lambda: ksn.zoo.register(None, paper="", summary="")),
        ("head", lambda: ksn.zoo.register("tiny", paper="", summary="", head=None)),
        ("model", lambda: ksn.zoo.flops(None)),
        (
            "sizes",
            lambda: ksn.training.Recipe("simnet_mlp", sizes={"classifier_activation": None}),
        ),
    ],
)
def test_a_wrong_value_is_refused_by_name(name, call):
    with pytest.raises(ValueError, match=f"`{name}`"):
        call()
