"""The graph that a model is written as: nodes, and functions that make them.

Shapes are without the batch axis. Weights are float64 until layers are made of them.
"""

import dataclasses
import math
from typing import Any

import keras
import numpy as np

from keras_structnets.ops.windows import window_output_size


@dataclasses.dataclass(eq=False)
class Node:
    """A tensor, and what it is computed from."""

    inputs: list
    shape: tuple
    name: str | None = None
    dtype: str = "float32"


@dataclasses.dataclass(eq=False)
class Input(Node):
    """An input of the model."""

    batch_size: int | None = None


@dataclasses.dataclass(eq=False)
class Call(Node):
    """A Keras layer or operation; its arguments have `Place`s where `inputs` go.

    `weights` are those of the layer, None for those that it has. One that is not new is a layer of the model
    itself, which may be shared. Each of several outputs is an `Item`.
    """

    operation: Any = None
    arguments: tuple = ()
    weights: Any = None
    is_new: bool = True


@dataclasses.dataclass(frozen=True)
class Place:
    """Where an input stands among the arguments of a `Call`."""

    index: int


@dataclasses.dataclass(eq=False)
class Item(Node):
    """One of several outputs of a `Call`."""

    index: int = 0


@dataclasses.dataclass(eq=False)
class Conv(Node):
    """A convolution with kernel [*k, c / groups, c'], or a product of vectors with [c, c']."""

    kernel: Any = None
    bias: Any = 0.0
    options: dict = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(eq=False)
class Depthwise(Node):
    """A depthwise correlation with kernel [*k, c], without strides."""

    kernel: Any = None
    bias: Any = 0.0
    padding: str = "valid"


@dataclasses.dataclass(eq=False)
class Affine(Node):
    """`scale x + offset`, each a number or of a shape that broadcasts to the node's."""

    scale: Any = 1.0
    offset: Any = 0.0


@dataclasses.dataclass(eq=False)
class Add(Node):
    """The sum of two tensors of one shape."""


@dataclasses.dataclass(eq=False)
class Relu(Node):
    """`max(x, 0)`."""


@dataclasses.dataclass(eq=False)
class Reshape(Node):
    """The same numbers in another shape."""


def call(operation, *args, shape=None, name=None, weights=None, is_new=True, **kwargs):
    """A `Call` whose arguments hold nodes; `shape` is asked of the operation if None."""
    inputs: list = []

    def place(leaf):
        if not isinstance(leaf, Node):
            return leaf
        inputs.append(leaf)
        return Place(len(inputs) - 1)

    arguments = keras.tree.map_structure(place, (list(args), kwargs), none_is_leaf=True)
    if shape is None:
        shape = operation.compute_output_shape((None, *inputs[0].shape))[1:]
    return Call(inputs, tuple(shape), name, "float32", operation, arguments, weights, is_new)


def conv(x, kernel, bias=0.0, strides=1, padding="valid", dilation=1, groups=1, name=None):
    """`Conv` of [*n, c]; a kernel of two axes works on the last axis, whatever stands before."""
    rank = kernel.ndim - 2
    strides, dilation = (
        (value,) * rank if isinstance(value, int) else tuple(value) for value in (strides, dilation)
    )
    axes = zip(x.shape[:rank], kernel.shape, strides, dilation, strict=False)
    sizes = [window_output_size(n, k, s, padding, d) for n, k, s, d in axes] if rank else []
    shape = (*sizes, kernel.shape[-1]) if rank else (*x.shape[:-1], kernel.shape[-1])
    options = {"strides": strides, "padding": padding, "dilation_rate": dilation, "groups": groups}
    return Conv([x], shape, name, kernel=kernel, bias=bias, options=options)


def pointwise(x, matrix, bias=0.0, name=None):
    """A product with [c / groups, c'] at each position, as a convolution of one to three axes."""
    rank, groups = len(x.shape) - 1, x.shape[-1] // matrix.shape[0]
    if rank in (1, 2, 3):
        matrix = matrix.reshape((1,) * rank + matrix.shape)
    return conv(x, matrix, bias, groups=groups, name=name)


def depthwise(x, kernel, border, name=None):
    """`Depthwise` with a border of zeros, (before, after) for each axis, or None."""
    same = [((k - 1) // 2, (k - 1) // 2) for k in kernel.shape[:-1] if k % 2]
    padding = "same" if border == same else "valid"
    if border is not None and padding == "valid":
        x = zero_padding(x, border)
    shape = x.shape
    if padding == "valid":
        shape = tuple(
            window_output_size(n, k, 1, padding)
            for n, k in zip(shape, kernel.shape[:-1], strict=False)
        )
        shape = (*shape, x.shape[-1])
    return Depthwise([x], shape, name, kernel=kernel, padding=padding)


def affine(x, scale=1.0, offset=0.0, name=None):
    """`Affine`, below a change of shape where it is one number for each channel."""
    scale, offset = np.asarray(scale, "float64"), np.asarray(offset, "float64")
    if isinstance(x, Reshape) and scale.ndim < 2 and offset.ndim < 2:
        (inner,) = x.inputs
        if x.shape[: len(inner.shape) - 1] == inner.shape[:-1]:  # structured channels are packed
            copies = inner.shape[-1] // x.shape[-1]
            scale, offset = (
                np.tile(part, copies) if part.ndim else part for part in (scale, offset)
            )
            return reshape(affine(inner, scale, offset, name), x.shape)
    return Affine([x], x.shape, name, scale=scale, offset=offset)


def add(x, y, name=None):
    """`Add`, below equal changes of shape."""
    if isinstance(x, Reshape) and isinstance(y, Reshape):
        (a,), (b,) = x.inputs, y.inputs
        if a.shape == b.shape:
            return reshape(add(a, b, name), x.shape)
    return Add([x, y], x.shape, name)


def relu(x, name=None):
    """`Relu`, below a change of shape."""
    if isinstance(x, Reshape):
        return reshape(relu(x.inputs[0], name), x.shape)
    return Relu([x], x.shape, name)


def reshape(x, shape):
    """`x` in another shape, in one step."""
    shape = tuple(shape)
    if isinstance(x, Reshape):
        (x,) = x.inputs
    if x.shape == shape:
        return x
    if None in (*x.shape, *shape):
        raise ValueError(
            f"simplify: a change of shape from {x.shape} to {shape} needs known sizes. Build the model with "
            "a fixed input_shape."
        )
    return Reshape([x], shape, dtype=x.dtype)


def zero_padding(x, border):
    """Zeros around the spatial axes, (before, after) each."""
    border = tuple(map(tuple, border))
    if not any(map(any, border)):
        return x
    layer = getattr(keras.layers, f"ZeroPadding{len(border)}D")
    return call(layer(border[0] if len(border) == 1 else border), x)


def cropped(x, axis, before, after):
    """Without the first `before` and the last `after` entries of spatial axis `axis`."""
    if not before and not after:
        return x
    rank = len(x.shape) - 1
    amounts = [(0, 0)] * rank
    amounts[axis] = (before, after)
    layer = getattr(keras.layers, f"Cropping{rank}D")
    return call(layer(amounts[0] if rank == 1 else tuple(amounts)), x)


def wrapped(x, border):
    """The periodic image with (before, after) more entries along each spatial axis."""
    for axis, (before, after) in enumerate(border):
        n = x.shape[axis]
        pieces = []
        for start in range(-math.ceil(before / n) * n, n + after, n):
            low, high = max(-before - start, 0), min(n + after - start, n)
            pieces.append(cropped(x, axis, low, n - high))
        if len(pieces) > 1:
            shape = (*x.shape[:axis], n + before + after, *x.shape[axis + 1 :])
            x = call(keras.layers.Concatenate(axis + 1), pieces, shape=shape)
    return x


def ordered(outputs):
    """All nodes that `outputs` need, each after its inputs."""
    found: dict[Node, None] = {}
    stack = [(node, False) for node in reversed(outputs)]
    while stack:
        node, is_ready = stack.pop()
        if node in found:
            continue
        if is_ready:
            found[node] = None
        else:
            stack.append((node, True))
            stack.extend((other, False) for other in reversed(node.inputs))
    return list(found)
