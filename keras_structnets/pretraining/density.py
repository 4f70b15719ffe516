"""The density of a mixture of Generalized Gaussians, and its E-step (Deep SimNets, section 5)."""

import os
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
from scipy.special import gammaln

TINY = 1e-300
BLOCK = 2**16  # entries of a block that stays in the processor's cache


class Mixture(NamedTuple):
    """The parameters: priors [k], means [k, d], scales [k, d], and one shape."""

    priors: np.ndarray
    means: np.ndarray
    scales: np.ndarray
    shape: float


def offsets(mixture):
    """The constants `c_l = log(prior_l prod_t shape / (2 scale_lt Gamma(1 / shape)))`: [k]."""
    log_heights = log_constant(mixture.shape) - np.log(mixture.scales)  # [k, d]
    return np.log(mixture.priors) + log_heights.sum(axis=1)


def log_constant(shape):
    """`log(shape / (2 Gamma(1 / shape)))`, the log density at the mean for scale 1."""
    return np.log(shape / 2) - gammaln(1 / shape)


def log_joint(x, mixture):
    """`log P(x and component l) = c_l - sum_t (|x_t - mean_lt| / scale_lt)^shape`: [n, k]."""
    _, means, scales, shape = mixture
    if shape == 2 and products_are_exact(means, scales):
        distances = _squared_distances(x, means, scales)
    else:
        distances = _distances(x, means, scales, shape)
    return offsets(mixture) - distances


def responsibilities(x, mixture):
    """The posterior of each component [n, k], and log P(x) [n]."""
    joint = log_joint(x, mixture)
    largest = joint.max(axis=1, keepdims=True)
    np.exp(joint - largest, out=joint)
    total = joint.sum(axis=1, keepdims=True)
    joint /= total
    return joint, (largest + np.log(total))[:, 0]


def products_are_exact(means, scales):
    """Whether the expanded square loses nothing: cancellation grows with (mean / scale)^2."""
    return ((means / scales) ** 2).sum(axis=1).max() < 1e6


def _squared_distances(x, means, scales):
    """`sum_t u (x - z)^2` by two products of matrices: [n, k]."""
    weights = scales**-2.0
    distances = np.square(x) @ weights.T
    distances -= 2 * x @ (weights * means).T
    distances += (weights * means**2).sum(axis=1)
    return np.maximum(distances, 0, out=distances)


def _distances(x, means, scales, shape):
    """`sum_t (|x - z| / scale)^shape` in blocks of rows, without an [n, k, d] array: [n, k]."""
    distances = np.empty((len(x), len(means)))
    ones = np.ones(x.shape[1])

    def fill(rows):
        for component, (mean, scale) in enumerate(zip(means, scales, strict=True)):
            sizes = x[rows] - mean
            np.abs(sizes, out=sizes)
            sizes /= scale
            distances[rows, component] = power(sizes, shape) @ ones

    in_threads(fill, blocks(*x.shape), work=x.size * len(means))
    return distances


def power(sizes, shape):
    """`sizes ** shape`, in place."""
    if shape == 2:
        return np.square(sizes, out=sizes)
    return sizes if shape == 1 else np.power(sizes, shape, out=sizes)


def in_threads(function, items, work):
    """`[function(item) for item in items]`, in threads if the work (in entries) is worth it."""
    if work < 2**20:
        return list(map(function, items))
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(function, items))


def blocks(n, width):
    """Slices over `n` rows of `width` entries, each small enough for the cache."""
    step = max(1, BLOCK // width)
    return [slice(i, i + step) for i in range(0, n, step)]
