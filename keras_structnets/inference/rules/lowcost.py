"""Rules of the layers with few parameters: native depthwise and 1x1 convolutions."""

import numpy as np

from keras_structnets import layers
from keras_structnets.inference import nodes
from keras_structnets.inference.rules import rule
from keras_structnets.inference.rules.keras_layers import activated
from keras_structnets.inference.weights import array


def stencil(x, kernel, padding, name=None, mirrored=False):
    """`K x`, or its adjoint if `mirrored`: the kernel is flipped beforehand."""
    centers = [_center(k, padding) for k in kernel.shape[:-1]]
    border = [(c, k - 1 - c) for c, k in zip(centers, kernel.shape[:-1], strict=True)]
    if mirrored:
        border = [(after, before) for before, after in border]
        kernel = kernel[(slice(None, None, -1),) * len(border)]
    if padding == "periodic":
        return nodes.depthwise(nodes.wrapped(x, border), kernel, None, name)
    return nodes.depthwise(x, kernel, border, name)


@rule(layers.StencilConv1D, layers.StencilConv2D, layers.StencilConv3D)
def stencil_conv(layer, x):
    """A depthwise convolution."""
    return stencil(x, array(layer.kernel), layer.padding, layer.name)


@rule(layers.LinearMixConv1D, layers.LinearMixConv2D, layers.LinearMixConv3D)
def linear_mix(layer, x):
    """A depthwise and a 1x1 convolution; one dense convolution where they do not keep the shape."""
    stencils, matrix = array(layer.depthwise_kernel), array(layer.pointwise_kernel)
    bias, name = array(layer.bias) if layer.use_bias else 0.0, layer.name
    keeps_sizes = layer.padding != "valid" and max(*layer.strides, *layer.dilation_rate) == 1
    if keeps_sizes and stencils.shape[-1] == x.shape[-1]:
        within = stencil(x, stencils, layer.padding, f"{name}_depthwise")
        between = nodes.pointwise(x, matrix, bias, f"{name}_pointwise")
        return activated(nodes.add(within, between, name), layer)
    filters = np.arange(matrix.shape[-1])
    kernel = np.zeros((*layer.kernel_size, *matrix.shape))
    kernel[..., filters % x.shape[-1], filters] = stencils
    centers = tuple(_center(k, layer.padding) for k in layer.kernel_size)
    kernel[centers] += matrix
    window = layer.strides, layer.dilation_rate
    return activated(_dense(x, kernel, bias, layer.padding, *window, name), layer)


@rule(layers.CirculantConv1D, layers.CirculantConv2D, layers.CirculantConv3D)
def circulant_conv(layer, x):
    """A dense convolution whose kernel depends on the difference of the channels."""
    channels = np.arange(x.shape[-1])
    kernel = array(layer.kernel)[..., (channels[:, None] - channels) % len(channels)]
    bias = array(layer.bias) if layer.use_bias else 0.0
    return activated(_dense(x, kernel, bias, layer.padding, 1, 1, layer.name), layer)


def _dense(x, kernel, bias, padding, strides, dilation, name):
    """A convolution; a periodic image is continued first."""
    if padding == "periodic":
        size = kernel.shape[:-2]
        steps = (dilation,) * len(size) if isinstance(dilation, int) else dilation
        centers = [_center(k, padding) for k in size]
        axes = zip(centers, size, steps, strict=True)
        x, padding = nodes.wrapped(x, [(c * d, (k - 1 - c) * d) for c, k, d in axes]), "valid"
    return nodes.conv(x, kernel, bias, strides, padding, dilation, name=name)


def _center(size, padding):
    return size // 2 if padding == "periodic" else (size - 1) // 2
