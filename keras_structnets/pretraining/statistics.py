"""Sufficient statistics of a mixture's components, and the M-step from them (section 5)."""

from typing import NamedTuple, Self

import numpy as np
from scipy.optimize import minimize_scalar

from keras_structnets.pretraining.density import TINY, Mixture, log_constant

SHAPES = (0.2, 10.0)  # the range in which a shape is fitted
MIN_COUNT = 2.0  # a component with less than two samples has no scale of its own
CUT = 0.1  # closer than this many scales, samples weigh no more, or they would pin the mean
SMALL = 1e-150  # the square of a distance of this size is still above zero


class Statistics(NamedTuple):
    """Sums over samples: `sum r |x - mean|^shape log^j |x - mean|` for j = 0, 1, 2, and the next mean.

    counts [k], the others [k, d]; `sums / masses` is the next mean.
    """

    counts: np.ndarray
    zeroth: np.ndarray
    first: np.ndarray
    second: np.ndarray
    sums: np.ndarray
    masses: np.ndarray

    def at(self, change: float) -> Self:
        """The moments at a shape that differs by `change`, if their logs are quadratic in it."""
        slope = self.first / np.maximum(self.zeroth, TINY)
        bend = np.maximum(self.second / np.maximum(self.zeroth, TINY) - slope**2, 0)
        exponent = slope * change + bend * change**2 / 2
        zeroth = self.zeroth * np.exp(np.minimum(exponent, 50))  # a model; larger means nothing
        slope = slope + bend * change
        return self._replace(zeroth=zeroth, first=zeroth * slope, second=zeroth * (bend + slope**2))

    def times(self, factor: float) -> "Statistics":
        """All sums times a factor."""
        return Statistics(*(factor * a for a in self))

    def means(self, mixture: Mixture) -> np.ndarray:
        """The next means [k, d]; a component of too few samples keeps its own."""
        enough = self.counts[:, None] >= MIN_COUNT
        return np.where(enough, self.sums / np.maximum(self.masses, TINY), mixture.means)


def statistics(x, resp, mixture):
    """The sufficient statistics of samples [n, d] with given responsibilities [n, k].

    Up to shape 2 the next mean is `sum r w x / sum r w` with `w = |x - mean|^(shape - 2)`: the
    minimum of a quadratic that lies above (iterated weighted least squares), exact at 2. w is cut off
    close to the mean, where it is infinite. Above 2 it is Newton's step.
    """
    _, means, scales, shape = mixture
    sums = np.empty((5, *means.shape))
    for i, (mean, scale) in enumerate(zip(means, scales, strict=True)):
        rows = np.flatnonzero(resp[:, i] > 1e-13)
        away, r = x[rows] - mean, resp[rows, i]
        logs = np.log(np.maximum(np.abs(away), SMALL))
        weights = np.exp((shape - 2) * logs)
        if shape < 2:
            np.minimum(weights, (CUT * scale) ** (shape - 2), out=weights)
        mass = r @ weights * max(1.0, shape - 1)
        sums[3:, i] = r @ np.multiply(weights, away, out=weights) + mean * mass, mass
        powers = np.exp(shape * logs, out=away)
        for j in range(3):
            sums[j, i] = r @ powers
            powers *= logs
    return Statistics(resp.sum(axis=0), *sums)


def smallest_scale(shape, reg):
    """The scale at which the density at the mean is that of a Gaussian of variance `reg`.

    At shape 2 the smallest variance is `reg` itself. Bounding the height rather than the variance
    makes coordinates that do not vary say nothing about the shape.
    """
    return np.exp(log_constant(shape)) * np.sqrt(2 * np.pi * reg)


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


def best_change(found, scales, shape, reg):
    """The change of the shape, of at most 30%, that is best under a model of the moments."""

    def loss(log_ratio):
        change = shape * np.expm1(log_ratio)
        return -profile(found.counts, found.at(change).zeroth, scales, shape + change, reg)[0]

    low = max(np.log(SHAPES[0] / shape), -0.3)
    high = min(np.log(SHAPES[1] / shape), 0.3)
    best = minimize_scalar(loss, bounds=(low, high), method="bounded", options={"xatol": 1e-7}).x
    return shape * np.expm1(best)
