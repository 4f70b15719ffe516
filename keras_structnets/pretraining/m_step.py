"""The M-step of EM for mixtures of Generalized Gaussians (Deep SimNets, section 5).

For given responsibilities r, each coordinate of each component minimises `sum r |x - mean|^shape`
over the mean; the scale then has a closed form; the shape comes last, with the scales profiled out.
What has no closed form is taken only if it does not lower the expected complete log-likelihood, so
the log-likelihood of the data cannot fall.
"""

from typing import NamedTuple

import numpy as np
from scipy.optimize import minimize_scalar

from keras_structnets.pretraining.density import (
    TINY,
    Mixture,
    blocks,
    in_threads,
    log_constant,
    power,
    products_are_exact,
)

SHAPES = (0.2, 10.0)  # the range in which a shape is fitted
MIN_COUNT = 2.0  # a component with less than two samples has no scale of its own
CUT = 0.1  # closer than this many scales, samples weigh no more, or they would pin the mean
SMALL = 1e-150  # the square of a distance of this size is still above zero


class Moments(NamedTuple):
    """`sum_n r |x - mean|^shape log^j |x - mean|` for j = 0, 1, 2; each [k, d]."""

    zeroth: np.ndarray
    first: np.ndarray
    second: np.ndarray

    def at(self, change):
        """The moments at a shape that differs by `change`, if their logs are quadratic in it."""
        slope = self.first / np.maximum(self.zeroth, TINY)
        bend = np.maximum(self.second / np.maximum(self.zeroth, TINY) - slope**2, 0)
        exponent = slope * change + bend * change**2 / 2
        zeroth = self.zeroth * np.exp(np.minimum(exponent, 50))  # a model; larger means nothing
        slope = slope + bend * change
        return Moments(zeroth, zeroth * slope, zeroth * (bend + slope**2))


def m_step(x, resp, mixture, reg, fit_shape, thorough=True):
    """The mixture after one M-step; if not `thorough`, without the costly parts."""
    fit_shape = fit_shape and thorough
    counts, shape = resp.sum(axis=0), mixture.shape
    if shape == 2 and not fit_shape and products_are_exact(mixture.means, mixture.scales):
        means, zeroth = _weighted_means(x, resp, counts, mixture)
        return Mixture(
            priors(counts), means, profile(counts, zeroth, mixture.scales, 2.0, reg)[1], 2.0
        )
    members = members_of(resp)
    means, moments = _better_means(x, resp, members, mixture, fit_shape, thorough)
    value, scales = profile(counts, moments.zeroth, mixture.scales, shape, reg)
    if fit_shape:
        best = best_change(counts, moments, mixture.scales, shape, reg)
        for change in (best, best / 4, best / 16):
            changed = _zeroth_moments(x, resp, members, means, shape + change)
            candidate, new = profile(counts, changed, mixture.scales, shape + change, reg)
            if candidate > value:
                shape, scales = shape + change, new
                break
    return Mixture(priors(counts), means, scales, float(shape))


def smallest_scale(shape, reg):
    """The scale at which the density at the mean is that of a Gaussian of variance `reg`.

    At shape 2 the smallest variance is `reg` itself. Bounding the height rather than the variance
    makes coordinates that do not vary say nothing about the shape.
    """
    return np.exp(log_constant(shape)) * np.sqrt(2 * np.pi * reg)


def members_of(resp):
    """For each component, the samples that it holds a part of."""
    return [np.flatnonzero(r > 1e-13) for r in resp.T]


def priors(counts):
    """Shares of the samples; never exactly zero, so that their logarithms are finite."""
    counts = np.maximum(counts, 1e-10)
    return counts / counts.sum()


def profile(counts, zeroth, old_scales, shape, reg):
    """The expected complete log-likelihood with the best scales, and those scales [k, d]."""
    floor = smallest_scale(shape, reg)
    share = np.maximum(counts, TINY)[:, None]
    scales = np.maximum((shape * zeroth / share) ** (1 / shape), floor)
    scales = np.where(counts[:, None] < MIN_COUNT, np.maximum(old_scales, floor), scales)
    heights = log_constant(shape) - np.log(scales)
    return (share * heights - zeroth / scales**shape).sum(), scales


def best_change(counts, moments, scales, shape, reg):
    """The change of the shape, of at most 30%, that is best under a model of the moments."""

    def loss(log_ratio):
        change = shape * np.expm1(log_ratio)
        return -profile(counts, moments.at(change).zeroth, scales, shape + change, reg)[0]

    low = max(np.log(SHAPES[0] / shape), -0.3)
    high = min(np.log(SHAPES[1] / shape), 0.3)
    best = minimize_scalar(loss, bounds=(low, high), method="bounded", options={"xatol": 1e-7}).x
    return shape * np.expm1(best)


def _weighted_means(x, resp, counts, mixture):
    """At shape 2: means, and second moments about them, by products of matrices."""
    share = np.maximum(counts, TINY)[:, None]
    means = np.where(counts[:, None] < MIN_COUNT, mixture.means, resp.T @ x / share)
    cross = means * (resp.T @ x)
    return means, np.maximum(resp.T @ np.square(x) - 2 * cross + share * means**2, 0)


def _better_means(x, resp, members, mixture, with_logs, thorough):
    """Means one monotone step better, and the moments about them."""
    means, shape = mixture.means, mixture.shape

    def improve(component):
        rows = members[component]
        own, r, mean = x[rows], resp[rows, component], means[component]
        zeroth, pulls, masses = mean_step(own, r, mean, mixture.scales[component], shape)
        moments = np.concatenate([zeroth[None], np.zeros((2, len(mean)))])
        step = pulls / np.maximum(masses, TINY)
        for proposal in _proposals(own, r, mean, step, shape <= 1 and thorough):
            new = component_moments(own, r, proposal, shape, with_logs)
            better = new[0] < moments[0]  # [d]
            kept = np.stack([moments[0], *(new[1:] * moments[0] / np.maximum(new[0], TINY))])
            mean, moments = np.where(better, proposal, mean), np.where(better, new, kept)
        return mean, moments

    results = in_threads(improve, range(len(means)), work=sum(map(len, members)) * x.shape[1])
    moments = Moments(*np.stack([m for _, m in results], axis=1))
    return np.stack([mean for mean, _ in results]), moments


def _proposals(x, r, mean, step, with_median):
    """Candidates for the mean of one component; itself if it has too few samples."""
    if r.sum() < MIN_COUNT:
        return [mean]
    return [mean + step, weighted_median(x, r)] if with_median else [mean + step]


def mean_step(x, r, mean, scale, shape):
    """`sum r |x - mean|^shape`, and numerator and denominator of the step that lowers it; each [d].

    Up to shape 2, `sum r w (x - mean) / sum r w` with `w = |x - mean|^(shape - 2)` leads to the
    minimum of a quadratic that lies above (iterated weighted least squares), exact at 2; w is cut
    off close to the mean, where it is infinite. Above 2, Newton's step is that over `shape - 1`.
    """
    zeroth, pulls, masses = np.zeros((3, x.shape[1]))
    most = (CUT * scale) ** (shape - 2) if shape < 2 else np.inf
    for rows in blocks(*x.shape):
        away = x[rows] - mean
        sizes = np.maximum(np.abs(away), SMALL)
        weights = power(sizes.copy(), shape)
        zeroth += r[rows] @ weights
        weights /= np.square(sizes, out=sizes)
        np.minimum(weights, most, out=weights)
        masses += r[rows] @ weights
        weights *= away
        pulls += r[rows] @ weights
    return zeroth, pulls, masses * max(1.0, shape - 1)


def weighted_median(x, r):
    """Per column, a value with half of the weight on either side, small weights aside: [d]."""
    x, r = x[r > 1e-3 * r.max()], r[r > 1e-3 * r.max()]
    order = x.argsort(axis=0)  # [m, d]
    below = np.cumsum(r[order], axis=0)
    middle = (below < below[-1] / 2).sum(axis=0)
    columns = np.arange(x.shape[1])
    return x[order[middle, columns], columns]


def _zeroth_moments(x, resp, members, means, shape):
    """`sum r |x - mean|^shape` of all components: [k, d]."""

    def zeroth(component):
        rows = members[component]
        return component_moments(x[rows], resp[rows, component], means[component], shape, False)[0]

    work = sum(map(len, members)) * x.shape[1]
    return np.stack(in_threads(zeroth, range(len(means)), work))


def component_moments(x, r, mean, shape, with_logs):
    """`sum r |x - mean|^shape log^j |x - mean|`, j = 0, 1, 2 (only 0 without logs): [3, d]."""
    moments = np.zeros((3, x.shape[1]))
    for rows in blocks(*x.shape):
        sizes = np.maximum(np.abs(x[rows] - mean), SMALL)
        if not with_logs:
            moments[0] += r[rows] @ power(sizes, shape)
            continue
        logs = np.log(sizes, out=sizes)
        powers = np.exp(shape * logs)
        for moment in moments:
            moment += r[rows] @ powers
            powers *= logs
    return moments
