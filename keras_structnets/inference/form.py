"""The inference form of a model: constants, and operations that every exporter knows."""

import keras

from keras_structnets.inference import emit, fold, nodes
from keras_structnets.inference.rules import rule_of
from keras_structnets.inference.rules.keras_layers import operation as operation_rule
from keras_structnets.inference.weights import floats
from keras_structnets.layers._base import Layer


def simplify(model: keras.Model) -> keras.Model:
    """The same function as `model`, in a form that runs and exports anywhere.

    Each layer of this library becomes layers of Keras, or constants and plain operations: no branch on
    data, no loop, no FFT, no custom gradient, and no tensor of more than four axes, unless the images
    themselves have more. In detail:

    - batch normalization, `Rescaling` and constant factors go into the weights before them;
    - structured channels are packed, a generalized convolution is an ordinary one;
    - the formula of MEX is chosen once, by beta and its offsets; near beta = 0 it is a series expansion;
    - the spectra of implicit and circulant steps are constants, Fourier transforms matrix products;
    - a similarity of order 2 is two convolutions; that of another order takes one template after the other.

    The weights are a snapshot in float32: training `model` afterwards does not change the form, and the form
    does not train. Layers of Keras and your own are copied; nested models are flattened.

    Args:
        model: a built Functional or Sequential `keras.Model`.

    Returns:
        A `keras.Model` of the same inputs and outputs. It saves as `.keras`.

    Raises:
        ValueError: for a subclassed model or one that is not built; for a layer of this library, or one that
            is derived from it or holds one, that there is no rule for.

    Example:
        >>> model = ksn.zoo.build("simnet_2layer")
        >>> simple = ksn.inference.simplify(model)
        >>> simple.output_shape, any(type(layer) is ksn.layers.MEX for layer in simple.layers)
        ((None, 10), False)
        >>> x = np.random.default_rng(0).uniform(0, 255, (2, 32, 32, 3))
        >>> bool(np.allclose(simple.predict(x, verbose=0), model.predict(x, verbose=0), atol=1e-5))
        True
    """
    check_functional("simplify", model)
    inputs, outputs = folded_nodes(model)
    for node in nodes.ordered(keras.tree.flatten(outputs)):
        if isinstance(node, nodes.Call) and not node.is_new:
            _refuse_ours(node.operation)
    return emit.model_of(inputs, outputs, model.name)


def folded_nodes(model):
    """The inputs and the outputs of `model` as structures of nodes; layers without a rule stay."""
    inputs, outputs = _graph(model)
    flat = fold.folded(keras.tree.flatten(outputs))
    return inputs, keras.tree.pack_sequence_as(outputs, flat)


def check_functional(owner, model):
    """Refuse what has no graph of layers."""
    if not isinstance(model, keras.Model):
        raise ValueError(
            f"{owner}: `model` must be a keras.Model, got {model!r}. "
            "Use for example keras_structnets.zoo.build(name)."
        )
    if not getattr(model, "inputs", None) or not getattr(model, "outputs", None):
        raise ValueError(
            f"{owner}: `model` {model.name!r} has no graph of layers. Use a Functional or Sequential "
            "model that starts with keras.Input(shape)."
        )


class _Recorded(keras.Operation):
    """Stands for an operation while its graph is read: it makes tensors of the same shapes."""

    def __init__(self, operation):
        super().__init__()
        self.operation = operation

    def compute_output_spec(self, *args, **kwargs):
        return self.operation.compute_output_spec(*args, **kwargs)


def _graph(model, given=None):
    """The inputs and the outputs of `model` as structures of nodes; `given` are the inputs, if any."""
    known: dict = {}  # id of a tensor: (the tensor, its node)

    def remember(tensors, found):
        for tensor, node in zip(
            keras.tree.flatten(tensors), keras.tree.flatten(found), strict=True
        ):
            known[id(tensor)] = tensor, node

    def node_of(leaf):
        return known[id(leaf)][1] if keras.utils.is_keras_tensor(leaf) else leaf

    def record(operation, *args, **kwargs):
        outputs = _Recorded(operation)(*args, **kwargs)
        arguments = keras.tree.map_structure(node_of, (args, kwargs), none_is_leaf=True)
        remember(outputs, _written(operation, *arguments, outputs))
        return outputs

    if isinstance(model, keras.Sequential):  # it has no structures of its own
        model = keras.Model(model.inputs[0], model.outputs[0])
    tensors = keras.tree.map_structure(
        lambda x: keras.Input(batch_shape=x.shape, dtype=x.dtype, name=x.name), model.input
    )
    inputs = given or keras.tree.map_structure(_input, tensors)
    remember(tensors, inputs)
    cloned = keras.models.clone_model(
        model,
        input_tensors=tensors,
        clone_function=lambda layer: layer,
        call_function=record,
    )
    return inputs, keras.tree.map_structure(node_of, cloned.output)


def _input(x):
    return nodes.Input([], x.shape[1:], x.name, x.dtype, batch_size=x.shape[0])


def _written(operation, args, kwargs, outputs):
    """The nodes that stand for the `outputs` of an operation."""
    kwargs = {key: value for key, value in kwargs.items() if value is not None}
    if isinstance(operation, keras.Model) and getattr(operation, "inputs", None):
        return _graph(operation, args[0])[1]
    node = None if kwargs.get("training") else _by_rule(operation, args, kwargs)
    if node is not None:
        return node
    call = nodes.call(operation, *args, shape=(), is_new=False, **kwargs)
    if keras.utils.is_keras_tensor(outputs):
        call.shape, call.dtype = outputs.shape[1:], outputs.dtype
        return call
    tensors = enumerate(keras.tree.flatten(outputs))
    return [nodes.Item([call], x.shape[1:], dtype=x.dtype, index=i) for i, x in tensors]


def _by_rule(operation, args, kwargs):
    """What the rule of an operation writes; None where it stays as it is."""
    if not isinstance(operation, keras.layers.Layer):
        is_plain = type(operation).__module__.startswith("keras.") and not kwargs
        return operation_rule(type(operation).__name__, args) if is_plain else None
    rule = None if getattr(operation, "ignore_nan", False) else rule_of(operation)
    if rule is None:
        return None
    if isinstance(operation, Layer):
        args = [floats(args[0]), *args[1:]]
    return rule(operation, *args)


def _refuse_ours(layer):
    """Refuse a layer of this library, one that is derived from it, and one that holds such a layer."""
    if not isinstance(layer, keras.layers.Layer):
        return
    if getattr(layer, "ignore_nan", False):
        raise ValueError(
            f"simplify: the layer {layer.name!r} has ignore_nan=True, and plain layers have no missing "
            "values. Build the model with ignore_nan=False and give it the weights."
        )
    if rule_of(layer) is not None:  # in training mode, or with options that Keras' layers have too
        return
    if isinstance(layer, Layer) or type(layer).__module__.startswith("keras_structnets."):
        raise ValueError(
            f"simplify: there is no rule for the layer {layer.name!r} of the class "
            f"{type(layer).__name__}. Use the layers of keras_structnets themselves, or Keras' own."
        )
    for part in _parts(layer):
        if isinstance(part, Layer):
            raise ValueError(
                f"simplify: the layer {layer.name!r} of the class {type(layer).__name__} holds "
                f"{part.name!r}, a {type(part).__name__}, and there is no rule for that. Use "
                f"{type(part).__name__} in the graph of the model, or in a nested model."
            )


def _parts(layer):
    """The layers that a layer holds, and those that they hold."""
    leaves = keras.tree.flatten([value for name, value in vars(layer).items() if name != "_layers"])
    for part in leaves:
        if isinstance(part, keras.layers.Layer) and part is not layer:
            yield part
            yield from _parts(part)
