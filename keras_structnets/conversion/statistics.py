"""Means and variances of batch normalization, estimated again."""

from collections.abc import Callable, Iterable
from typing import Any

import keras

from keras_structnets.conversion.graph import layers_of


def set_statistics(
    model: keras.Model, batches: Iterable[Any], is_better: Callable[[], bool]
) -> None:
    """Set moving means and variances to their means over the batches, if the model `is_better` then.

    Layers that are frozen keep theirs, and all other layers run as in inference.
    """
    layers = [one for one in layers_of(model) if _has_statistics(one)]
    old = [(layer.get_weights(), layer.momentum) for layer in layers]
    for layer in layers:
        layer.call = _in_training(layer.call)  # in front of the method of its class
    for i, batch in enumerate(batches if layers else ()):
        for layer in layers:
            layer.momentum = i / (i + 1)
        model(batch, training=False)
    for layer, (_, momentum) in zip(layers, old, strict=True):
        del layer.call
        layer.momentum = momentum
    if layers and not is_better():
        for layer, (weights, _) in zip(layers, old, strict=True):
            layer.set_weights(weights)


def _has_statistics(layer):
    return isinstance(layer, keras.layers.BatchNormalization) and layer.trainable


def _in_training(call):
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return call(*args, **kwargs | {"training": True})

    return wrapper
