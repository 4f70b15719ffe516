"""MEX of columns, `(1/beta) log mean exp(beta c)`, with gradients that stay finite everywhere.

`c` [n, ...] holds the terms along its first axis; `mass` [n, ...] the share of each in the mean, or
None for equal shares. Where |beta| (max c - min c) is at most _SMALL the terms are expanded about their
mean, which stays accurate down to beta = 0; elsewhere about their extreme.
"""

import functools

import numpy as np
from keras import ops

from keras_structnets.ops import kernels

FLOAT32_MAX = float(np.finfo("float32").max)
_SMALL = 1.0  # range of beta * c up to which MEX is expanded about the mean
_SAFE = 60.0  # range of beta * c up to which exponentials and gradients over them are finite
_CLOSE = 16.0  # range of beta * c up to which the gradient of beta keeps its digits by products


@functools.cache
def log_mean_exp_of(beta_is_static):
    """MEX (c [n, ...], beta, and mass or nothing) -> [...] with a custom gradient.

    The gradients of the mass and of a static beta are 0.
    """

    @kernels.select("custom_gradient")
    def log_mean_exp(c, beta, *masses):
        mass = masses[0] if masses else None
        y, *parts = _value(c, beta, mass)

        def gradient(*args, upstream=None):
            g = args[-1] if upstream is None else upstream
            recompute = kernels.select("is_double_backward")()
            reference, log_mean = _value(c, beta, mass)[1:] if recompute else parts
            share = ops.exp(beta * (c - reference[None]) - log_mean[None]) * _mass(c, mass)
            g_beta = 0.0 * beta if beta_is_static else ops.sum(g * _slope(c, beta, mass))
            return g[None] * share, g_beta, *map(ops.zeros_like, masses)

        return y, gradient

    return log_mean_exp


@functools.cache
def mex_columns_of(beta_is_static):
    """MEX (x [n_in, m], offsets [n_in, n_out], beta) -> [n_out, m] with a custom gradient.

    It runs as products of matrices where these are accurate, and as loops elsewhere.
    """

    @kernels.select("custom_gradient")
    def mex_columns(x, b, beta):
        safe = _products_are_accurate(x, b, beta)

        def value():  # three of [n_out, m]
            return kernels.select("cond")(safe, _value_by_products, _value_by_loop, x, b, beta)

        y, *parts = value()

        def gradient(*args, upstream=None):
            g = args[-1] if upstream is None else upstream
            recompute = kernels.select("is_double_backward")()
            reference, log_mean = value()[1:] if recompute else parts
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
    """The largest range of the entries along the first axis; 0 for an empty batch."""
    return ops.max(_highest(c) - _lowest(c), initial=0.0)


def _highest(c):
    """The maximum over the first axis; on TensorFlow Keras takes an empty batch with `initial` alone."""
    return ops.max(c, axis=0, initial=-FLOAT32_MAX)


def _lowest(c):
    return ops.min(c, axis=0, initial=FLOAT32_MAX)


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
    r = ops.where(beta > 0, _highest(c), _lowest(c))
    return ops.exp(beta * (c - r[None])), r


def _value_by_loop(x, b, beta):
    def of_output(b_l):
        return _value(x + b_l[:, None], beta, None)

    return kernels.select("loop", b)(of_output, ops.transpose(b))


def _slope_by_loop(x, b, beta, g, reference, log_mean, beta_is_static):
    def of_input(inputs):
        x_i, b_i = inputs  # [m], [n_out]
        c_i = x_i[None] + b_i[:, None]
        g_c = g * ops.exp(beta * (c_i - reference) - log_mean) / x.shape[0]
        return ops.sum(g_c, axis=0), ops.sum(g_c, axis=1)

    g_x, g_b = kernels.select("loop", b)(of_input, (x, b))
    g_beta = 0.0 * beta if beta_is_static else _gradient_of_beta(_slope, x, b, beta, g)
    return g_x, g_b, g_beta


def _gradient_of_beta(slope, x, b, beta, g):
    def of_output(inputs):
        b_l, g_l = inputs
        return ops.sum(g_l * slope(x + b_l[:, None], beta, None))

    return ops.sum(kernels.select("loop", b)(of_output, (ops.transpose(b), g)))


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
    distance = c - ops.where(beta > 0, _highest(c), _lowest(c))[None]
    e = ops.exp(beta * distance)
    mean = _mean(e, mass)
    return (_mean(e * distance, mass) / mean - ops.log(mean) / beta) / beta


def _expansion(c, beta, mass):
    """The terms, whether beta is small for their range, and the point to expand about."""
    if mass is None:
        high, low = _highest(c), _lowest(c)
    else:  # terms without mass take a value of the others
        inside = mass > 0
        high = _highest(ops.where(inside, c, -FLOAT32_MAX))
        low = _lowest(ops.where(inside, c, FLOAT32_MAX))
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
