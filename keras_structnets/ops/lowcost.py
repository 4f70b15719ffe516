"""Convolutions with few parameters (Low-cost parameterizations of deep convolutional networks).

`K` is depthwise: one stencil per channel, `kernel [*k, c]`, acting as a correlation,
`(K x)_p = sum_o kernel[o] x_(p + o - center)`. Padding is 'same' (zeros outside, placed as Keras
places them) or 'periodic' (the image wraps around, center k // 2).
"""

import math
from collections.abc import Sequence

from keras import ops

from keras_structnets import checks
from keras_structnets.ops import kernels
from keras_structnets.ops.fourier import stencil_matrices, transform
from keras_structnets.ops.precision import at_least_float32, cast, floating
from keras_structnets.signatures import Tensor


def depthwise_conv(
    x: Tensor, kernel: Tensor, padding: str = "same", method: str = "direct"
) -> Tensor:
    """`K x`, the depthwise convolution of eq. 5.

    Args:
        x: [b, *n, c].
        kernel: the stencils of `K`, [*k, c].
        padding: 'same' or 'periodic'.
        method: 'direct', or 'fft', which multiplies the frequencies of a periodic image of known
            size by `stencil_spectrum`, as in eq. 10. Its cost does not depend on the kernel's size.

    Returns:
        [b, *n, c].

    Raises:
        ValueError: for an unknown padding or method, a kernel that does not fit the image, or 'fft' of
            an image that is not periodic.

    Example:
        >>> x = np.array([1.0, 2.0, 3.0]).reshape(1, 3, 1)
        >>> kernel = np.array([-1.0, 0.0, 1.0]).reshape(3, 1)  # right minus left neighbour
        >>> keras.ops.convert_to_numpy(ksn.ops.depthwise_conv(x, kernel)).ravel().tolist()
        [2.0, 2.0, -2.0]
        >>> y = ksn.ops.depthwise_conv(x, kernel, padding="periodic")
        >>> keras.ops.convert_to_numpy(y).ravel().tolist()
        [-1.0, 2.0, -1.0]
    """
    x, kernel = _arguments("depthwise_conv", x, kernel, padding)
    if checks.one_of("depthwise_conv", "method", method, ("direct", "fft")) == "direct":
        return _conv(x, kernel, padding)
    checks.one_of("depthwise_conv", "padding of the method 'fft'", padding, ("periodic",))
    checks.static_size("depthwise_conv", "the sizes of the image", x.shape[1:-1])
    return _filter(x, stencil_spectrum(kernel, tuple(x.shape[1:-1])))


def depthwise_adjoint(y: Tensor, kernel: Tensor, padding: str = "same") -> Tensor:
    """`K^T y`, exactly: the sum of `(K x) y` equals that of `x (K^T y)` for any x and y.

    Args:
        y: [b, *n, c].
        kernel: the stencils of `K`, [*k, c].
        padding: 'same' or 'periodic'.

    Returns:
        [b, *n, c].

    Raises:
        ValueError: for an unknown padding, or a kernel that does not fit the image.

    Example:
        >>> y = np.array([1.0, 2.0, 3.0]).reshape(1, 3, 1)
        >>> kernel = np.array([-1.0, 0.0, 1.0]).reshape(3, 1)  # K is skew: K^T = -K
        >>> keras.ops.convert_to_numpy(ksn.ops.depthwise_adjoint(y, kernel)).ravel().tolist()
        [-2.0, -2.0, 2.0]
    """
    y, kernel = _arguments("depthwise_adjoint", y, kernel, padding, "y")
    return _adjoint(y, kernel, padding)


def explicit_diffusion(
    x: Tensor, kernel: Tensor, step_size: float, padding: str = "same"
) -> Tensor:
    """`x - h K^T K x`, the diffusion of eq. 9.

    The step is a contraction while `h` times the largest `stencil_spectrum` squared is at most 2.

    Args:
        x: [b, *n, c].
        kernel: the stencils of `K`, [*k, c].
        step_size: `h`, above 0.
        padding: 'same' or 'periodic'.

    Returns:
        [b, *n, c].

    Raises:
        ValueError: for an unknown padding, or a kernel that does not fit the image.

    Example:
        >>> x = np.array([1.0, 5.0, 1.0, 1.0]).reshape(1, 4, 1)
        >>> kernel = np.array([-1.0, 1.0, 0.0]).reshape(3, 1)  # rows of K^T K: -1, 2, -1
        >>> y = ksn.ops.explicit_diffusion(x, kernel, step_size=0.25, padding="periodic")
        >>> keras.ops.convert_to_numpy(y).ravel().tolist()
        [2.0, 3.0, 2.0, 1.0]
    """
    x, kernel = _arguments("explicit_diffusion", x, kernel, padding)
    step_size = checks.positive("explicit_diffusion", "step_size", step_size)
    y = at_least_float32(x)
    y = y - step_size * _adjoint(_conv(y, kernel, padding), kernel, padding)
    return cast(y, x.dtype)


def implicit_diffusion(x: Tensor, kernel: Tensor, step_size: float) -> Tensor:
    """`(I + h K^T K)^-1 x`, the diffusion of eq. 11, K periodic.

    It never increases the norm, whatever the kernel, and couples all pixels of a channel at once.

    Args:
        x: [b, *n, c], of known size.
        kernel: the stencils of `K`, [*k, c].
        step_size: `h`, above 0.

    Returns:
        [b, *n, c].

    Raises:
        ValueError: for an image of unknown size, or a kernel that does not fit it.

    Example:
        >>> x = np.array([1.0, 16.0, 1.0, 1.0]).reshape(1, 4, 1)
        >>> kernel = np.array([-1.0, 1.0, 0.0]).reshape(3, 1)  # rows of K^T K: -1, 2, -1
        >>> y = ksn.ops.implicit_diffusion(x, kernel, step_size=1.0)
        >>> keras.ops.convert_to_numpy(y).ravel().round(3).tolist()
        [4.0, 8.0, 4.0, 3.0]
    """
    x, kernel = _arguments("implicit_diffusion", x, kernel)
    step_size = checks.positive("implicit_diffusion", "step_size", step_size)
    checks.static_size("implicit_diffusion", "the sizes of the image", x.shape[1:-1])
    power = _power(stencil_spectrum(kernel, tuple(x.shape[1:-1])))
    return _filter(x, (1 / (1 + step_size * power), None))


def circulant_conv(x: Tensor, kernel: Tensor, padding: str = "periodic") -> Tensor:
    """`K_circ x`, eq. 12, periodic in the channels: `out_i = sum_d C_d x_((i + d) mod c)`.

    Args:
        x: [b, *n, c], of known size.
        kernel: [*k, c], where `kernel[..., d]` is the stencil of `C_d`.
        padding: 'periodic', as the paper has it, or 'same'.

    Returns:
        [b, *n, c].

    Raises:
        ValueError: for an image of unknown size, or an unknown padding.

    Example:
        >>> x = np.array([1.0, 2.0, 3.0]).reshape(1, 1, 3)  # one pixel, three channels
        >>> kernel = np.array([[0.0, 1.0, 0.0]])  # C_1 = 1: each channel takes the next one
        >>> keras.ops.convert_to_numpy(ksn.ops.circulant_conv(x, kernel)).round(3).tolist()
        [[[2.0, 3.0, 1.0]]]
    """
    x, kernel = _arguments("circulant_conv", x, kernel, padding)
    checks.static_size("circulant_conv", "the sizes of the image", x.shape[1:])
    sizes, reach = x.shape[1:-1], _reach(kernel, padding)
    if padding == "same":  # zeros keep what wraps around off the image
        x = ops.pad(x, [(0, 0), *reach, (0, 0)])
    y = _filter(x, circulant_spectrum(kernel, tuple(x.shape[1:-1])), channels=True)
    if padding == "periodic":
        return y
    firsts = [k // 2 for k in kernel.shape[:-1]]  # of the image, in periodic coordinates
    inside = [slice(first, first + n) for first, n in zip(firsts, sizes, strict=True)]
    return y[(slice(None), *inside)]


def circulant_diffusion(x: Tensor, kernel: Tensor, step_size: float) -> Tensor:
    """`x - h K_circ^T K_circ x`, eq. 9 with the operator of eq. 12.

    Args:
        x: [b, *n, c], of known size.
        kernel: [*k, c], as in `circulant_conv`.
        step_size: `h`, above 0.

    Returns:
        [b, *n, c].

    Raises:
        ValueError: for an image of unknown size, or a kernel that does not fit it.

    Example:
        >>> x = np.array([1.0, 5.0, 1.0, 1.0]).reshape(1, 1, 4)  # one pixel, four channels
        >>> kernel = np.array([[1.0, -1.0, 0.0, 0.0]])  # a channel minus the next one
        >>> y = ksn.ops.circulant_diffusion(x, kernel, step_size=0.25)
        >>> keras.ops.convert_to_numpy(y).round(3).tolist()
        [[[2.0, 3.0, 2.0, 1.0]]]
    """
    x, kernel = _arguments("circulant_diffusion", x, kernel)
    step_size = checks.positive("circulant_diffusion", "step_size", step_size)
    checks.static_size("circulant_diffusion", "the sizes of the image", x.shape[1:])
    power = _power(circulant_spectrum(kernel, tuple(x.shape[1:-1])))
    return _filter(x, (1 - step_size * power, None), channels=True)


def stencil_spectrum(kernel: Tensor, spatial_shape: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Eigenvalues of the periodic `K` on images of `spatial_shape`, `F(K e_1)` of eq. 10.

    Args:
        kernel: [*k, c]. A stencil larger than the image wraps around.
        spatial_shape: sizes of the image, `n`.

    Returns:
        (real, imaginary), each [*n[:-1], n[-1] // 2 + 1, c] as in `numpy.fft.rfftn`: K is real, so
        that the other frequencies of the last axis follow.

    Raises:
        ValueError: for sizes that do not fit the kernel.

    Example:
        >>> kernel = np.array([-1.0, 1.0, 0.0]).reshape(3, 1)  # 1 - exp(-i w)
        >>> real, imaginary = ksn.ops.stencil_spectrum(kernel, spatial_shape=(4,))
        >>> of_diffusion = keras.ops.convert_to_numpy(real**2 + imaginary**2)  # of K^T K
        >>> of_diffusion.ravel().round(3).tolist()
        [0.0, 2.0, 4.0]
    """
    kernel, shape = _stencils("stencil_spectrum", kernel, spatial_shape)
    return _spectrum(kernel, shape, [k // 2 for k in kernel.shape[:-1]])


def circulant_spectrum(kernel: Tensor, spatial_shape: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Eigenvalues of `K_circ` of eq. 12, where the channels are one more periodic axis.

    Args:
        kernel: [*k, c].
        spatial_shape: sizes of the image, `n`.

    Returns:
        (real, imaginary), each [*n, c // 2 + 1] as in `numpy.fft.rfftn`.

    Raises:
        ValueError: for sizes that do not fit the kernel.

    Example:
        >>> kernel = np.array([[1.0, -1.0, 0.0, 0.0]])  # a channel minus the next one
        >>> real, imaginary = ksn.ops.circulant_spectrum(kernel, spatial_shape=(1,))
        >>> keras.ops.convert_to_numpy(real**2 + imaginary**2).round(3).tolist()
        [[0.0, 2.0, 4.0]]
    """
    kernel, shape = _stencils("circulant_spectrum", kernel, spatial_shape)
    shape, centers = (*shape, kernel.shape[-1]), [*(k // 2 for k in kernel.shape[:-1]), 0]
    re, im = _spectrum(kernel[..., None], shape, centers)
    return re[..., 0], im[..., 0]


def _spectrum(kernel, shape, centers):
    matrices = stencil_matrices(kernel.shape[:-1], shape, centers)
    spectrum = transform(at_least_float32(kernel)[None], matrices)  # [1, 2, *frequencies, c]
    return spectrum[0, 0], -spectrum[0, 1]  # a correlation: the conjugate


def _power(spectrum):
    return ops.square(spectrum[0]) + ops.square(spectrum[1])


def _filter(x, response, channels=False):
    """Multiply each frequency of `x`, over space or space and channels, by the `response` to it."""
    axes = range(1, len(x.shape) - (not channels))
    y = at_least_float32(x)
    return cast(kernels.select("spectral_filter", y)(y, response, axes), x.dtype)


def _arguments(owner, x, kernel, padding="periodic", name="x"):
    """The image and the stencils of its channels, as tensors of floats."""
    checks.one_of(owner, "padding", padding, ("same", "periodic"))
    x = floating(checks.image(owner, name, x))
    shape = *(None,) * (len(x.shape) - 2), x.shape[-1]
    return x, floating(checks.tensor(owner, "kernel", kernel, shape))


def _stencils(owner, kernel, spatial_shape):
    """The stencils as a tensor of floats, and the sizes of the image."""
    kernel = checks.tensor(owner, "kernel", kernel, (..., None, None))
    kernel = floating(checks.tensor(owner, "kernel", kernel, (None,) * len(kernel.shape)))
    rank = len(kernel.shape) - 1
    return kernel, checks.integers(owner, "spatial_shape", spatial_shape, rank)


def _conv(x, kernel, padding):
    return _correlate(x, kernel, _reach(kernel, padding), padding)


def _adjoint(y, kernel, padding):
    mirrored = [(after, before) for before, after in _reach(kernel, padding)]
    axes = tuple(range(len(kernel.shape) - 1))
    return _correlate(y, ops.flip(kernel, axes), mirrored, padding)


def _reach(kernel, padding):
    """(before, after) per axis: how far the stencil reaches from its center."""
    centers = [k // 2 if padding == "periodic" else (k - 1) // 2 for k in kernel.shape[:-1]]
    return [(c, k - 1 - c) for c, k in zip(centers, kernel.shape[:-1], strict=True)]


def _correlate(x, kernel, reach, padding):
    if padding == "periodic":
        for axis, (before, after) in enumerate(reach, start=1):
            x = wrap(x, axis, before, after)
    border = reach if padding == "same" else None
    y = kernels.select("depthwise", x)(x, cast(kernel, x.dtype), border)
    return kernels.select("stop_fusion", y)(y)


def wrap(x, axis, before, after):
    """Entries -before..n+after of the periodic axis, as slices of its copies."""
    checks.static_size("depthwise_conv", "the sizes of a periodic image", (x.shape[axis],))
    n = x.shape[axis]
    pieces = []
    for start in range(-math.ceil(before / n) * n, n + after, n):
        low, high = max(-before - start, 0), min(n + after - start, n)
        pieces.append(x[(slice(None),) * axis + (slice(low, high),)])
    return ops.concatenate(pieces, axis=axis) if len(pieces) > 1 else x
