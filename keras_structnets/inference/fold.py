"""Factors and offsets of channels, folded into the weights before them."""

import collections

import keras
import numpy as np

from keras_structnets.inference import nodes
from keras_structnets.inference.nodes import Add, Affine, Call, Conv, Depthwise, Relu

_MAXIMA = tuple(getattr(keras.layers, f"MaxPooling{rank}D") for rank in (1, 2, 3))
_MEANS = tuple(getattr(keras.layers, f"AveragePooling{rank}D") for rank in (1, 2, 3))


def folded(outputs):
    """`outputs` without the `Affine` nodes that a node before them can take over.

    A node takes over what follows it if nothing else needs its value.
    """
    order = nodes.ordered(outputs)
    uses = collections.Counter(x for node in order for x in node.inputs)
    uses.update(outputs)
    replaced: dict = {}
    for node in order:
        node.inputs = [replaced.get(x, x) for x in node.inputs]
        if not isinstance(node, Affine) or not _is_per_channel(node):
            continue
        (x,) = node.inputs
        if uses[x] == 1 and _absorbs(x, node.scale, node.offset, uses):
            _absorb(x, node.scale, node.offset)
            replaced[node] = x
            uses[x] = uses[node]
        elif np.all(node.scale == 1) and np.all(node.offset == 0):
            replaced[node] = x
            uses[x] += uses[node] - 1
    return [replaced.get(node, node) for node in outputs]


def _is_per_channel(node):
    return all(part.shape in ((), (1,), node.shape[-1:]) for part in (node.scale, node.offset))


def _absorbs(x, scale, offset, uses):
    """Whether `scale x + offset` can be had by other weights in the nodes up to `x`."""
    if isinstance(x, Conv | Depthwise):
        return True
    if isinstance(x, Affine):
        return _is_per_channel(x)
    has_factor_alone = np.all(scale >= 0) and np.all(offset == 0)
    increases = np.all(scale >= 0) and _pools(x, _MAXIMA)
    if isinstance(x, Add):
        offsets = [offset, *[0.0] * (len(x.inputs) - 1)]
        parts = zip(x.inputs, offsets, strict=True)
        distinct = len(set(x.inputs)) == len(x.inputs)
        return distinct and all(uses[y] == 1 and _absorbs(y, scale, b, uses) for y, b in parts)
    if (isinstance(x, Relu) and has_factor_alone) or increases or _pools(x, _MEANS):
        return uses[x.inputs[0]] == 1 and _absorbs(x.inputs[0], scale, offset, uses)
    return False


def _pools(x, kinds):
    """Whether `x` is a pooling of one of the `kinds`, each channel by itself and without a border."""
    if not isinstance(x, Call) or not isinstance(x.operation, kinds):
        return False
    pooling = x.operation
    if pooling.data_format != "channels_last":
        return False
    return pooling.padding == "valid" or isinstance(pooling, _MAXIMA)


def _absorb(x, scale, offset):
    if isinstance(x, Conv | Depthwise):
        x.kernel, x.bias = x.kernel * scale, x.bias * scale + offset
    elif isinstance(x, Affine):
        x.scale, x.offset = x.scale * scale, x.offset * scale + offset
    else:
        for y, b in zip(x.inputs, [offset, *[0.0] * (len(x.inputs) - 1)], strict=True):
            _absorb(y, scale, b)
