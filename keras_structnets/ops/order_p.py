"""Similarity of order p, `y_l = -sum_i u_il |x_i - z_il|^p`, and its gradients, in two forms.

No form makes a tensor of [positions, inputs, outputs]. One loops over outputs, or inputs for the gradient,
with all positions in each turn. The other is for XLA, which makes a sum that is written out one loop over
memory: all outputs are added up at once, from some of the inputs in each turn.
"""

import functools

import keras
from keras import ops

from keras_structnets.ops import fast_paths

_TINY = 1e-20  # distance up to which an input counts as equal to a template
_TERMS = 16  # of a sum that is written out; with fewer XLA on a CPU slices anew for each of them
_SUMS = 2**18  # over positions, that are made beside one another


def similarity(x, z, u, p, form=None):
    """The similarity of order `p`, a number or a scalar tensor, which is differentiated then.

    Shapes: x [..., n_in], z and u [n_in, n_out] -> [..., n_out], all float32. `form` is `LOOPED` or
    `WRITTEN_OUT`, and the faster one if it is None.
    """
    rows = ops.reshape(x, (-1, x.shape[-1]))
    if form is None:
        form = WRITTEN_OUT if fast_paths.sums_by_xla(rows, z) else LOOPED
    y = _differentiable(*form, _Order(p))(rows, z, u, ops.cast(p, "float32"))
    return ops.reshape(y, (*ops.shape(x)[:-1], z.shape[-1]))


def _differentiable(value, sums, order):
    @keras.ops.custom_gradient
    def similarity(x, z, u, p):
        def gradient(*args, upstream=None):  # of the arguments alone, to be differentiated again
            g = args[-1] if upstream is None else upstream
            of_x, of_z, of_u, of_p = sums(order, x, z, -u, p, g)
            return p * of_x, p * u * of_z, -of_u, of_p

        return value(order, x, z, -u, p), gradient

    return similarity


class _Order:
    """Functions of a difference x - z, and of the tensor p, in place of which a known number is taken."""

    def __init__(self, p):
        self.learned = not isinstance(p, (int, float))
        self.known = None if self.learned else p

    def power(self, difference, p):
        """|difference|^p; `difference` may be overwritten."""
        return _power(fast_paths.over(difference, "abs"), p if self.learned else self.known)

    def slope(self, difference, p):
        """Its derivative over p, sign(difference) |difference|^(p - 1), 0 at 0.

        If p is a number `difference` may be overwritten.
        """
        if self.known == 1:
            return fast_paths.over(difference, "sign")
        sign, size = ops.sign(difference), abs(difference)
        if not self.learned and self.known > 1:
            return sign * _power(size, self.known - 1)
        apart = size > _TINY
        return ops.where(apart, sign * ops.power(ops.where(apart, size, 1.0), p - 1), 0.0)


def _power(size, p):
    """size^p for size >= 0; by roots and products where p is a small multiple of 1/2."""
    if not isinstance(p, (int, float)) or 2 * p not in range(9):
        return ops.power(size, p)
    factors = [size] * int(p) + ([] if p == int(p) else [ops.sqrt(size)])
    return functools.reduce(ops.multiply, factors) if factors else ops.ones_like(size)


# Each form takes rows [m, n_in]. Its value is `sum_i u |x - z|^p`, [m, n_out]. From what comes back,
# g [m, n_out], it makes the sums of the gradients, where s is the slope: `sum_l u s g` [m, n_in], `sum_m s g`
# and `sum_m |x - z|^p g` [n_in, n_out], and that of `u |x - z|^p log|x - z| g` over all, a scalar.


def _looped_value(order, x, z, u, p):
    x = _packed(ops.transpose(x))
    y = fast_paths.loop(
        lambda zu: (zu[1][None] @ order.power(x - zu[0][:, None], p))[0],
        (ops.transpose(z), ops.transpose(u)),
    )
    return ops.transpose(y)


def _looped_sums(order, x, z, u, p, g):
    x, g = _packed(ops.transpose(x)), _packed(ops.transpose(g))
    count = ops.cast(ops.maximum(ops.shape(x)[1], 1), x.dtype)
    centre = ops.sum(x, axis=1, keepdims=True) / count  # about it little cancels in of_u

    def of_input(inputs):
        x_i, x_away, z_i, z_away, u_i = inputs  # [m] twice, [n_out] thrice
        difference = x_i[None] - z_i[:, None]  # [n_out, m]
        g_slope = order.slope(difference, p)
        g_slope *= g  # on PyTorch in its place
        of_z = ops.sum(g_slope, axis=1)
        of_u = (g_slope @ x_away[:, None])[:, 0] - z_away * of_z
        of_p = 0.0 * p
        if order.learned:
            size = ops.maximum(abs(difference), _TINY)
            of_p = ops.sum(g_slope * difference * ops.log(size) * u_i[:, None])
        return (u_i[None] @ g_slope)[0], of_z, of_u, of_p

    of_x, of_z, of_u, of_p = fast_paths.loop(of_input, (x, x - centre, z, z - centre, u))
    return ops.transpose(of_x), of_z, of_u, ops.sum(of_p)


def _packed(x):
    """`x` laid out in memory row by row: PyTorch transposes views, whose rows are slow to loop over."""
    return ops.reshape(ops.reshape(x, (-1,)), ops.shape(x))


def _written_value(order, *arguments):
    forms = (functools.partial(form, order) for form in (_sum_of_outputs, _looped_value))
    return fast_paths.fused(*forms)(*arguments)


def _written_sums(order, *arguments):
    forms = (functools.partial(form, order) for form in (_sums_of_gradients, _looped_sums))
    return fast_paths.fused(*forms)(*arguments)


def _sums_of_gradients(order, x, z, u, p, g):
    def logarithm(difference):
        size = ops.maximum(abs(difference), _TINY)
        return order.power(difference, p) * ops.log(size)

    of_z = _sum_of_weights(lambda difference: order.slope(difference, p), x, z, g)
    of_u = _sum_of_weights(lambda difference: order.power(difference, p), x, z, g)
    of_p = ops.sum(_sum_of_weights(logarithm, x, z, g) * u) if order.learned else 0.0 * p
    return _sum_of_inputs(order, x, z, u, p, g), of_z, of_u, of_p


def _sum_of_outputs(order, x, z, u, p):
    def add(y, start, few):
        columns = _few(x, 1, start, few)
        z_few, u_few = _few(z, 0, start, few), _few(u, 0, start, few)
        for i in range(few):
            y = y + u_few[i] * order.power(columns[:, i, None] - z_few[i], p)
        return y

    return _in_turns(add, ops.zeros((ops.shape(x)[0], z.shape[1]), x.dtype), z.shape[0])


def _sum_of_inputs(order, x, z, u, p, g):
    z, u = ops.transpose(z), ops.transpose(u)

    def add(of_x, start, few):
        columns = _few(g, 1, start, few)
        z_few, u_few = _few(z, 0, start, few), _few(u, 0, start, few)
        for i in range(few):
            of_x = of_x + u_few[i] * (order.slope(x - z_few[i], p) * columns[:, i, None])
        return of_x

    return _in_turns(add, ops.zeros_like(x), z.shape[0])


def _sum_of_weights(f, x, z, g):
    """Sum over the rows of f(x - z) g. One f at a time: XLA would keep what several share."""
    x, g = _parts(x, z.shape), _parts(g, z.shape)

    def add(turn, total):
        x_few, g_few = x[turn], g[turn]  # [parts, terms, n_in], [parts, terms, n_out]
        for i in range(_TERMS):
            total = total + f(x_few[:, i, :, None] - z) * g_few[:, i, None, :]
        return total

    zeros = ops.zeros((x.shape[1], *z.shape), x.dtype)
    return ops.sum(ops.fori_loop(0, ops.shape(x)[0], add, zeros), axis=0)


def _in_turns(add, total, n):
    """`add(total, start, few)` for the next few of n terms, and again for those after them."""
    turns, rest = divmod(n, _TERMS)
    if turns > 1:
        total = ops.fori_loop(0, turns, lambda i, sums: add(sums, i * _TERMS, _TERMS), total)
        return add(total, turns * _TERMS, rest) if rest else total
    return add(total, 0, n)


def _few(x, axis, start, few):
    """`few` entries of `x` [k, k'] along an axis."""
    starts, shape = [0, 0], list(ops.shape(x))
    starts[axis], shape[axis] = start, few
    return ops.slice(x, starts, shape)


def _parts(x, sums):
    """Rows [m, n] as [turns, parts, terms, n], the last filled up with zeros.

    The parts are summed beside one another, as many as there is room for, each with `sums` of its own.
    """
    m, n = ops.shape(x)
    parts = max(_SUMS // (sums[0] * sums[1]), 1)
    if isinstance(m, int) and m:
        parts = max(min(parts, m // min(sums)), 1)  # all sums have no more entries than x or g
        turns = -(-m // (parts * _TERMS))
        parts = -(-m // (turns * _TERMS))  # few rows of zeros
    x = ops.pad(x, [(0, -m % (parts * _TERMS)), (0, 0)])
    return ops.reshape(x, (-1, parts, _TERMS, n))


LOOPED = _looped_value, _looped_sums
WRITTEN_OUT = _written_value, _written_sums
