"""Rules of the MEX layers. How a sum of exponentials is computed depends on beta and the offsets alone."""

import math

import keras
import numpy as np

from keras_structnets import layers
from keras_structnets.inference import nodes
from keras_structnets.inference.log_mean_exp import SMALL, constants_of_products
from keras_structnets.inference.plain import (
    LogMeanExp,
    MEXByProducts,
    MEXOfEach,
    MEXPoolingByWindows,
)
from keras_structnets.inference.rules import rule
from keras_structnets.inference.weights import array
from keras_structnets.ops.mex import placed_offsets
from keras_structnets.ops.windows import same_padding

_SAFE = (
    60.0  # range of beta * offsets up to which products of exponentials neither overflow nor vanish
)
NEARLY_0 = 1e-20  # beta at which MEX is the mean in float32
_POOLS = (layers.MEXPooling1D, layers.MEXPooling2D, layers.MEXPooling3D)
_GLOBAL_POOLS = (layers.GlobalMEXPooling1D, layers.GlobalMEXPooling2D, layers.GlobalMEXPooling3D)


@rule(layers.MEX)
def mex(layer, x):
    """A mean, a product of matrices, or one sum for each output."""
    beta, n = _beta(layer), x.shape[-1]
    if beta == 0:
        bias = 0.0 if layer.offsets is None else array(layer.offsets).mean(axis=0)
        return nodes.pointwise(x, np.full((n, layer.units), 1 / n), bias, layer.name)
    shape = (*x.shape[:-1], layer.units)
    if layer.offsets is None:
        operation = LogMeanExp(beta, copies=layer.units, name=layer.name)
        return nodes.call(operation, x, shape=shape, name=layer.name)
    offsets = array(layer.offsets)
    spread = abs(beta) * np.ptp(offsets, axis=0).max()
    if spread > _SAFE:
        operation = MEXOfEach(beta, offsets.shape, name=layer.name)
        return nodes.call(operation, x, shape=shape, name=layer.name, weights=[offsets])
    operation = MEXByProducts(beta, offsets.shape, bool(spread <= SMALL), name=layer.name)
    weights = list(constants_of_products(offsets, beta, operation.with_near).values())
    return nodes.call(operation, x, shape=shape, name=layer.name, weights=weights)


@rule(*_POOLS)
def mex_pooling(layer, x):
    """Maxima, means, or a sum of exponentials over windows."""
    beta, shape = _beta(layer), layer.compute_output_shape((None, *x.shape))[1:]
    window = {"pool_size": layer.pool_size, "strides": layer.strides, "padding": layer.padding}
    if layer.use_offsets:
        regions = layer.shared_region, layer.unshared_region
        placed = keras.ops.convert_to_numpy(placed_offsets(layer.offsets, shape[:-1], *regions))
        operation = MEXPoolingByWindows(
            beta or NEARLY_0, **window, offsets_shape=placed.shape, name=layer.name
        )
        return nodes.call(operation, x, shape=shape, name=layer.name, weights=[placed])
    if beta == 0:
        return _mean_pooling(layer, x, shape)
    if math.isinf(beta):
        operation = getattr(keras.layers, f"MaxPooling{layer.rank}D")(**window)
        return _maximum(x, beta, operation, shape, layer.name)
    operation = MEXPoolingByWindows(beta, **window, name=layer.name)
    return nodes.call(operation, x, shape=shape, name=layer.name)


@rule(*_GLOBAL_POOLS)
def global_mex_pooling(layer, x):
    """The maximum, the mean, or a sum of exponentials over all positions."""
    beta, shape = _beta(layer), layer.compute_output_shape((None, *x.shape))[1:]
    if beta == 0:
        operation = getattr(keras.layers, f"GlobalAveragePooling{layer.rank}D")(
            keepdims=layer.keepdims
        )
        return nodes.call(operation, x, shape=shape, name=layer.name)
    if math.isinf(beta):
        operation = getattr(keras.layers, f"GlobalMaxPooling{layer.rank}D")(keepdims=layer.keepdims)
        return _maximum(x, beta, operation, shape, layer.name)
    positions = nodes.reshape(x, (math.prod(x.shape[:-1]), x.shape[-1]))
    operation = LogMeanExp(beta, axis=1, name=layer.name)
    y = nodes.call(operation, positions, shape=(x.shape[-1],), name=layer.name)
    return nodes.reshape(y, shape)


def _beta(layer):
    """beta, as 0 where MEX is the mean in float32."""
    beta = float(array(layer.beta))
    return beta if abs(beta) > NEARLY_0 else 0.0


def _maximum(x, beta, operation, shape, name):
    """Pooling by maxima for beta of plus infinity, by minima for minus infinity."""
    x = x if beta > 0 else nodes.affine(x, -1.0)
    y = nodes.call(operation, x, shape=shape, name=name)
    return y if beta > 0 else nodes.affine(y, -1.0)


def _mean_pooling(layer, x, shape):
    """Means over the entries inside the image: a border of zeros, and a factor for each position."""
    operation = getattr(keras.layers, f"AveragePooling{layer.rank}D")(
        layer.pool_size, layer.strides
    )
    if layer.padding == "valid":
        return nodes.call(operation, x, shape=shape, name=layer.name)
    sizes = list(zip(x.shape[:-1], layer.pool_size, layer.strides, strict=True))
    border = [same_padding(*size) for size in sizes]
    padded = nodes.zero_padding(x, border)
    y = nodes.call(operation, padded, shape=shape, name=layer.name)
    if padded is x:
        return y
    counts = [_entries_inside(*size) for size in sizes]
    share = math.prod(layer.pool_size) / math.prod(np.meshgrid(*counts, indexing="ij"))
    return nodes.affine(y, share[..., None])


def _entries_inside(n, window, stride):
    """How many entries of each window along one axis lie in the image."""
    before, _ = same_padding(n, window, stride)
    starts = np.arange(-(-n // stride)) * stride - before
    return np.minimum(starts + window, n) - np.maximum(starts, 0)
