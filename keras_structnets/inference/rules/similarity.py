"""Rules of the similarities: convolutions for linear and squared ones, other orders by template."""

import keras

from keras_structnets import layers
from keras_structnets.inference import nodes
from keras_structnets.inference.plain import SimilarityOfOrder
from keras_structnets.inference.rules import rule
from keras_structnets.inference.weights import array
from keras_structnets.ops.windows import same_padding


@rule(
    layers.LinearSimilarity,
    layers.LinearSimilarity1D,
    layers.LinearSimilarity2D,
    layers.LinearSimilarity3D,
)
def linear_similarity(layer, x):
    """A convolution with the templates times their weights."""
    z, u = _templates(layer)
    return _convolved(x, z * u, layer, name=layer.name)


@rule(layers.Similarity, layers.Similarity1D, layers.Similarity2D, layers.Similarity3D)
def similarity(layer, x):
    """`2 u z * x - u * x^2 - sum u z^2`, about the mean of the templates, for order 2."""
    (z, u), p, name = _templates(layer), float(array(layer.p)), layer.name
    if p != 2:
        window = _window(layer)
        operation = SimilarityOfOrder(p, z.shape, **window, name=name)
        shape = layer.compute_output_shape((None, *x.shape))[1:]
        return nodes.call(operation, x, shape=shape, name=name, weights=[z, u])
    centre = z.mean(axis=(*range(z.ndim - 2), -1))  # of each channel
    x, z = nodes.affine(_bordered(x, layer), offset=-centre), z - centre[:, None]
    constant = -(u * z * z).sum(axis=tuple(range(z.ndim - 1)))
    square = nodes.call(keras.layers.Multiply(), [x, x], shape=x.shape, name=f"{name}_square")
    product = _convolved(x, 2 * u * z, layer, constant, "valid", f"{name}_product")
    return nodes.add(product, _convolved(square, -u, layer, 0.0, "valid", f"{name}_norm"), name)


def _templates(layer):
    z = array(layer.templates)
    return z, 1.0 + 0 * z if layer.similarity_weights is None else array(layer.similarity_weights)


def _window(layer):
    if not hasattr(layer, "kernel_size"):
        return {}
    names = ("strides", "padding", "dilation_rate")
    return {name: getattr(layer, name) for name in names}


def _bordered(x, layer):
    """`x` with the border of zeros that "same" asks for."""
    if getattr(layer, "padding", "valid") == "valid":
        return x
    reach = [(k - 1) * d + 1 for k, d in zip(layer.kernel_size, layer.dilation_rate, strict=True)]
    axes = zip(x.shape[:-1], reach, layer.strides, strict=True)
    return nodes.zero_padding(x, [same_padding(*axis) for axis in axes])


def _convolved(x, kernel, layer, bias=0.0, padding=None, name=None):
    if not hasattr(layer, "kernel_size"):
        return nodes.pointwise(x, kernel, bias, name)
    window = layer.strides, padding or layer.padding, layer.dilation_rate
    return nodes.conv(x, kernel, bias, *window, name=name)
