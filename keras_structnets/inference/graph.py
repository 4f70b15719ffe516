"""What a model computes, as one function of the nodes of its inference form."""

import collections
import functools
from collections.abc import Callable

import keras
import numpy as np
from keras import layers, ops

from keras_structnets.inference import nodes
from keras_structnets.inference.form import folded_nodes
from keras_structnets.inference.plain import Plain, SpectralFilter
from keras_structnets.ops import kernels

# nodes whose tensors are no views: the only node that takes such a tensor may overwrite it
_FRESH = (nodes.Conv, nodes.Depthwise, nodes.Affine, nodes.Add, nodes.Relu)
_MAXIMA = (layers.MaxPooling1D, layers.MaxPooling2D, layers.MaxPooling3D)
_MEANS = (layers.AveragePooling1D, layers.AveragePooling2D, layers.AveragePooling3D)
_ZERO_PADDINGS = (layers.ZeroPadding1D, layers.ZeroPadding2D, layers.ZeroPadding3D)
_POOLS = (*_MAXIMA, *_MEANS)


def graph(model: keras.Model) -> Callable:
    """What `model`, of one input and one output, computes from a batch, as a function of a tensor.

    Its weights are a snapshot.
    """
    inputs, outputs = folded_nodes(model)
    (given,), (wanted,) = keras.tree.flatten(inputs), keras.tree.flatten(outputs)
    order = [node for node in nodes.ordered([wanted]) if node is not given]
    last = {x: node for node in order for x in node.inputs}  # the last node that takes x
    uses = collections.Counter(x for node in order for x in node.inputs)
    free = {x for x, n in uses.items() if n == 1 and isinstance(x, _FRESH)}
    steps, constants = [], []
    for node in order:
        function, values = _FUNCTIONS[type(node)](node, free)
        steps.append((node, function, [x for x in {*node.inputs} if last[x] is node]))
        constants.append([_constant(value) for value in values])

    def run(constants, x):
        tensors = {given: x}
        for (node, function, done), values in zip(steps, constants, strict=True):
            tensors[node] = function(*map(tensors.get, node.inputs), *values)
            for x in done:
                del tensors[x]
        return tensors[wanted]

    return kernels.select("inference")(run, constants, model.inputs[0])


def _constant(value):
    """An array in NumPy, or a tensor; weights that are float64 become float32."""
    is_double = isinstance(value, np.ndarray | np.generic) and value.dtype == "float64"
    return value.astype("float32") if is_double else value


def stateless(model):
    """What `model` computes, as a pure function, its weights as arrays."""
    weights = [
        [ops.convert_to_numpy(variable) for variable in variables]
        for variables in (model.trainable_variables, model.non_trainable_variables)
    ]
    return lambda x: model.stateless_call(*weights, x, training=False)[0]


def _conv(node, free):
    sizes = node.inputs[0].shape[:-1]
    return kernels.select("constant_conv")(sizes, node.kernel, node.bias, **node.options)


def _depthwise(node, free):
    sizes = node.inputs[0].shape[:-1]
    function, constants = kernels.select("constant_depthwise")(
        sizes, node.kernel, node.bias, node.padding
    )

    def depthwise(*tensors):
        y = function(*tensors)
        return kernels.select("stop_fusion", y)(y)

    return depthwise, constants


def _affine(node, free):
    operation = functools.partial(kernels.select("affine"), may_overwrite=node.inputs[0] in free)
    return operation, [node.scale, node.offset]


def _add(node, free):
    may_overwrite = [x in free for x in node.inputs]
    return functools.partial(kernels.select("add"), may_overwrite=may_overwrite), []


def _relu(node, free):
    return functools.partial(kernels.select("relu"), may_overwrite=node.inputs[0] in free), []


def _reshape(node, free):
    return lambda x: ops.reshape(x, (-1, *node.shape)), []


def _call(node, free):
    """A layer, whose constants are the values of its variables, or an operation."""
    operation = node.operation
    if isinstance(operation, layers.PReLU) and node.weights is not None:
        return kernels.select("constant_prelu")(*node.weights)
    if isinstance(operation, SpectralFilter):
        (response,), sizes = node.weights, node.inputs[0].shape
        return kernels.select("constant_filter")(sizes, response, operation.axes)
    if isinstance(operation, _POOLS) and operation.data_format == "channels_last":
        return _pool(operation), []
    if isinstance(operation, _ZERO_PADDINGS) and operation.data_format == "channels_last":
        border = np.reshape(operation.padding, (-1, 2)).tolist()
        return functools.partial(kernels.select("zero_padding"), border=border), []
    call, variables = operation.call, []
    if isinstance(operation, layers.Layer):
        call, variables = _layer(node)
    call = _with_arguments(call, node)

    def stateless_call(*tensors):
        n = len(node.inputs)
        with keras.StatelessScope(zip(variables, tensors[n:], strict=True)):
            return call(*tensors[:n])

    values = [ops.convert_to_numpy(variable) for variable in variables]
    return stateless_call if variables else call, values


def _with_arguments(call, node):
    """`call` as a function of the inputs of a `Call`."""
    places = [nodes.Place(i) for i in range(len(node.inputs))]
    if node.arguments == (places, {}):
        return call
    if node.arguments == ([places], {}):
        return lambda *tensors: call(list(tensors))

    def function(*tensors):
        args, kwargs = _filled(node.arguments, tensors)
        return call(*args, **kwargs)

    return function


def _filled(arguments, tensors):
    """The arguments of a `Call`, (args, kwargs), with `tensors` as its inputs."""

    def filled(leaf):
        return tensors[leaf.index] if isinstance(leaf, nodes.Place) else leaf

    return keras.tree.map_structure(filled, arguments, none_is_leaf=True)


def _layer(node):
    """What calls a layer, and its variables, which hold the weights."""
    layer, in_float32 = node.operation, all(x.dtype == "float32" for x in node.inputs)
    if node.is_new:
        if isinstance(layer, Plain):
            layer.is_fast = True
        given = [keras.KerasTensor((None, *x.shape), x.dtype) for x in node.inputs]
        args, kwargs = _filled(node.arguments, given)
        layer(*args, **kwargs)  # builds it
        if node.weights is not None:
            layer.set_weights(node.weights)
        return layer.call if in_float32 else layer, layer.variables
    is_plain = type(layer).__module__.startswith("keras.") and not layer.variables
    if is_plain and in_float32 and layer.dtype_policy.name == "float32":
        return layer.call, []  # without what Keras adds to each call
    return functools.partial(layer, training=False), layer.variables


def _pool(pooling):
    operation = "max_pool" if isinstance(pooling, _MAXIMA) else "average_pool"
    options = pooling.pool_size, pooling.strides, pooling.padding
    return lambda x: kernels.select(operation, x)(x, *options)


_FUNCTIONS = {
    nodes.Conv: _conv,
    nodes.Depthwise: _depthwise,
    nodes.Affine: _affine,
    nodes.Add: _add,
    nodes.Relu: _relu,
    nodes.Reshape: _reshape,
    nodes.Call: _call,
    nodes.Item: lambda node, free: (lambda outputs: keras.tree.flatten(outputs)[node.index], []),
}
