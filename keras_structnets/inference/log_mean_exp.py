"""`(1/beta) log mean exp(beta c)` for a constant beta, without a branch on data.

Where `|beta|` times the range of the inputs is small, the sum of exponentials about their extreme loses
digits: there it is expanded about the mean. Both are computed, and each entry selects its own.
"""

import functools
import itertools
import math

import numpy as np
from keras import ops

from keras_structnets.ops.windows import same_padding, slices

SMALL = 0.5  # |beta (c - mean)| up to which MEX is expanded about the mean
_LARGEST = float(np.finfo("float32").max)


def log_mean_exp(x, beta, axis):
    """MEX along one axis, which stays with size 1."""
    beta = min(max(beta, -_LARGEST), _LARGEST)
    r = _extreme(beta)(x, axis=axis, keepdims=True)
    far = r + ops.log(ops.mean(ops.exp(beta * (x - r)), axis=axis, keepdims=True)) / beta
    mean = ops.mean(x, axis=axis, keepdims=True)
    s = beta * (x - mean)
    near = mean + _log1p(ops.mean(expm1_less(_clipped(s)), axis=axis, keepdims=True)) / beta
    return _chosen(ops.max(ops.abs(s), axis=axis, keepdims=True), near, far)


def fast_log_mean_exp(x, beta, axis):
    """`log_mean_exp` by operations that exporters do not know."""
    beta = min(max(beta, -_LARGEST), _LARGEST)
    r = _extreme(beta)(x, axis=axis, keepdims=True)
    t = beta * (x - r)
    less = ops.mean(ops.expm1(t), axis=axis, keepdims=True)
    far = ops.log(ops.mean(ops.exp(t), axis=axis, keepdims=True))
    return r + ops.where(less > -0.5, ops.log1p(less), far) / beta


def constants_of_products(offsets, beta, with_near):
    """The constants of `log_mean_exp_by_products`, in float64, in the order in which a layer has them.

    Shapes: offsets [n, units] -> far and near [n, units], shift, mean and rest [units].
    """
    n = len(offsets)
    shift = offsets.max(axis=0) if beta > 0 else offsets.min(axis=0)
    constants = {"far": np.exp(beta * (offsets - shift)) / n, "shift": shift}
    if with_near:
        mean = offsets.mean(axis=0)
        t = beta * (offsets - mean)
        near = np.expm1(t)
        constants |= {"near": near / n, "mean": mean, "rest": (near - t).mean(axis=0)}
    return constants


def log_mean_exp_by_products(x, beta, product, constants, with_near):
    """MEX of `x_i + b_il` over the last axis: one product of matrices, or two if `with_near`.

    `mean exp(beta x + beta b) = exp(beta x) @ exp(beta b) / n`. Near 0, with p = exp(beta x) - 1 and
    q = exp(beta b) - 1 about their means, it is `1 + mean(p - beta x) + mean(q - beta b) + p @ q / n`.
    """
    r = _extreme(beta)(x, axis=-1, keepdims=True)
    e = product(ops.exp(beta * (x - r)), constants["far"])
    far = r + constants["shift"] + ops.log(e) / beta
    if not with_near:
        return far
    mean = ops.mean(x, axis=-1, keepdims=True)
    s = beta * (x - mean)
    t = _clipped(s)
    less = expm1_less(t)
    v = ops.mean(less, axis=-1, keepdims=True) + constants["rest"]
    v = v + product(t + less, constants["near"])
    near = mean + constants["mean"] + _log1p(v) / beta
    return _chosen(ops.max(ops.abs(s), axis=-1, keepdims=True), near, far)


def log_mean_exp_of_each(x, beta, offsets):
    """MEX of `x_i + b_il` over the last axis, one sum for each output; the maximum if beta is infinite.

    Shapes: x [b, n] or [b, m, n], offsets [n, units] -> [b, units] or [b, m, units].
    """
    c = ops.expand_dims(x, -1) + offsets
    r = _extreme(beta)(c, axis=-2, keepdims=True)
    if math.isinf(beta):
        return ops.squeeze(r, -2)
    y = r + ops.log(ops.mean(ops.exp(beta * (c - r)), axis=-2, keepdims=True)) / beta
    return ops.squeeze(y, -2)


def log_mean_exp_of_windows(x, beta, window, strides, padding, offsets=None):
    """MEX over the entries of each window that lie in the image, plus offsets.

    Shapes: [b, *n, c], offsets [prod(window), *n', c] or None -> [b, *n', c].
    """
    beta = min(max(beta, -_LARGEST), _LARGEST)
    sizes, border = x.shape[1:-1], "valid"
    if padding == "same":
        axes = list(zip(sizes, window, strides, strict=True))
        border = [same_padding(*axis) for axis in axes]
        border = border if any(map(any, border)) else "valid"
    entries = slices(x, window, strides, "valid" if border == "valid" else "same")
    if border == "valid":
        masks, share = [1.0] * len(entries), 1 / len(entries)
    else:
        masks = _masks(sizes, window, strides)
        share = ops.convert_to_tensor((1 / sum(masks)).astype("float32"))
        masks = [ops.convert_to_tensor(mask) for mask in masks]
    if offsets is not None:
        entries = [(e + offsets[i]) * masks[i] for i, e in enumerate(entries)]
    lowest = -math.copysign(_LARGEST, beta)
    inside = [
        e if border == "valid" else e * m + lowest * (1.0 - m)
        for e, m in zip(entries, masks, strict=True)
    ]
    r = functools.reduce(ops.maximum if beta > 0 else ops.minimum, inside)
    powers = [
        ops.exp(ops.minimum(beta * (e - r), 0.0)) * m for e, m in zip(entries, masks, strict=True)
    ]
    far = r + ops.log(sum(powers) * share) / beta
    mean = sum(entries) * share  # the border is 0
    terms = [beta * ((e - mean) * m) for e, m in zip(entries, masks, strict=True)]
    near = mean + _log1p(sum(expm1_less(_clipped(s)) for s in terms) * share) / beta
    size = functools.reduce(ops.maximum, [ops.abs(s) for s in terms])
    return _chosen(size, near, far)


def expm1_less(s):
    """`exp(s) - 1 - s` for |s| <= 0.5, by its series, which keeps all digits."""
    y = 1.0 / math.factorial(9)
    for k in range(8, 1, -1):
        y = y * s + 1.0 / math.factorial(k)
    return y * s * s


def _log1p(v):
    """log(1 + v) for 0 <= v <= 0.6, by the series of the inverse hyperbolic tangent."""
    z = v / (v + 2.0)
    y = 1.0 / 11
    for k in range(9, 0, -2):
        y = y * z * z + 1.0 / k
    return 2.0 * z * y


def _chosen(size, near, far):
    """`near` where `size` is small, else `far`; both are finite. LiteRT Micro has no SELECT."""
    is_near = ops.cast(size <= SMALL, "float32")
    return is_near * near + (1.0 - is_near) * far


def _clipped(s):
    return ops.minimum(ops.maximum(s, -SMALL), SMALL)


def _extreme(beta):
    return ops.max if beta > 0 else ops.min


def _masks(sizes, window, strides):
    """For each entry of the window, 1 where it lies in the image: [1, *n', 1], in float32."""
    inside = []
    for n, k, stride in zip(sizes, window, strides, strict=True):
        before, _ = same_padding(n, k, stride)
        pixels = np.arange(-(-n // stride)) * stride - before + np.arange(k)[:, None]
        inside.append((pixels >= 0) & (pixels < n))
    rows = [functools.reduce(np.multiply.outer, entry) for entry in itertools.product(*inside)]
    return [row[None, ..., None].astype("float32") for row in rows]
