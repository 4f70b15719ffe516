"""Deep SimNets: similarity to templates, with gradients that stay finite everywhere."""

import functools

from keras import ops

from keras_structnets import checks
from keras_structnets.ops import kernels
from keras_structnets.ops.precision import cast, floating, to_float32
from keras_structnets.signatures import Scalar, Tensor

_TINY = 1e-20  # distance up to which an input counts as equal to a template


def linear_similarity(
    x: Tensor, templates: Tensor, weights: Tensor | None = None, ignore_nan: bool = False
) -> Tensor:
    """Linear similarity `y_l = sum_i u_il x_i z_il` (Deep SimNets, section 2).

    Shapes: x [..., n_in], templates z and weights u [n_in, n_out] -> [..., n_out].

    Args:
        x: the inputs.
        templates: z.
        weights: u; None for ones.
        ignore_nan: whether NaN in x is a missing value: the sum runs over the others.

    Raises:
        ValueError: for shapes that do not fit.

    Example:
        >>> x = np.array([[1.0, 2.0]], "float32")
        >>> templates = np.array([[1.0, 0.0, 1.0], [0.0, 1.0, 1.0]])  # a template per column
        >>> keras.ops.convert_to_numpy(ksn.ops.linear_similarity(x, templates)).tolist()
        [[1.0, 2.0, 3.0]]
    """
    x, z, u = _arguments("linear_similarity", x, templates, weights)
    x = floating(x)
    x = _known(x) if ignore_nan else x
    u_z = z if u is None else floating(z) * ops.cast(u, floating(z).dtype)
    return kernels.select("pointwise", x)(x, cast(u_z, x.dtype))


def lp_similarity(
    x: Tensor,
    templates: Tensor,
    weights: Tensor | None = None,
    p: Scalar = 2.0,
    ignore_nan: bool = False,
) -> Tensor:
    """The l_p similarity `y_l = -sum_i u_il |x_i - z_il|^p` (Deep SimNets, section 2).

    No tensor of shape [..., n_in, n_out] is made. For p = 2 the square is expanded into two matrix
    products, about the mean of the templates so that little cancels:
    `-(x^2 u - 2 x (u z) + sum_i u z^2)`. Other p loop over the outputs, and the gradient over the
    inputs. Where x equals z the gradient is taken as 0, for every p. Sums run in
    float32.

    Shapes: x [..., n_in], templates z and weights u [n_in, n_out], p a number or a scalar tensor
    -> [..., n_out].

    Args:
        x: the inputs.
        templates: z.
        weights: u, nonnegative; None for ones.
        p: the order, above 0. A tensor is differentiated.
        ignore_nan: whether NaN in x is a missing value: the sum runs over the others, and is 0 where
            there are none.

    Raises:
        ValueError: if p is a number and not above 0, or for shapes that do not fit.

    Example:
        >>> x = np.array([[1.0, 2.0]])
        >>> templates = np.array([[1.0, 0.0], [1.0, 0.0]])  # (1, 1) and (0, 0)
        >>> keras.ops.convert_to_numpy(ksn.ops.lp_similarity(x, templates)).round(3).tolist()
        [[-1.0, -5.0]]
        >>> keras.ops.convert_to_numpy(ksn.ops.lp_similarity(x, templates, p=1.0)).tolist()
        [[-1.0, -3.0]]
        >>> x = np.array([[1.0, np.nan]])
        >>> y = ksn.ops.lp_similarity(x, templates, p=1.0, ignore_nan=True)
        >>> keras.ops.convert_to_numpy(y).tolist()
        [[0.0, -1.0]]
    """
    x, z, u = _arguments("lp_similarity", x, templates, weights)
    p = checks.scalar("lp_similarity", "p", p)
    if _is_static(p):
        checks.positive("lp_similarity", "p", p)
    x, dtype = to_float32(x)
    z = ops.cast(z, "float32")
    u = ops.ones_like(z) if u is None else ops.cast(u, "float32")
    if _is_static(p) and p == 2:
        return cast(_l2_similarity(x, z, u, ignore_nan), dtype)
    return cast(_order_p_similarity(x, z, u, p, ignore_nan), dtype)


def _arguments(owner, x, templates, weights):
    """Inputs, templates and weights as tensors; None for weights that are."""
    x = checks.tensor(owner, "x", x, (..., None))
    z = checks.tensor(owner, "templates", templates, (x.shape[-1], None))
    return x, z, weights if weights is None else checks.tensor(owner, "weights", weights, z.shape)


def _known(x):
    """`x` with 0 for its missing values."""
    return ops.where(ops.isnan(x), 0.0, x)


def _l2_similarity(x, z, u, ignore_nan):
    centre = ops.stop_gradient(ops.mean(z, axis=1))  # [n_in]; the similarity does not depend on it
    x, z = x - centre, z - centre[:, None]
    pointwise = kernels.select("pointwise", x)
    if ignore_nan:
        constant = pointwise(ops.cast(ops.logical_not(ops.isnan(x)), x.dtype), u * z * z)
        x = _known(x)
    else:
        constant = ops.sum(u * z * z, axis=0)
    return pointwise(x, 2 * u * z) - constant - pointwise(x * x, u)


def _order_p_similarity(x, z, u, p, ignore_nan):
    """The similarity of order `p`, a number or a scalar tensor, as loops: none makes [m, n_in, n_out].

    Shapes: x [..., n_in], z and u [n_in, n_out] -> [..., n_out], all float32.
    """
    rows, order = ops.reshape(x, (-1, x.shape[-1])), ops.cast(p, "float32")
    y = _similarity_of(p if _is_static(p) else None, ignore_nan)(rows, z, u, order)
    return ops.reshape(y, (*ops.shape(x)[:-1], z.shape[-1]))


@functools.cache
def _similarity_of(static_p, ignore_nan):
    """The similarity of rows [m, n_in], with a custom gradient; `static_p` is None for a tensor p."""
    known = _known if ignore_nan else lambda x: x  # a difference of 0 has a gradient of 0

    @kernels.select("custom_gradient")
    def similarity(x, z, u, p):
        order = p if static_p is None else static_p

        def gradient(*args, upstream=None):  # of the arguments alone: it has a gradient too
            g = args[-1] if upstream is None else upstream
            of_x, of_z, of_u, of_p = _sums_of_gradients(x, z, -u, order, g, known)
            return p * of_x, p * u * of_z, -of_u, 0.0 * p + of_p

        return _sum_of_powers(x, z, -u, order, known), gradient

    return similarity


def _sum_of_powers(x, z, u, p, known):
    """`sum_i u_il |x_i - z_il|^p`, [m, n_in] -> [m, n_out], one output after the other."""
    x = _contiguous(ops.transpose(x))

    def of_output(columns):
        z_l, u_l = columns  # [n_in] twice
        return (u_l[None] @ _power(abs(known(x - z_l[:, None])), p))[0]

    y = kernels.select("loop", x)(of_output, (ops.transpose(z), ops.transpose(u)))
    return ops.transpose(y)


def _sums_of_gradients(x, z, u, p, g, known):
    """The sums over the gradient g [m, n_out], one input after the other.

    With the slope s of |x - z|^p over p: `sum_l u s g` [m, n_in], `sum_m s g` and
    `sum_m |x - z|^p g` [n_in, n_out], and `u |x - z|^p log|x - z| g` over all, a scalar.
    """
    x, g = _contiguous(ops.transpose(x)), _contiguous(ops.transpose(g))
    n_rows = ops.cast(ops.maximum(ops.shape(x)[1], 1), x.dtype)
    centre = ops.sum(known(x), axis=1, keepdims=True) / n_rows  # about it little cancels in of_u

    def of_input(rows):
        x_i, x_centred, z_i, z_centred, u_i = rows  # [m] twice, [n_out] three times
        difference = known(x_i[None] - z_i[:, None])  # [n_out, m]
        g_slope = _slope(difference, p) * g
        of_z = ops.sum(g_slope, axis=1)
        of_u = (g_slope @ x_centred[:, None])[:, 0] - z_centred * of_z
        of_x = (u_i[None] @ g_slope)[0]
        if _is_static(p):
            return of_x, of_z, of_u
        log_size = ops.log(ops.maximum(abs(difference), _TINY))
        return of_x, of_z, of_u, ops.sum(g_slope * difference * log_size * u_i[:, None])

    sums = kernels.select("loop", x)(of_input, (x, known(x - centre), z, z - centre, u))
    of_p = 0.0 if _is_static(p) else ops.sum(sums[3])
    return ops.transpose(sums[0]), sums[1], sums[2], of_p


def _slope(difference, p):
    """Derivative of |difference|^p over p: sign(difference) |difference|^(p - 1), 0 at 0."""
    sign = ops.sign(difference)
    if _is_static(p) and p == 1:
        return sign
    size = abs(difference)
    if _is_static(p) and p > 1:
        return sign * _power(size, p - 1)
    apart = size > _TINY
    return ops.where(apart, sign * ops.power(ops.where(apart, size, 1.0), p - 1), 0.0)


def _power(size, p):
    """size^p for size >= 0; by roots and products where p is a small multiple of 1/2."""
    if not _is_static(p) or 2 * p not in range(9):
        return ops.power(size, p)
    factors = [size] * int(p) + ([] if p == int(p) else [ops.sqrt(size)])
    return functools.reduce(ops.multiply, factors) if factors else ops.ones_like(size)


def _contiguous(x):
    """`x` row by row in memory: PyTorch transposes in a view, whose rows are slow to loop over."""
    return ops.reshape(ops.reshape(x, (-1,)), ops.shape(x))


def _is_static(value):
    return isinstance(value, (int, float))
