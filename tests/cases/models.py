"""The models of ours: their names, and weights and images that are the same on every backend."""

import fnmatch
import zlib

import numpy as np

from keras_structnets import zoo

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
OURS = [name for name in zoo.list_models() if name not in BASELINES]
WIDER = [name for name in OURS if name.endswith(("_b", "_c"))]  # the same layers as in ..._a
EACH_FAMILY = [name for name in OURS if name not in WIDER]
LOW_COST = ("resnet", "mobilenet", "linear_mix", "explicit_rd", "implicit_rd", "circulant_rd")
SMALL = {  # each layer of the network, few channels
    "g_conv_net": {"structure": (2, 3), "skips": (2,)},
    **{f"{family}_a": {"widths": (4, 8), "n_steps": 1} for family in LOW_COST},
    "simnet_mlp": {"units": 10},
    "simnet": {"channels": (4, 6), "trainable_p": True},
    "simnet_mlpconv": {"channels": (6,)},
    "simnet_1layer_l1": {"templates": 6},
    "simnet_1layer_l2": {"templates": 6},
    "simnet_2layer": {"channels": (4, 6)},
    "caffe_convnet": {"filters": (4, 4, 6)},
    "simnet_3layer": {"channels": (4, 6, 6)},
    "nin": {"widths": ((4, 4, 4), (4, 4, 4), (4, 4))},
}


def chosen(pattern):
    """The names that match: of all networks, or with "*" of one width of each family."""
    return EACH_FAMILY if pattern == "*" else fnmatch.filter(OURS, pattern)


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
