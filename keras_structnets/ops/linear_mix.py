"""The sum of a depthwise and a 1x1 convolution (Low-cost parameterizations, eq. 7)."""

from keras import ops

from keras_structnets import checks
from keras_structnets.ops import kernels
from keras_structnets.ops.kernels.generic import shift
from keras_structnets.ops.lowcost import depthwise_conv, wrap
from keras_structnets.ops.precision import cast, floating
from keras_structnets.signatures import Sizes, Tensor

PADDINGS = ("valid", "same", "periodic")


def linear_mix_conv(
    x: Tensor,
    depthwise_kernel: Tensor,
    pointwise_kernel: Tensor,
    padding: str = "same",
    strides: Sizes = 1,
    dilation_rate: Sizes = 1,
) -> Tensor:
    """`(K + M) x`, eq. 7: a convolution masked to diagonal stencils and couplings within a pixel.

    `K` gives output channel j the stencil j of input channel `j mod c`, and `M` couples the channels
    at the center of each window: entry (k - 1) // 2 along an axis, or k // 2 of a periodic image.

    Args:
        x: [b, *n, c].
        depthwise_kernel: the stencils of `K`, [*k, filters].
        pointwise_kernel: `M`, [c, filters], from input to output channels.
        padding: 'valid', 'same' or 'periodic'.
        strides: an integer, or one for each spatial axis.
        dilation_rate: an integer, or one for each spatial axis; above 1 only with strides of 1.

    Returns:
        [b, *n', filters], with n' as of a convolution.

    Raises:
        ValueError: for an unknown padding, strides together with dilation, or kernels that do not
            match.

    Example:
        >>> x = np.array([1.0, 2.0]).reshape(1, 1, 2)  # one pixel, two channels
        >>> tens, swap = np.array([[10.0, 10.0]]), np.array([[0.0, 1.0], [1.0, 0.0]])
        >>> keras.ops.convert_to_numpy(ksn.ops.linear_mix_conv(x, tens, swap)).tolist()
        [[[12.0, 21.0]]]
    """
    x = floating(checks.image("linear_mix_conv", "x", x))
    rank = len(x.shape) - 2
    stencils, matrix = _kernels(x, depthwise_kernel, pointwise_kernel)
    checks.one_of("linear_mix_conv", "padding", padding, PADDINGS)
    strides = checks.integers("linear_mix_conv", "strides", strides, rank)
    dilation = checks.integers("linear_mix_conv", "dilation_rate", dilation_rate, rank)
    checks.not_both_strided_and_dilated("linear_mix_conv", strides, dilation)
    pointwise = kernels.select("pointwise", x)
    if padding != "valid" and max(strides + dilation) == 1:
        return depthwise_conv(_cyclic(x, stencils), stencils, padding) + pointwise(x, matrix)
    window = tuple(stencils.shape[:-1])
    x = _with_border(x, window, padding, strides, dilation)
    centers = [k // 2 if padding == "periodic" else (k - 1) // 2 for k in window]
    pixels = shift(x, centers, window, strides, dilation)
    return _correlate(_cyclic(x, stencils), stencils, strides, dilation) + pointwise(pixels, matrix)


def _kernels(x, stencils, matrix):
    """The two kernels as tensors of the input's type."""
    owner, shape = "linear_mix_conv", (None,) * (len(x.shape) - 1)
    stencils = checks.tensor(owner, "depthwise_kernel", stencils, shape)
    matrix = checks.tensor(
        owner, "pointwise_kernel", matrix, (x.shape[-1], tuple(stencils.shape)[-1])
    )
    return cast(stencils, x.dtype), cast(matrix, x.dtype)


def _cyclic(x, stencils):
    """For each stencil the channel that it acts on: [b, *n, c] -> [b, *n, filters]."""
    channels, filters = x.shape[-1], stencils.shape[-1]
    copies = -(-filters // channels)
    if copies > 1:
        x = ops.concatenate([x] * copies, axis=-1)
    return x if x.shape[-1] == filters else x[..., :filters]


def _correlate(x, stencils, strides, dilation):
    if max(*strides, *dilation) == 1:
        y = kernels.select("depthwise", x)(x, stencils)
    else:
        y = kernels.select("strided_depthwise", x)(x, stencils, strides, dilation)
    return kernels.select("stop_fusion", y)(y)


def _with_border(x, window, padding, strides, dilation):
    """The image with zeros around it, where 'same' has them, or with what wraps around."""
    axes = enumerate(zip(window, strides, dilation, strict=True), start=1)
    if padding == "periodic":
        for axis, (k, _, d) in axes:
            x = wrap(x, axis, k // 2 * d, (k - 1 - k // 2) * d)
    if padding != "same":
        return x
    sizes = ops.shape(x)
    border = [_zeros_around(sizes[axis], (k - 1) * d + 1, s) for axis, (k, s, d) in axes]
    return ops.pad(x, [(0, 0), *border, (0, 0)])


def _zeros_around(size, reach, stride):
    """(before, after) as Keras pads for 'same'; of a `size` that may be known only at run time."""
    total = (-(-size // stride) - 1) * stride + reach - size
    total = max(total, 0) if isinstance(size, int) else ops.maximum(total, 0)
    return total // 2, total - total // 2
