"""Generalized convolution: neurons that are tensors, lowered to one ordinary convolution."""

import math

import keras
from keras import ops

from keras_structnets import checks
from keras_structnets.ops import kernels
from keras_structnets.ops.precision import cast, floating
from keras_structnets.signatures import Sizes, Tensor


def generalized_conv(
    x: Tensor,
    kernel: Tensor,
    contract: int | None = None,
    strides: Sizes = 1,
    padding: str = "valid",
    dilation_rate: Sizes = 1,
    rank: int = 2,
    bias: Tensor | None = None,
) -> Tensor:
    """Generalized convolution: `V = sum_i U_i (x) W_i + b` (GConvNets, eq. 3-4, with a bias).

    `i` runs over the kernel's positions and the input channels. Each neuron `W_i` contracts the
    trailing axes of its input with its own leading axes, nearest first:
    `V[a, b, e, f] = sum_{c, d} U[a, b, c, d] W[d, c, e, f]`. The axes in front of those are kept
    and share the weights.

    The sum is one `keras.ops.conv`: contracted axes are folded into the channels, and kept axes
    into the batch. A full contraction moves nothing but the small kernel.

    Shapes: x [b, *spatial, m, *S], kernel [*k, m, S[-1], ..., S[-contract], channels, *structure]
    -> [b, *spatial', channels, *S[:-contract], *structure].

    Args:
        x: the input.
        kernel: the neurons.
        contract: number of trailing axes of the input structure S to contract, from 0 (every axis
            is kept) to all; None contracts all.
        strides: an integer, or one for each spatial axis.
        padding: "valid" or "same".
        dilation_rate: an integer, or one for each spatial axis.
        rank: number of spatial axes, 1, 2 or 3.
        bias: [channels, *structure], which the kept axes share, or None.

    Raises:
        ValueError: if `contract` exceeds the axes of the input structure, if the kernel does not
            match the input or is larger than the image, if the bias does not match the kernel,
            or for an unknown padding.

    Example:
        >>> u = np.array([1.0, 2.0, 3.0]).reshape(1, 1, 1, 1, 3)  # a pixel of structure (3,)
        >>> w = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])  # to structure (2,)
        >>> v = ksn.ops.generalized_conv(u, w.reshape(1, 1, 1, 3, 1, 2))
        >>> keras.ops.convert_to_numpy(v).tolist()
        [[[[[3.0, 3.0]]]]]

        >>> u = keras.Input((128, 128, 1, 1, 3))  # one channel of structure (1, 3)
        >>> w = np.ones((3, 3, 1, 3, 1, 4, 4, 4, 4, 4))  # to 4 channels of structure (4, 4, 4, 4)
        >>> ksn.ops.generalized_conv(u, w, strides=2).shape
        (None, 63, 63, 4, 4, 4, 4, 4)

    Reference: A generalized convolutional neural network for small dataset classification,
    section 3.1.
    """
    strides, dilation_rate = _checked_window(strides, padding, dilation_rate, rank)
    x, kernel = _checked_tensors(x, kernel)
    kept, contracted = _checked_structure(x, kernel, contract, rank)
    _check_kernel_fits(x, kernel, padding, dilation_rate, rank)
    x, folded = _fold_input(x, kept, contracted, rank), _fold_kernel(kernel, len(contracted), rank)
    y = kernels.select("conv", x)(x, folded, strides, padding, dilation_rate=dilation_rate)
    outputs = tuple(kernel.shape)[rank + 1 + len(contracted) :]
    if bias is not None:  # before unfolding: a broadcast over many axes is slower
        y = y + cast(_fold_bias(bias, outputs), y.dtype)
    return _unfold_output(y, kept, outputs, rank)


def _fold_input(x, kept, contracted, rank):
    """[b, *spatial, m, *kept, *contracted] -> [b * prod(kept), *spatial, m * prod(contracted)]."""
    spatial, n_in = ops.shape(x)[1 : rank + 1], x.shape[rank + 1]
    if kept:
        axes = list(range(len(x.shape)))
        kept_axes = axes[rank + 2 : rank + 2 + len(kept)]
        x = ops.transpose(x, [0, *kept_axes, *axes[1 : rank + 2], *axes[rank + 2 + len(kept) :]])
    return ops.reshape(x, (-1, *spatial, n_in * math.prod(contracted)))


def _fold_kernel(kernel, contract, rank):
    """[*k, m, *contracted reversed, *outputs] -> [*k, m * prod(contracted), prod(outputs)]."""
    shape = tuple(kernel.shape)
    first, last = rank + 1, rank + 1 + contract
    if contract > 1:
        axes = list(range(len(shape)))
        kernel = ops.transpose(kernel, [*axes[:first], *axes[first:last][::-1], *axes[last:]])
    n_in, n_out = math.prod(shape[rank:last]), math.prod(shape[last:])
    return ops.reshape(kernel, (*shape[:rank], n_in, n_out))


def _unfold_output(y, kept, outputs, rank):
    """[b * prod(kept), *spatial, prod(outputs)] -> [b, *spatial, channels, *kept, *structure]."""
    y = ops.reshape(y, (-1, *kept, *ops.shape(y)[1 : rank + 1], *outputs))
    if not kept:
        return y
    axes = list(range(1 + len(kept) + rank + len(outputs)))
    kept_axes, rest = axes[1 : 1 + len(kept)], axes[1 + len(kept) :]
    return ops.transpose(y, [0, *rest[: rank + 1], *kept_axes, *rest[rank + 1 :]])


def _checked_window(strides, padding, dilation_rate, rank):
    owner = "generalized_conv"
    checks.one_of(owner, "rank", rank, (1, 2, 3))
    checks.one_of(owner, "padding", padding, ("valid", "same"))
    strides = checks.integers(owner, "strides", strides, rank)
    dilation_rate = checks.integers(owner, "dilation_rate", dilation_rate, rank)
    checks.not_both_strided_and_dilated(owner, strides, dilation_rate)
    return strides, dilation_rate


def _checked_tensors(x, kernel):
    """Tensors of floats, of one type."""
    owner = "generalized_conv"
    x = floating(checks.tensor(owner, "x", x))
    kernel = checks.tensor(owner, "kernel", kernel)
    for name, shape in (("x", tuple(x.shape)[1:]), ("kernel", tuple(kernel.shape))):
        if 0 in shape:
            raise ValueError(f"{owner}: `{name}` has an empty axis, {shape}. Use sizes above 0.")
    return x, cast(kernel, x.dtype)


def _checked_structure(x, kernel, contract, rank):
    """The kept and the contracted sizes of the input structure."""
    owner, shape, kernel_shape = "generalized_conv", tuple(x.shape), tuple(kernel.shape)
    checks.structured_axes(owner, shape, rank)
    checks.static_size(owner, "the channels and the structure", shape[rank + 1 :])
    structure = shape[rank + 2 :]
    contract = checks.contract(owner, contract, structure)
    n_kept = len(structure) - contract
    expected = (shape[rank + 1], *structure[n_kept:][::-1])
    if len(kernel_shape) < rank + 2 + contract or kernel_shape[rank:][: len(expected)] != expected:
        raise ValueError(
            f"{owner}: `kernel` has shape {kernel_shape}, but an input of shape {shape} with "
            f"rank={rank} and contract={contract} needs [{'k, ' * rank}"
            f"{', '.join(map(str, expected))}, channels, *structure], nearest axis first. "
            "Transpose the kernel, or use another `contract` or `rank`."
        )
    return structure[:n_kept], structure[n_kept:]


def _fold_bias(bias, outputs):
    """[channels, *structure] -> [channels * prod(structure)]."""
    bias = checks.tensor("generalized_conv", "bias", bias, outputs)
    return ops.reshape(bias, (math.prod(outputs),))


def _check_kernel_fits(x, kernel, padding, dilation_rate, rank):
    spatial = tuple(n if isinstance(n, int) else None for n in tuple(x.shape)[1 : rank + 1])
    if None in spatial and keras.utils.is_keras_tensor(x):
        raise ValueError(
            f"generalized_conv: the spatial sizes of a KerasTensor must be known, got {spatial}. "
            f"Give them in keras.Input(shape=...), or use the layer GConv{rank}D."
        )
    kernel_size = tuple(kernel.shape)[:rank]
    checks.kernel_fits("generalized_conv", kernel_size, spatial, padding, dilation_rate)
