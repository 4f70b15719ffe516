"""Intermediate feature maps of a network."""

from collections.abc import Sequence

import keras

from keras_structnets import checks


def features(model: keras.Model, layers: Sequence[str] | None = None) -> keras.Model:
    """A model of the feature maps inside `model`: images -> {name of layer: map}.

    It shares layers and weights with `model`.

    Args:
        model: any functional `keras.Model` on series, images or volumes [b, *spatial, c], of this zoo or not.
        layers: names of layers, whose outputs are returned; None for the last feature map [b, *spatial, c] of
            each spatial size, as a detector or a segmentation head takes them.

    Returns:
        A `keras.Model` with the inputs of `model`, whose output is a dict.

    Raises:
        ValueError: for a layer that the model does not have, or a model without feature maps.

    Example:
        >>> model = ksn.zoo.build("linear_mix_a", weights="cifar10")
        >>> images = np.zeros((1, 32, 32, 3), "uint8")
        >>> maps = ksn.zoo.features(model).predict(images, verbose=0)
        >>> {found.ndim for found in maps.values()}
        {4}
        >>> vectors = ksn.zoo.features(model, ["global_pooling"]).predict(images, verbose=0)
        >>> vectors["global_pooling"].shape
        (1, 256)
    """
    outputs = {layer.name: layer.output for layer in model.layers}
    if layers is None:
        names = _last_of_each_size(outputs)
    else:
        names = [checks.one_of("features", "layers", name, outputs) for name in layers]
    if not names:
        raise ValueError(
            f"features: {model.name!r} has no feature maps [b, *spatial, c]. Name layers, as in "
            f"layers={list(outputs)[-1:]}."
        )
    return keras.Model(model.input, {name: outputs[name] for name in names}, name=model.name)


def _last_of_each_size(outputs):
    """Names of layers, one for each size of the maps."""
    last = {}
    image, *others = outputs.items()
    rank = len(image[1].shape)
    for name, output in others:
        if isinstance(output, keras.KerasTensor) and len(output.shape) == rank:
            last[tuple(output.shape[1:-1])] = name
    return list(last.values())
