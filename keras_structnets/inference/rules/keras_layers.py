"""Rules of layers and operations of Keras that take part in folding, or do nothing in inference."""

import itertools

import keras
import numpy as np
from keras import layers

from keras_structnets.inference import nodes
from keras_structnets.inference.rules import rule
from keras_structnets.inference.weights import array, floats
from keras_structnets.layers import BatchNormalization

_NO_BIAS = 0.0


@rule(
    layers.ActivityRegularization,
    layers.AlphaDropout,
    layers.Dropout,
    layers.GaussianDropout,
    layers.GaussianNoise,
    layers.Identity,
    layers.SpatialDropout1D,
    layers.SpatialDropout2D,
    layers.SpatialDropout3D,
)
def identity(layer, x, **_):
    """What only acts in training."""
    return x


@rule(layers.Conv1D, layers.Conv2D, layers.Conv3D)
def convolution(layer, x):
    """A convolution and its activation."""
    if layer.data_format != "channels_last" or layer.padding not in ("valid", "same"):
        return None
    bias = array(layer.bias) if layer.use_bias else _NO_BIAS
    window = layer.strides, layer.padding, layer.dilation_rate, layer.groups
    return activated(nodes.conv(floats(x), array(layer.kernel), bias, *window, layer.name), layer)


@rule(layers.DepthwiseConv1D, layers.DepthwiseConv2D)
def depthwise_convolution(layer, x):
    """A depthwise convolution that keeps the number of channels, without strides."""
    is_plain = {*layer.strides, *layer.dilation_rate, layer.depth_multiplier} == {1}
    if layer.data_format != "channels_last" or not is_plain:
        return None
    kernel = array(layer.kernel)[..., 0]
    sizes = [k - 1 for k in kernel.shape[:-1]]
    border = [(n // 2, n - n // 2) for n in sizes] if layer.padding == "same" else None
    y = nodes.depthwise(floats(x), kernel, border, layer.name)
    y.bias = array(layer.bias) if layer.use_bias else _NO_BIAS
    return activated(y, layer)


@rule(layers.Dense)
def dense(layer, x):
    """A product with a matrix."""
    if getattr(layer, "quantization_mode", None):
        return None
    bias = array(layer.bias) if layer.use_bias else _NO_BIAS
    return activated(nodes.conv(floats(x), array(layer.kernel), bias, name=layer.name), layer)


@rule(layers.BatchNormalization, BatchNormalization)
def batch_normalization(layer, x, **_):
    """One factor and one offset for each channel."""
    if layer.axis not in (-1, len(x.shape)):
        return None
    scale = 1 / np.sqrt(array(layer.moving_variance) + layer.epsilon)
    scale = scale * array(layer.gamma) if layer.scale else scale
    offset = -array(layer.moving_mean) * scale
    offset = offset + array(layer.beta) if layer.center else offset
    return nodes.affine(floats(x), scale, offset, layer.name)


@rule(layers.Rescaling)
def rescaling(layer, x):
    """A factor and an offset."""
    return nodes.affine(floats(x), layer.scale, layer.offset, layer.name)


@rule(layers.ReLU)
def relu(layer, x):
    """The positive part, if it is no other ReLU."""
    plain = layer.max_value is None and layer.negative_slope == 0 and layer.threshold == 0
    return nodes.relu(floats(x), layer.name) if plain else None


@rule(layers.Activation)
def activation(layer, x):
    """An activation by name."""
    return activated(x, layer)


@rule(layers.PReLU)
def prelu(layer, x):
    """A slope for each entry, below a change of shape."""
    if not isinstance(x, nodes.Reshape):
        return None
    (inner,) = x.inputs
    equal = itertools.takewhile(
        lambda sizes: sizes[0] == sizes[1], zip(x.shape, inner.shape, strict=False)
    )
    common = len(list(equal))
    shared = [axis for axis in layer.shared_axes or () if axis <= common]
    sizes = [1 if i in shared else n for i, n in enumerate(x.shape, 1)]
    slopes = np.broadcast_to(array(layer.alpha), sizes)
    slopes = slopes.reshape([1 if i in shared else n for i, n in enumerate(inner.shape, 1)])
    plain = layers.PReLU(shared_axes=shared or None)
    y = nodes.call(plain, inner, shape=inner.shape, name=layer.name, weights=[slopes])
    return nodes.reshape(y, x.shape)


@rule(layers.Add)
def sum_of(layer, inputs):
    """A sum of tensors of one shape."""
    if len({x.shape for x in inputs}) > 1:
        return None
    total = floats(inputs[0])
    for i, x in enumerate(inputs[1:], 2):
        total = nodes.add(total, floats(x), layer.name if i == len(inputs) else None)
    return total


@rule(layers.Reshape, layers.Flatten)
def reshaped(layer, x):
    """A change of shape."""
    shape = layer.compute_output_shape((None, *x.shape))[1:]
    return None if None in (*shape, *x.shape) else nodes.reshape(x, shape)


def operation(name, args):
    """A sum of tensors, or a product or a sum with numbers, that was written `x + y`; else None."""
    tensors = [x for x in args if isinstance(x, nodes.Node)]
    if name == "Add" and len(tensors) == 2 and tensors[0].shape == tensors[1].shape:
        return nodes.add(*map(floats, tensors))
    if len(tensors) != 1 or len(args) != 2:
        return None
    (x,), (number,) = tensors, [y for y in args if y is not tensors[0]]
    if not isinstance(number, int | float) or isinstance(number, bool):
        return None
    if name == "Multiply":
        return nodes.affine(floats(x), number)
    if name == "Add":
        return nodes.affine(floats(x), 1.0, number)
    if name == "Subtract":
        return (
            nodes.affine(floats(x), 1.0, -number)
            if args[0] is x
            else nodes.affine(floats(x), -1.0, number)
        )
    return None


def activated(x, layer):
    """The `activation` of a layer, on `x`."""
    if layer.activation is keras.activations.linear:
        return x
    if layer.activation is keras.activations.relu:
        return nodes.relu(x, None if x.name == layer.name else layer.name)
    name = f"{layer.name}_activation" if x.name == layer.name else layer.name
    act = layers.Activation(layer.activation, dtype="float32")
    return nodes.call(act, x, shape=x.shape, name=name)
