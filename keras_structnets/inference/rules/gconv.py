"""Rules of the layers of GConvNets: structured channels are packed."""

import math

import numpy as np

from keras_structnets import layers
from keras_structnets.inference import nodes
from keras_structnets.inference.rules import rule
from keras_structnets.inference.rules.keras_layers import activated
from keras_structnets.inference.weights import array


@rule(layers.Structure)
def structure(layer, x):
    """Packages channels."""
    return nodes.reshape(x, layer.compute_output_shape((None, *x.shape))[1:])


@rule(layers.Destructure)
def destructure(layer, x):
    """Unpacks channels."""
    return nodes.reshape(x, layer.compute_output_shape((None, *x.shape))[1:])


@rule(layers.GConv1D, layers.GConv2D, layers.GConv3D)
def gconv(layer, x):
    """One convolution of packed channels; axes that are kept make its kernel block diagonal."""
    rank, shape = layer.rank, layer.compute_output_shape((None, *x.shape))[1:]
    structure = x.shape[rank + 1 :]
    n_kept = len(structure) - (len(structure) if layer.contract is None else layer.contract)
    kept, contracted = structure[:n_kept], structure[n_kept:]
    kernel = _packed(array(layer.kernel), rank, x.shape[rank], kept, contracted)
    bias = 0.0
    if layer.use_bias:
        bias = array(layer.bias).reshape(layer.filters, 1, -1)
        bias = np.broadcast_to(bias, (layer.filters, math.prod(kept), bias.shape[-1])).reshape(-1)
    packed = nodes.reshape(x, (*x.shape[:rank], math.prod(x.shape[rank:])))
    window = layer.strides, layer.padding, layer.dilation_rate
    y = activated(nodes.conv(packed, kernel, bias, *window, name=layer.name), layer)
    return nodes.reshape(y, shape)


def _packed(kernel, rank, n_in, kept, contracted):
    """[*k, m, *contracted reversed, f, *structure] -> [*k, m kept contracted, f kept structure]."""
    size, first = kernel.shape[:rank], rank + 1
    axes = list(range(kernel.ndim))
    last = first + len(contracted)
    kernel = kernel.transpose([*axes[:first], *axes[first:last][::-1], *axes[last:]])
    n_contracted, n_kept = math.prod(contracted), math.prod(kept)
    filters = kernel.shape[last]
    kernel = kernel.reshape(*size, n_in, 1, n_contracted, filters, 1, -1)
    same = np.eye(n_kept).reshape(n_kept, 1, 1, n_kept, 1)
    kernel = kernel * same
    return kernel.reshape(*size, n_in * n_kept * n_contracted, -1)
