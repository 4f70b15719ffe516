"""A model with other numbers of channels."""

from collections.abc import Mapping

import keras
import numpy as np


def with_widths(model: keras.Model, widths: Mapping[str, int]) -> keras.Model:
    """A copy of `model` whose layers have `widths` filters, by the layer's name.

    Weights whose shapes stay are copied, the others are new.

    Raises:
        ValueError: if a layer does not take the new number of channels.

    Example:
        >>> from keras_structnets.pretraining.widths import with_widths
        >>> layers = [keras.layers.Conv2D(4, 3, name="first"), keras.layers.Conv2D(5, 3)]
        >>> model = keras.Sequential([keras.Input((8, 8, 1)), *layers])
        >>> [layer.output.shape[-1] for layer in with_widths(model, {"first": 2}).layers]
        [2, 5]
    """

    def copied(layer):
        config = layer.get_config()
        if layer.name in widths:
            config["filters"] = int(widths[layer.name])
        return type(layer).from_config(config)

    try:
        copy = keras.models.clone_model(model, clone_function=copied)
    except ValueError as error:
        raise ValueError(
            f"pretrain: with channels='auto' the layers have {dict(widths)} channels, and another layer "
            f"of {model.name!r} does not take them: {error} Use channels='keep'."
        ) from error
    for new, old in zip(copy.layers, model.layers, strict=True):
        if [w.shape for w in new.weights] == [w.shape for w in old.weights]:
            for weight, value in zip(new.weights, old.weights, strict=True):
                weight.assign(np.array(keras.ops.convert_to_numpy(value)))
    return copy
