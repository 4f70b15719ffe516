"""A Keras model of the nodes of a graph."""

import keras
import numpy as np

from keras_structnets.inference import nodes

_OPTIONS = {"trainable": False, "dtype": "float32"}


def model_of(inputs, outputs, name):
    """A `keras.Model` from the structure `inputs` to the structure `outputs`, both of nodes."""
    names, layers = _Names(), {}
    tensors = {}
    for node in keras.tree.flatten(inputs):
        tensors[node] = keras.Input(node.shape, node.batch_size, node.dtype, name=names(node.name))
    for node in nodes.ordered(keras.tree.flatten(outputs)):
        if node not in tensors:
            tensors[node] = _tensor(node, [tensors[x] for x in node.inputs], names, layers)
    structures = [keras.tree.map_structure(tensors.get, part) for part in (inputs, outputs)]
    model = keras.Model(*structures, name=name)
    model.trainable = False
    return model


class _Names:
    """Names that are taken once each."""

    def __init__(self):
        self.taken = set()

    def __call__(self, wanted):
        if wanted is None:
            return None
        name, i = wanted, 0
        while name in self.taken:
            i += 1
            name = f"{wanted}_{i}"
        self.taken.add(name)
        return name


def _tensor(node, inputs, names, layers):
    """What `node` makes of its inputs."""
    if isinstance(node, nodes.Item):
        return inputs[0][node.index]
    if isinstance(node, nodes.Call):
        return _called(node, inputs, names, layers)
    make, weights = _LAYERS[type(node)](node)
    layer = make(name=names(node.name), **_OPTIONS)
    y = layer(inputs[0] if len(inputs) == 1 else inputs)
    layer.set_weights(weights)
    return y


def _called(node, inputs, names, layers):
    def filled(leaf):
        return inputs[leaf.index] if isinstance(leaf, nodes.Place) else leaf

    args, kwargs = keras.tree.map_structure(filled, node.arguments, none_is_leaf=True)
    original = node.operation
    if not isinstance(original, keras.layers.Layer):
        outputs = original(*args, **kwargs)
    else:
        if original not in layers:
            layers[original] = type(original).from_config(_config(original, node, names))
        layer, is_new = layers[original], not layers[original].built
        outputs = layer(*args, **kwargs)
        weights = original.get_weights() if node.weights is None else node.weights
        if node.weights is not None or is_new:
            layer.set_weights(weights)
    return keras.tree.flatten(outputs) if isinstance(outputs, list | tuple | dict) else outputs


def _config(layer, node, names):
    config = (
        layer.get_config() | {"trainable": False} | ({"dtype": "float32"} if node.is_new else {})
    )
    return config | {"name": names(node.name) or names(config["name"])}


def _conv(node):
    rank = node.kernel.ndim - 2
    bias = np.broadcast_to(node.bias, node.kernel.shape[-1:])
    use_bias = bool(np.any(bias))
    weights = [node.kernel, bias] if use_bias else [node.kernel]
    units = node.kernel.shape[-1]
    if not rank:
        return _partial(keras.layers.Dense, units, use_bias=use_bias), weights
    layer = getattr(keras.layers, f"Conv{rank}D")
    size = node.kernel.shape[:-2]
    return _partial(layer, units, size, use_bias=use_bias, **node.options), weights


def _depthwise(node):
    rank, channels = node.kernel.ndim - 1, node.kernel.shape[-1]
    if rank == 3:  # Keras has none: a convolution whose kernel is diagonal in the channels
        kernel = node.kernel[..., None] * np.eye(channels)
        options = {"padding": node.padding}
        return _conv(
            nodes.Conv(node.inputs, node.shape, kernel=kernel, bias=node.bias, options=options)
        )
    bias = np.broadcast_to(node.bias, (channels,))
    use_bias = bool(np.any(bias))
    layer = getattr(keras.layers, f"DepthwiseConv{rank}D")
    make = _partial(layer, node.kernel.shape[:-1], padding=node.padding, use_bias=use_bias)
    kernel = node.kernel[..., None]
    return make, [kernel, bias] if use_bias else [kernel]


def _affine(node):
    scale, offset = node.scale.tolist(), node.offset.tolist()
    return _partial(keras.layers.Rescaling, scale, offset), []


def _partial(layer, *args, **kwargs):
    return lambda **options: layer(*args, **kwargs, **options)


_LAYERS = {
    nodes.Conv: _conv,
    nodes.Depthwise: _depthwise,
    nodes.Affine: _affine,
    nodes.Add: lambda node: (keras.layers.Add, []),
    nodes.Relu: lambda node: (keras.layers.ReLU, []),
    nodes.Reshape: lambda node: (_partial(keras.layers.Reshape, node.shape), []),
}
