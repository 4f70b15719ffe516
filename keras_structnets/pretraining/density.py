"""The density of a mixture of Generalized Gaussians, and its E-step (Deep SimNets, section 5)."""

from typing import NamedTuple

import numpy as np
from scipy.spatial.distance import cdist
from scipy.special import gammaln, logsumexp

TINY = 1e-300


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
        return offsets(mixture) - _squared_distances(x, means, scales)
    columns = [
        cdist(x / scale, (mean / scale)[None], "minkowski", p=shape)
        for mean, scale in zip(means, scales, strict=True)
    ]
    return offsets(mixture) - np.concatenate(columns, axis=1) ** shape


def responsibilities(x, mixture):
    """The posterior of each component [n, k], and log P(x) [n]."""
    joint = log_joint(x, mixture)
    log_likelihood = logsumexp(joint, axis=1)
    return np.exp(joint - log_likelihood[:, None]), log_likelihood


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
