"""The models of ours: their names, and weights and images that are the same on every backend."""

import zlib

import numpy as np

OURS = [
    "g_conv_net",
    *(
        f"{family}_{size}"
        for family in (
            "resnet",
            "mobilenet",
            "linear_mix",
            "explicit_rd",
            "implicit_rd",
            "circulant_rd",
        )
        for size in "abc"
    ),
    "simnet_mlp",
    "simnet_1layer_l1",
    "simnet_1layer_l2",
    "convnet_1layer",
    "simnet_2layer",
    "caffe_convnet",
    "simnet_3layer",
    "simnet_3layer_compact",
    "nin",
    "nin_compact",
]


def images(shape, count=2):
    """Raw pixels [count, *shape]."""
    return np.random.default_rng(0).uniform(0, 255, (count, *shape)).astype("float32")


def randomize(model):
    """Move every weight a little, by what its path and shape say: the same on each backend."""
    for weight in model.weights:
        if "seed" in weight.path:
            continue
        rng = np.random.default_rng(zlib.crc32(weight.path.encode()))
        fan_in = max(int(np.prod(weight.shape[:-1])), 1)
        value = rng.normal(0, 1 / np.sqrt(fan_in), tuple(weight.shape))
        if any(word in weight.name for word in ("variance", "weights", "gamma", "beta")):
            value = 1 + 0.1 * rng.uniform(0, 1, tuple(weight.shape))
        weight.assign(value.astype("float32"))


BASELINES = [
    "shufflenet_v2_x0_5",
    "mobilenet_v3_small",
    "mobilenet_v2",
    "regnet_y_400mf",
    "regnet_y_800mf",
    "efficientnet_b0",
    "efficientnet_b1",
    "efficientnet_b2",
    "resnet18",
    "resnet34",
    "convnext_tiny",
    "convnext_small",
]
