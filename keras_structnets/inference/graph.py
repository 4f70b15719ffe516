"""What a model computes, as one graph of the backend with constant weights."""

import importlib
from collections.abc import Callable

import keras
from keras import ops

from keras_structnets.ops import kernels


def graph(model: keras.Model) -> Callable:
    """What `model` computes from a batch, as a function of a tensor.

    The present weights are constants of the graph: what depends on them alone is computed once.
    """
    if keras.backend.backend() == "torch":
        module = importlib.import_module("keras_structnets.inference.torch_graph")
        return module.torch_graph(model)
    return kernels.select("compiled")(stateless(model), inputs=model.inputs)


def stateless(model):
    """What `model` computes, as a pure function, its weights as arrays."""
    weights = [
        [ops.convert_to_numpy(variable) for variable in variables]
        for variables in (model.trainable_variables, model.non_trainable_variables)
    ]
    return lambda x: model.stateless_call(*weights, x, training=False)[0]
