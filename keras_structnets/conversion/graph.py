"""Models as graphs of layers: walking through them, copying them, and watching what they compute."""

import contextlib
import functools
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import keras

from keras_structnets.conversion.registry import Replacement


def is_graph(layer: Any) -> bool:
    """Whether it is a Sequential or functional model, whose layers are known."""
    return isinstance(layer, keras.Sequential) or (
        isinstance(layer, keras.Model) and hasattr(layer, "operations")
    )


def layers_of(model: keras.Model) -> list[keras.layers.Layer]:
    """All layers of a model and of the models in it, each once."""
    found: dict[int, keras.layers.Layer] = {}
    for layer in model.layers:
        inner = layers_of(layer) if is_graph(layer) else [layer]
        found |= {id(one): one for one in inner}
    return list(found.values())


def input_shape_of(layer: keras.layers.Layer) -> tuple[int | None, ...] | None:
    """The shape that a layer was built for; None where that is not known."""
    shape = (layer.get_build_config() or {}).get("input_shape")
    if shape is not None:
        return tuple(shape)
    try:
        return tuple(layer.input.shape)  # layers without weights are built before they have one
    except (AttributeError, ValueError):  # several inputs, or several calls
        return None


def copied(model: keras.Model, replacements: Mapping[int, Replacement]) -> keras.Model:
    """A copy of a model with layers replaced, by the `id` of the old one."""
    pairs = []

    def copy(layer: Any) -> Any:
        replacement = replacements.get(id(layer))
        new = replacement.layer if replacement else _copy(layer)
        pairs.append((layer, new))
        return new

    def call(layer: Any, *args: Any, **kwargs: Any) -> Any:
        if layer in made:  # of the old layers, pooling in 1-D takes a mask
            kwargs.pop("mask", None)
        return layer(*args, **kwargs)

    made = [replacement.layer for replacement in replacements.values()]
    options = {} if isinstance(model, keras.Sequential) else {"call_function": call}
    new_model = keras.models.clone_model(model, clone_function=copy, recursive=True, **options)
    for old, new in pairs:
        if isinstance(new, keras.layers.Layer):
            replacement = replacements.get(id(old))
            new.set_weights(replacement.weights if replacement else old.get_weights())
    return new_model


def _copy(layer):
    try:
        return layer.__class__.from_config(layer.get_config())
    except (NotImplementedError, TypeError, ValueError) as error:
        raise ValueError(
            f"convert: the layer {layer.name!r} of class {type(layer).__name__} cannot be copied from "
            "its configuration. Give the class a get_config that has all arguments of its __init__."
        ) from error


@contextlib.contextmanager
def watched(
    layers: Iterable[keras.layers.Layer], see: Callable[[keras.layers.Layer, Any, Any], None]
) -> Iterator[None]:
    """While it lasts, `see(layer, inputs, outputs)` at each call of one of the layers."""
    layers = list(layers)
    for layer in layers:
        layer.call = _seen(layer, see)  # in front of the method of its class
    try:
        yield
    finally:
        for layer in layers:
            del layer.call


def _seen(layer, see):
    call = layer.call

    @functools.wraps(call)
    def wrapper(x: Any, *args: Any, **kwargs: Any) -> Any:
        y = call(x, *args, **kwargs)
        see(layer, x, y)
        return y

    return wrapper
