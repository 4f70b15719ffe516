"""Online EM: running averages of sufficient statistics replace sums over all samples."""

from typing import NamedTuple

import numpy as np

from keras_structnets.pretraining.density import TINY, Mixture, responsibilities
from keras_structnets.pretraining.m_step import (
    MIN_COUNT,
    Moments,
    best_change,
    component_moments,
    mean_step,
    members_of,
    priors,
    profile,
)

FORGETTING = 0.7  # between 1/2 and 1 for convergence (Cappe and Moulines, 2009)


class Statistics(NamedTuple):
    """Averages per sample. `sums / masses` is the mean. counts [k], the others [k, d]."""

    counts: np.ndarray
    moments: Moments
    sums: np.ndarray
    masses: np.ndarray


def statistics(x, resp, mixture):
    """The sufficient statistics of a batch under a mixture."""
    _, means, scales, shape = mixture
    moments = np.zeros((3, *means.shape))
    sums, masses = np.zeros((2, *means.shape))
    for i, rows in enumerate(members_of(resp)):
        r = resp[rows, i]
        moments[:, i] = component_moments(x[rows], r, means[i], shape, with_logs=True)
        _, pulls, masses[i] = mean_step(x[rows], r, means[i], scales[i], shape)
        sums[i] = pulls + means[i] * masses[i]
    n = len(x)
    return Statistics(resp.sum(axis=0) / n, Moments(*moments / n), sums / n, masses / n)


def step(x, mixture, running, n_seen, reg, fit_shape, generator):
    """One step on a batch: new mixture, new statistics and the batch's log-likelihood per sample.

    The step size is `(batch / seen)^0.7`: with equal batches t^-0.7, whatever their size.
    """
    resp, log_likelihood = responsibilities(x, mixture)
    rate = (len(x) / (n_seen + len(x))) ** FORGETTING
    running = _blend(running, statistics(x, resp, mixture), rate)
    remembered = len(x) / rate  # samples that the averages stand for
    mixture, running = _move_empty(x, mixture, running, remembered, generator)
    counts, moments, sums, masses = running
    enough = counts[:, None] * remembered >= MIN_COUNT
    means = np.where(enough, sums / np.maximum(masses, TINY), mixture.means)
    shape = mixture.shape
    total = counts * remembered
    zeroth = moments.zeroth * remembered
    if fit_shape:
        scaled = Moments(*(m * remembered for m in moments))
        change = best_change(total, scaled, mixture.scales, shape, reg)
        moments, shape = moments.at(change), shape + change
        zeroth = moments.zeroth * remembered
    scales = profile(total, zeroth, mixture.scales, shape, reg)[1]
    running = Statistics(counts, moments, sums, masses)
    mixture = Mixture(priors(counts), means, scales, float(shape))
    return mixture, running, log_likelihood.mean()


def _blend(old, new, rate):
    def mix(a, b):
        return (1 - rate) * a + rate * b

    moments = Moments(*map(mix, old.moments, new.moments))
    return Statistics(mix(old[0], new[0]), moments, mix(old[2], new[2]), mix(old[3], new[3]))


def _move_empty(x, mixture, running, remembered, generator):
    """Empty components start anew on a sample of the batch, halving the largest."""
    empty = np.flatnonzero(running.counts * remembered < MIN_COUNT)
    if not len(empty):
        return mixture, running
    counts, sums, masses = (np.array(a) for a in (running.counts, running.sums, running.masses))
    moments, means, scales = np.array(running.moments), mixture.means.copy(), mixture.scales.copy()
    for i in empty:
        largest = int(counts.argmax())
        for a in (counts, sums, masses):
            a[largest] /= 2
            a[i] = a[largest]
        moments[:, largest] /= 2
        moments[:, i] = moments[:, largest]
        means[i], scales[i] = x[generator.randint(len(x))], scales[largest]
        sums[i] = means[i] * masses[i]
    return mixture._replace(means=means, scales=scales), Statistics(
        counts, Moments(*moments), sums, masses
    )
