"""Deep SimNets: MEX (log-mean-exp) of inputs plus offsets, and as a pooling."""

import numpy as np
from keras import ops

from keras_structnets import checks
from keras_structnets.ops import kernels
from keras_structnets.ops.log_mean_exp import FLOAT32_MAX, log_mean_exp_of, mex_columns_of
from keras_structnets.ops.precision import cast, floating, to_float32
from keras_structnets.ops.windows import padded, same_padding, window_output_size, windows
from keras_structnets.signatures import Scalar, Sizes, Tensor


def mex(
    x: Tensor, offsets: Tensor | None = None, beta: Scalar = 1.0, ignore_nan: bool = False
) -> Tensor:
    """MEX of the last axis: `y_l = (1/beta) log mean_i exp(beta (x_i + b_il))`.

    Deep SimNets, eq. 1. beta may be any real number: 0 is the mean, plus infinity the maximum, minus
    infinity the minimum. Values and gradients, that of beta included, are finite and continuous in
    beta; ties of a maximum share the gradient. No tensor of shape [..., n_in, n_out] is made. Sums
    run in float32.

    Shapes: x [..., n_in], offsets b [n_in, n_out], beta a number or a scalar tensor ->
    [..., n_out]; without offsets x [..., n_in] -> [...].

    Args:
        x: the inputs.
        offsets: b, or None.
        beta: a number (0 and plus or minus infinity included) or a scalar tensor, which is
            differentiated.
        ignore_nan: whether NaN in x is a missing value: the mean is over the others, and NaN where there
            are none. With offsets this makes a tensor of shape [n_in, ..., n_out].

    Raises:
        ValueError: for offsets that do not fit the inputs, or a beta that is not a number.

    Example:
        >>> x = np.array([1.0, 3.0])
        >>> [round(float(ksn.ops.mex(x, beta=beta)), 2) for beta in (-np.inf, 0.0, 1.0, np.inf)]
        [1.0, 2.0, 2.43, 3.0]

        >>> offsets = np.array([[0.0, 5.0], [0.0, 0.0]])  # two outputs
        >>> keras.ops.convert_to_numpy(ksn.ops.mex(x, offsets, beta=np.inf)).tolist()
        [3.0, 6.0]
        >>> x = np.array([1.0, np.nan, 3.0])
        >>> float(ksn.ops.mex(x, beta=0.0, ignore_nan=True))
        2.0
    """
    x, dtype = to_float32(checks.tensor("mex", "x", x, (..., None)))
    beta = checks.scalar("mex", "beta", beta)
    if offsets is None:
        y = _log_mean_exp(ops.moveaxis(x, -1, 0), beta, ignore_nan)
    elif ignore_nan:
        b = ops.cast(checks.tensor("mex", "offsets", offsets, (x.shape[-1], None)), "float32")
        y = _columns(
            lambda x: ops.transpose(_log_mean_exp(x[..., None] + b[:, None], beta, True)), x
        )
    else:
        offsets = checks.tensor("mex", "offsets", offsets, (x.shape[-1], None))
        b = ops.cast(offsets, "float32")
        y = _columns(lambda x: mex_columns_of(_is_static(beta))(x, b, _finite(beta)), x)
    return cast(y, dtype)


def mex_pool(
    x: Tensor,
    pool_size: Sizes,
    strides: Sizes | None = None,
    padding: str = "valid",
    beta: Scalar = 1.0,
    offsets: Tensor | None = None,
    shared_region: Sizes | None = None,
    unshared_region: Sizes | None = None,
    ignore_nan: bool = False,
) -> Tensor:
    """MEX over windows: `y_q = (1/beta) log mean_i exp(beta (x_qi + b_ri))` (Deep SimNets, section 4.3).

    The mean is over the entries i inside the image: 'same' padding adds none. There are offsets b for
    each region r of output positions q, or none. By default all positions share one set of offsets;
    with a `shared_region` those of a tile of this size do, r = q // size; with an `unshared_region` each
    position of a tile has its own set, and the tile repeats over the image, r = q % size.

    Shapes: x [b, *spatial, c], offsets [*regions, *pool_size, c] -> [b, *spatial', c]. Along an axis there
    are 1, ceil(spatial' / shared_region) or min(spatial', unshared_region) regions.

    Args:
        x: the feature maps.
        pool_size: size of the window, an integer or one for each spatial axis.
        strides: its step, `pool_size` if None.
        padding: "valid" or "same".
        beta: a number (0 and plus or minus infinity included) or a scalar tensor.
        offsets: b, or None.
        shared_region: size of the tiles that share offsets, an integer or one for each spatial axis.
        unshared_region: size of the repeated tile whose positions share none.
        ignore_nan: whether NaN in x is a missing value: the mean is over the others, and NaN where there
            are none.

    Raises:
        ValueError: for sizes below 1, an unknown padding, a window larger than the image, offsets of
            another shape, or both kinds of regions.

    Example:
        >>> x = np.array([1.0, 3.0, 5.0, 9.0]).reshape(1, 4, 1)
        >>> keras.ops.convert_to_numpy(ksn.ops.mex_pool(x, 2, beta=np.inf)).ravel().tolist()
        [3.0, 9.0]
        >>> keras.ops.convert_to_numpy(ksn.ops.mex_pool(x, 2, beta=0.0)).ravel().tolist()
        [2.0, 7.0]
    """
    x = floating(checks.image("mex_pool", "x", x))
    beta = checks.scalar("mex_pool", "beta", beta)
    rank = len(x.shape) - 2
    checks.one_of("mex_pool", "padding", padding, ("valid", "same"))
    window = checks.integers("mex_pool", "pool_size", pool_size, rank)
    steps = window if strides is None else checks.integers("mex_pool", "strides", strides, rank)
    checks.kernel_fits("mex_pool", window, x.shape[1:-1], padding)
    placed = None
    if offsets is not None:
        sizes = zip(x.shape[1:-1], window, steps, strict=True)
        spatial = [window_output_size(*size, padding) for size in sizes]
        regions = (shared_region, unshared_region)
        shape = (*regions_of("mex_pool", spatial, *regions), *window, x.shape[-1])
        offsets = checks.tensor("mex_pool", "offsets", offsets, shape)
        placed = placed_offsets(offsets, spatial, *regions)
    is_plain = placed is None and not ignore_nan
    if is_plain and _is_static(beta) and beta == float("inf"):
        return kernels.select("max_pool", x)(x, window, steps, padding)
    x, mass = _with_border(x, window, steps, padding, ignore_nan)
    x, dtype = to_float32(x)
    if is_plain and _is_static(beta) and beta == 0:
        return cast(_average_pool(x, window, steps, mass), dtype)
    padding = "valid" if mass is None else "same"
    entries = windows(x, window, steps, padding)  # [window, b, *spatial', c]
    if placed is not None:
        moved = entries + placed[:, None]  # but not beyond the border
        entries = moved if mass is None else ops.where(mass > 0, moved, entries)
    return cast(_log_mean_exp(entries, beta, ignore_nan, mass), dtype)


def global_mex_pool(x: Tensor, beta: Scalar = 1.0, ignore_nan: bool = False) -> Tensor:
    """MEX over all positions: `y = (1/beta) log mean exp(beta x)` (Deep SimNets, section 4.1).

    Shapes: x [b, *spatial, c] -> [b, c].

    Args:
        x: the feature maps.
        beta: a number (0 and plus or minus infinity included) or a scalar tensor.
        ignore_nan: whether NaN in x is a missing value, as in `mex`.

    Raises:
        ValueError: for an image without one to three spatial axes, or a beta that is not a number.

    Example:
        >>> x = np.array([1.0, 3.0, 5.0, 9.0]).reshape(1, 2, 2, 1)
        >>> keras.ops.convert_to_numpy(ksn.ops.global_mex_pool(x, beta=0.0)).tolist()
        [[4.5]]
    """
    x = checks.image("global_mex_pool", "x", x)
    beta = checks.scalar("global_mex_pool", "beta", beta)
    positions = ops.reshape(x, (-1, int(np.prod(x.shape[1:-1])), x.shape[-1]))
    return mex(ops.swapaxes(positions, 1, 2), beta=beta, ignore_nan=ignore_nan)


def regions_of(owner, spatial, shared_region=None, unshared_region=None):
    """Numbers of regions along each axis of the output positions."""
    rank = len(spatial)
    if shared_region is not None and unshared_region is not None:
        raise ValueError(
            f"{owner}: `shared_region` {shared_region!r} and `unshared_region` {unshared_region!r} "
            "exclude each other. Leave one None."
        )
    if shared_region is not None:
        tile = checks.integers(owner, "shared_region", shared_region, rank)
        return tuple(-(-n // size) for n, size in zip(spatial, tile, strict=True))
    if unshared_region is not None:
        tile = checks.integers(owner, "unshared_region", unshared_region, rank)
        return tuple(min(n, size) for n, size in zip(spatial, tile, strict=True))
    return (1,) * rank


def placed_offsets(offsets, spatial, shared_region=None, unshared_region=None):
    """Offsets of each position: [*regions, *window, c] -> [prod(window), *spatial', c], in float32."""
    rank, n_channels = len(spatial), offsets.shape[-1]
    tile = shared_region if unshared_region is None else unshared_region
    tile = (tile,) * rank if isinstance(tile, int) or tile is None else tile
    y = ops.cast(offsets, "float32")
    for axis, (n, size) in enumerate(zip(spatial, tile, strict=True)):
        positions = np.arange(n)
        if size is None:
            of_position = np.zeros_like(positions)
        else:
            of_position = positions // size if unshared_region is None else positions % size
        y = ops.take(y, ops.convert_to_tensor(of_position.astype("int32")), axis=axis)
    return ops.moveaxis(ops.reshape(y, (*spatial, -1, n_channels)), -2, 0)


def _with_border(x, pool_size, strides, padding, ignore_nan):
    """(x, the share of each entry): entries beyond the border are missing, or have a share of 0."""
    if padding == "valid" or not _needs_border(x.shape[1:-1], pool_size, strides):
        return x, None
    if ignore_nan:
        return padded(x, pool_size, strides, float("nan")), None
    return x, _mass_inside(x.shape[1:-1], pool_size, strides)


def _average_pool(x, pool_size, strides, mass):
    """Mean over windows; `ops.average_pool` pads 'same' in another way on PyTorch (Keras 3.15)."""
    average_pool = kernels.select("average_pool", x)
    if mass is None:
        return average_pool(x, pool_size, strides)
    x = padded(x, pool_size, strides)
    share = ops.max(mass, axis=0)  # 1 / entries inside the image
    return average_pool(x, pool_size, strides) * (share * mass.shape[0])


def _needs_border(spatial, pool_size, strides):
    """Whether windows with "same" padding reach out of the image."""
    sizes = zip(spatial, pool_size, strides, strict=True)
    return any(None in size or any(same_padding(*size)) for size in sizes)


def _mass_inside(spatial, pool_size, strides):
    """Shares of the entries of each window that lie in the image: [window, 1, *spatial', 1]."""
    inside = windows(ops.ones((1, *spatial, 1)), pool_size, strides, "same")  # 0 in the padding
    return inside / ops.sum(inside, axis=0)


# Shared


def _log_mean_exp(c, beta, ignore_nan, mass=None):
    """MEX over the first axis of `c`, of all terms or of those that are not missing."""
    if not ignore_nan:
        masses = () if mass is None else (mass,)
        return log_mean_exp_of(_is_static(beta))(c, _finite(beta), *masses)
    missing = ops.isnan(c)
    nothing = ops.all(missing, axis=0)
    known = ops.cast(ops.logical_or(ops.logical_not(missing), nothing[None]), "float32")
    mass = known / ops.sum(known, axis=0)
    y = log_mean_exp_of(_is_static(beta))(ops.where(missing, 0.0, c), _finite(beta), mass)
    return ops.where(nothing, float("nan"), y)


def _columns(f, x):
    """Apply f to x [..., n_in] as columns [n_in, m]; its [n_out, m] comes back as [..., n_out]."""
    lead = ops.shape(x)[:-1]
    y = ops.transpose(f(ops.transpose(ops.reshape(x, (-1, x.shape[-1])))))
    return ops.reshape(y, (*lead, y.shape[-1]))


def _finite(beta):
    """Beta as a float32 tensor; an infinite one as the largest number, which gives the same MEX."""
    return ops.clip(ops.cast(beta, "float32"), -FLOAT32_MAX, FLOAT32_MAX)


def _is_static(value):
    return isinstance(value, (int, float))
