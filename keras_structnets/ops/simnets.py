"""Deep SimNets: similarity and MEX (log-mean-exp), with gradients that stay finite everywhere."""

import keras
import numpy as np
from keras import ops

from keras_structnets import checks
from keras_structnets.ops import fast_paths, order_p
from keras_structnets.ops.patches import padded, same_padding, windows
from keras_structnets.signatures import Scalar, Sizes, Tensor

_FLOAT32_MAX = float(np.finfo("float32").max)
_SMALL = 1.0  # range of beta * c up to which MEX is expanded about the mean
_SAFE = 60.0  # range of beta * c up to which exponentials and gradients over them are finite
_CLOSE = 16.0  # range of beta * c up to which the gradient of beta keeps its digits by products


def linear_similarity(x: Tensor, templates: Tensor, weights: Tensor | None = None) -> Tensor:
    """Linear similarity `y_l = sum_i u_il x_i z_il` (Deep SimNets, section 2).

    Shapes: x [..., n_in], templates z and weights u [n_in, n_out] -> [..., n_out].

    Args:
        x: the inputs.
        templates: z.
        weights: u; None for ones.

    Example:
        >>> x = np.array([[1.0, 2.0]], "float32")
        >>> templates = np.array([[1.0, 0.0, 1.0], [0.0, 1.0, 1.0]])  # a template per column
        >>> keras.ops.convert_to_numpy(ksn.ops.linear_similarity(x, templates)).tolist()
        [[1.0, 2.0, 3.0]]
    """
    u_z = templates if weights is None else templates * weights
    return fast_paths.pointwise(x, ops.cast(u_z, x.dtype))


def lp_similarity(
    x: Tensor, templates: Tensor, weights: Tensor | None = None, p: Scalar = 2.0
) -> Tensor:
    """The l_p similarity `y_l = -sum_i u_il |x_i - z_il|^p` (Deep SimNets, section 2).

    No tensor of shape [..., n_in, n_out] is made. For p = 2 the square is expanded into two matrix
    products, about the mean of the templates so that little cancels:
    `-(x^2 u - 2 x (u z) + sum_i u z^2)`. Other p add up some of the inputs after others, and the
    gradient some of the outputs. Where x equals z the gradient is taken as 0, for every p. Sums run in
    float32.

    Shapes: x [..., n_in], templates z and weights u [n_in, n_out], p a number or a scalar tensor
    -> [..., n_out].

    Args:
        x: the inputs.
        templates: z.
        weights: u, nonnegative; None for ones.
        p: the order, above 0. A tensor is differentiated.

    Raises:
        ValueError: if p is a number and not above 0.

    Example:
        >>> x = np.array([[1.0, 2.0]])
        >>> templates = np.array([[1.0, 0.0], [1.0, 0.0]])  # (1, 1) and (0, 0)
        >>> keras.ops.convert_to_numpy(ksn.ops.lp_similarity(x, templates)).round(3).tolist()
        [[-1.0, -5.0]]
        >>> keras.ops.convert_to_numpy(ksn.ops.lp_similarity(x, templates, p=1.0)).tolist()
        [[-1.0, -3.0]]
    """
    x, dtype = _float32(x)
    z = ops.cast(templates, "float32")
    u = ops.ones_like(z) if weights is None else ops.cast(weights, "float32")
    if _is_static(p):
        checks.positive("lp_similarity", "p", p)
    y = _l2_similarity(x, z, u) if _is_static(p) and p == 2 else order_p.similarity(x, z, u, p)
    return fast_paths.cast(y, dtype)


def mex(x: Tensor, offsets: Tensor | None = None, beta: Scalar = 1.0) -> Tensor:
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

    Example:
        >>> x = np.array([1.0, 3.0])
        >>> [round(float(ksn.ops.mex(x, beta=beta)), 2) for beta in (-np.inf, 0.0, 1.0, np.inf)]
        [1.0, 2.0, 2.43, 3.0]

        >>> offsets = np.array([[0.0, 5.0], [0.0, 0.0]])  # two outputs
        >>> keras.ops.convert_to_numpy(ksn.ops.mex(x, offsets, beta=np.inf)).tolist()
        [3.0, 6.0]
    """
    x, dtype = _float32(x)
    if offsets is None:
        y = _log_mean_exp(None, _is_static(beta))(ops.moveaxis(x, -1, 0), _finite(beta))
    else:
        b = ops.cast(offsets, "float32")
        y = _columns(lambda x: _mex_columns(_is_static(beta))(x, b, _finite(beta)), x)
    return fast_paths.cast(y, dtype)


def mex_pool(
    x: Tensor,
    pool_size: Sizes,
    strides: Sizes | None = None,
    padding: str = "valid",
    beta: Scalar = 1.0,
) -> Tensor:
    """MEX over windows: `y = (1/beta) log mean exp(beta x)` (Deep SimNets, section 4.3).

    The mean is over the entries inside the image: 'same' padding adds none.

    Shapes: x [b, *spatial, c] -> [b, *spatial', c].

    Args:
        x: the feature maps.
        pool_size: size of the window, an integer or one for each spatial axis.
        strides: its step, `pool_size` if None.
        padding: "valid" or "same".
        beta: a number (0 and plus or minus infinity included) or a scalar tensor.

    Raises:
        ValueError: for sizes below 1, an unknown padding, or a window larger than the image.

    Example:
        >>> x = np.array([1.0, 3.0, 5.0, 9.0]).reshape(1, 4, 1)
        >>> keras.ops.convert_to_numpy(ksn.ops.mex_pool(x, 2, beta=np.inf)).ravel().tolist()
        [3.0, 9.0]
        >>> keras.ops.convert_to_numpy(ksn.ops.mex_pool(x, 2, beta=0.0)).ravel().tolist()
        [2.0, 7.0]
    """
    rank = len(x.shape) - 2
    checks.one_of("mex_pool", "padding", padding, ("valid", "same"))
    pool_size = checks.integers("mex_pool", "pool_size", pool_size, rank)
    strides = pool_size if strides is None else strides
    strides = checks.integers("mex_pool", "strides", strides, rank)
    checks.kernel_fits("mex_pool", pool_size, x.shape[1:-1], padding)
    if _is_static(beta) and beta == float("inf"):
        return fast_paths.max_pool(x, pool_size, strides, padding)
    mass = None
    if padding == "same" and _needs_border(x.shape[1:-1], pool_size, strides):
        mass = _mass_inside(x.shape[1:-1], pool_size, strides)
    x, dtype = _float32(x)
    if _is_static(beta) and beta == 0:
        return fast_paths.cast(_average_pool(x, pool_size, strides, mass), dtype)
    padding = "valid" if mass is None else "same"
    entries = windows(x, pool_size, strides, padding)  # [window, b, *spatial', c]
    return fast_paths.cast(_log_mean_exp(mass, _is_static(beta))(entries, _finite(beta)), dtype)


def global_mex_pool(x: Tensor, beta: Scalar = 1.0) -> Tensor:
    """MEX over all positions: `y = (1/beta) log mean exp(beta x)` (Deep SimNets, section 4.1).

    Shapes: x [b, *spatial, c] -> [b, c].

    Args:
        x: the feature maps.
        beta: a number (0 and plus or minus infinity included) or a scalar tensor.

    Example:
        >>> x = np.array([1.0, 3.0, 5.0, 9.0]).reshape(1, 2, 2, 1)
        >>> keras.ops.convert_to_numpy(ksn.ops.global_mex_pool(x, beta=0.0)).tolist()
        [[4.5]]
    """
    positions = ops.reshape(x, (-1, int(np.prod(x.shape[1:-1])), x.shape[-1]))
    return mex(ops.swapaxes(positions, 1, 2), beta=beta)


# Similarity


def _l2_similarity(x, z, u):
    centre = ops.stop_gradient(ops.mean(z, axis=1))  # [n_in]; the similarity does not depend on it
    x, z = x - centre, z - centre[:, None]
    constant = ops.sum(u * z * z, axis=0)
    return fast_paths.pointwise(x, 2 * u * z) - constant - fast_paths.pointwise(x * x, u)


# MEX. `c` [n, ...] holds the terms along its first axis; `mass` [n, ...] what share each has in the
# mean, or None for equal shares. Where |beta| (max c - min c) is at most _SMALL the terms are expanded
# about their mean, which stays accurate down to beta = 0; elsewhere about their extreme.


def _log_mean_exp(mass, beta_is_static):
    @keras.ops.custom_gradient
    def log_mean_exp(c, beta):
        y, *parts = _value(c, beta, mass)

        def gradient(*args, upstream=None):
            g = args[-1] if upstream is None else upstream
            again = fast_paths.differentiates_again()
            reference, log_mean = _value(c, beta, mass)[1:] if again else parts
            share = ops.exp(beta * (c - reference[None]) - log_mean[None]) * _mass(c, mass)
            g_beta = 0.0 * beta if beta_is_static else ops.sum(g * _slope(c, beta, mass))
            return g[None] * share, g_beta

        return y, gradient

    return log_mean_exp


def _mex_columns(beta_is_static):
    """Columns [n_in, m] -> [n_out, m] of MEX, by products of matrices or by loops, and gradients."""

    @keras.ops.custom_gradient
    def mex_columns(x, b, beta):
        safe = _products_are_accurate(x, b, beta)

        def value():  # thrice [n_out, m]
            return fast_paths.cond(safe, _value_by_products, _value_by_loop, x, b, beta)

        y, *parts = value()

        def gradient(*args, upstream=None):
            g = args[-1] if upstream is None else upstream
            again = fast_paths.differentiates_again()
            reference, log_mean = value()[1:] if again else parts
            arguments = (x, b, beta, g, reference, log_mean, beta_is_static)
            return ops.cond(
                safe, lambda: _slope_by_products(*arguments), lambda: _slope_by_loop(*arguments)
            )

        return y, gradient

    return mex_columns


def _products_are_accurate(x, b, beta):
    """Whether MEX with offsets may run as `log sum exp(beta x) exp(beta b)`.

    No sum underflows if either the inputs of a position or the offsets of an output lie within
    60 / |beta|; no difference of logarithms cancels if beta times one of the ranges is above 1.
    """
    of_x, of_b, size = _range(x), _range(b), ops.abs(beta)
    return ops.logical_and(
        size * ops.minimum(of_x, of_b) <= _SAFE, size * ops.maximum(of_x, of_b) >= _SMALL
    )


def _range(c):
    """The largest range of the entries along the first axis."""
    return ops.max(ops.max(c, axis=0) - ops.min(c, axis=0))


def _value_by_products(x, b, beta):
    """What `_value` returns for each output; one product of matrices."""
    (p, of_x), (q, of_b) = _shifted_exp(x, beta), _shifted_exp(b, beta)
    log_mean = ops.log(ops.matmul(ops.transpose(q), p) / x.shape[0])
    reference = of_b[:, None] + of_x[None]
    return reference + log_mean / beta, reference, log_mean


def _slope_by_products(x, b, beta, g, reference, log_mean, beta_is_static):
    p, q = _shifted_exp(x, beta)[0], _shifted_exp(b, beta)[0]
    g_sum = g * ops.exp(-log_mean) / x.shape[0]  # [n_out, m]
    g_x = p * ops.matmul(q, g_sum)
    g_b = q * ops.matmul(p, ops.transpose(g_sum))
    return g_x, g_b, 0.0 * beta if beta_is_static else _beta_by_products(x, b, beta, g, log_mean)


def _beta_by_products(x, b, beta, g, log_mean):
    """Gradient of beta; by a loop where the distance of the winner would cancel."""

    def by_products():
        (p, of_x), (q, of_b) = _shifted_exp(x, beta), _shifted_exp(b, beta)
        distance = ops.matmul(ops.transpose(q), p * (x - of_x[None]))
        distance = distance + ops.matmul(ops.transpose(q * (b - of_b[None])), p)  # [n_out, m]
        mean = distance * ops.exp(-log_mean) / x.shape[0]
        return ops.sum(g * (mean - log_mean / beta)) / beta

    return ops.cond(
        ops.abs(beta) * ops.minimum(_range(x), _range(b)) <= _CLOSE,
        by_products,
        lambda: _gradient_of_beta(_far_slope, x, b, beta, g),
    )


def _shifted_exp(c, beta):
    """exp(beta (c - r)), at most 1, and the extreme r of the first axis."""
    r = ops.where(beta > 0, ops.max(c, axis=0), ops.min(c, axis=0))
    return ops.exp(beta * (c - r[None])), r


def _value_by_loop(x, b, beta):
    return fast_paths.loop(lambda b_l: _value(x + b_l[:, None], beta, None), ops.transpose(b))


def _slope_by_loop(x, b, beta, g, reference, log_mean, beta_is_static):
    def of_input(inputs):
        x_i, b_i = inputs  # [m], [n_out]
        c_i = x_i[None] + b_i[:, None]
        g_c = g * ops.exp(beta * (c_i - reference) - log_mean) / x.shape[0]
        return ops.sum(g_c, axis=0), ops.sum(g_c, axis=1)

    g_x, g_b = fast_paths.loop(of_input, (x, b))
    g_beta = 0.0 * beta if beta_is_static else _gradient_of_beta(_slope, x, b, beta, g)
    return g_x, g_b, g_beta


def _gradient_of_beta(slope, x, b, beta, g):
    def of_output(inputs):
        b_l, g_l = inputs
        return ops.sum(g_l * slope(x + b_l[:, None], beta, None))

    return ops.sum(fast_paths.loop(of_output, (ops.transpose(b), g)))


def _value(c, beta, mass):
    """MEX of the terms, the point r that it was expanded about, and log mean exp(beta (c - r))."""
    c, small, r = _expansion(c, beta, mass)
    t = beta * (c - r[None])
    mean = _mean(ops.where(small[None], ops.expm1(t), ops.exp(t)), mass)
    log_mean = ops.where(
        small, ops.log1p(ops.where(small, mean, 0.0)), ops.log(ops.where(small, 1.0, mean))
    )
    zero = ops.abs(beta) < 1e-30  # there log_mean is 0
    return r + log_mean / ops.where(zero, 1.0, beta), r, log_mean


def _slope(c, beta, mass):
    """Derivative of MEX in beta; at 0 half the variance of the terms."""
    c, small, r = _expansion(c, beta, mass)
    distance = c - r[None]
    t = beta * distance
    rest = _exp_rest(t)
    square = distance * distance
    half_variance = _mean(square * rest, mass)
    y = ops.where(small, beta * (beta * half_variance), 0.0)
    series = _mean(square * (1 + t * rest), mass) / (1 + y) - half_variance * _log1p_ratio(y)
    far = _far_slope(c, ops.where(small, 1.0, beta), mass)
    return ops.where(small, ops.where(small, series, 0.0), far)


def _far_slope(c, beta, mass):
    """`_slope` where the terms are far apart for beta; elsewhere it keeps fewer digits."""
    distance = c - ops.where(beta > 0, ops.max(c, axis=0), ops.min(c, axis=0))[None]
    e = ops.exp(beta * distance)
    mean = _mean(e, mass)
    return (_mean(e * distance, mass) / mean - ops.log(mean) / beta) / beta


def _expansion(c, beta, mass):
    """The terms, whether beta is small for their range, and the point to expand about."""
    if mass is None:
        high, low = ops.max(c, axis=0), ops.min(c, axis=0)
    else:  # terms without mass take a value of the others
        inside = mass > 0
        high = ops.max(ops.where(inside, c, -_FLOAT32_MAX), axis=0)
        low = ops.min(ops.where(inside, c, _FLOAT32_MAX), axis=0)
        c = ops.where(inside, c, high[None])
    small = ops.abs(beta) * (high - low) <= _SMALL
    mean = ops.minimum(ops.maximum(_mean(c, mass), low), high)  # rounding may put it outside
    return c, small, ops.where(small, mean, ops.where(beta > 0, high, low))


def _exp_rest(t):
    """(exp(t) - 1 - t) / t^2 for |t| <= _SMALL, by its series."""
    rest = 1.0
    for k in range(10, 2, -1):
        rest = 1.0 + t * rest * (1.0 / k)
    return 0.5 * rest


def _log1p_ratio(y):
    """log(1 + y) / y, continuous at 0, for y >= 0."""
    tiny = y < 1e-3
    safe = ops.where(tiny, 1.0, y)
    return ops.where(tiny, 1 - y / 2 + y * y / 3, ops.log1p(safe) / safe)


def _mean(terms, mass):
    return ops.mean(terms, axis=0) if mass is None else ops.sum(terms * mass, axis=0)


def _mass(c, mass):
    return 1.0 / c.shape[0] if mass is None else mass


def _average_pool(x, pool_size, strides, mass):
    """Mean over windows; `ops.average_pool` pads 'same' in another way on PyTorch (Keras 3.15)."""
    if mass is None:
        return fast_paths.average_pool(x, pool_size, strides)
    x = padded(x, pool_size, strides)
    share = ops.max(mass, axis=0)  # 1 / entries inside the image
    return fast_paths.average_pool(x, pool_size, strides) * (share * mass.shape[0])


def _needs_border(spatial, pool_size, strides):
    """Whether windows with "same" padding reach out of the image."""
    sizes = zip(spatial, pool_size, strides, strict=True)
    return any(None in size or any(same_padding(*size)) for size in sizes)


def _mass_inside(spatial, pool_size, strides):
    """Shares of the entries of each window that lie in the image: [window, 1, *spatial', 1]."""
    inside = windows(ops.ones((1, *spatial, 1)), pool_size, strides, "same")  # 0 in the padding
    return inside / ops.sum(inside, axis=0)


# Shared


def _columns(f, x):
    """Apply f to x [..., n_in] as columns [n_in, m]; its [n_out, m] comes back as [..., n_out]."""
    lead = ops.shape(x)[:-1]
    y = ops.transpose(f(ops.transpose(ops.reshape(x, (-1, x.shape[-1])))))
    return ops.reshape(y, (*lead, y.shape[-1]))


def _finite(beta):
    """Beta as a float32 tensor; an infinite one as the largest number, which gives the same MEX."""
    return ops.clip(ops.cast(beta, "float32"), -_FLOAT32_MAX, _FLOAT32_MAX)


def _float32(x):
    x = ops.convert_to_tensor(x)
    return ops.cast(x, "float32"), x.dtype


def _is_static(value):
    return isinstance(value, (int, float))
