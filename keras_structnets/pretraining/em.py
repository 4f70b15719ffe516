"""Full-batch EM and online EM for mixtures of Generalized Gaussians (section 5).

Scales have a closed form for given means and shape. Those two move by a step that is taken only if it
raises the expected complete log-likelihood, so that the log-likelihood of the data cannot fall.
"""

from typing import NamedTuple

import numpy as np

from keras_structnets.pretraining.density import (
    TINY,
    Mixture,
    products_are_exact,
    responsibilities,
)
from keras_structnets.pretraining.statistics import (
    MIN_COUNT,
    Statistics,
    best_change,
    priors,
    profile,
    statistics,
)

RESEEDINGS = 3  # how often EM tries to move empty components
STEPS = (2, 1, 1 / 4, 1 / 16)  # longest first; below shape 2 the next means lie short of the best
FORGETTING = 0.7  # between 1/2 and 1 for convergence (Cappe and Moulines, 2009)


class Fit(NamedTuple):
    """A fitted mixture, its log-likelihood per sample at each step, and whether it converged."""

    mixture: Mixture
    log_likelihoods: list
    converged: bool


def em(x, mixture, *, fit_shape, max_iter, tol, reg, generator):
    """Generalized EM from a given mixture; the log-likelihood never falls."""
    resp, log_likelihood = responsibilities(x, mixture)
    history, reseedings, converged = [log_likelihood.mean()], RESEEDINGS, False
    for _ in range(max_iter):
        if reseedings and (resp.sum(axis=0) < MIN_COUNT).any():
            reseedings -= 1
            moved = reseeded(x, resp, mixture, generator)
            moved = m_step(x, responsibilities(x, moved)[0], moved, reg, fit_shape)
            moved_resp, log_likelihood = responsibilities(x, moved)
            if log_likelihood.mean() > history[-1]:
                mixture, resp = moved, moved_resp
                history.append(log_likelihood.mean())
                continue
        mixture = m_step(x, resp, mixture, reg, fit_shape)
        resp, log_likelihood = responsibilities(x, mixture)
        history.append(log_likelihood.mean())
        converged = history[-1] - history[-2] < tol
        if converged:
            break
    return Fit(mixture, history, bool(converged))


def m_step(x, resp, mixture, reg, fit_shape):
    """The mixture after one M-step with given responsibilities [n, k]."""
    counts, (_, old, scales, shape) = resp.sum(axis=0), mixture
    if shape == 2 and not fit_shape and products_are_exact(old, scales):
        means, zeroth = _weighted_means(x, resp, counts, mixture)
        return Mixture(priors(counts), means, profile(counts, zeroth, scales, shape, reg)[1], shape)
    found = statistics(x, resp, mixture)
    value, best_scales = profile(counts, found.zeroth, scales, shape, reg)
    change = best_change(found, scales, shape, reg) if fit_shape else 0.0
    for size in STEPS if shape < 2 else STEPS[1:]:
        means = old + size * (found.means(mixture) - old)
        new_shape = float(shape + min(size, 1) * change)
        moved = mixture._replace(means=means, shape=new_shape)
        zeroth = statistics(x, resp, moved).zeroth
        new_value, new_scales = profile(counts, zeroth, scales, new_shape, reg)
        if new_value > value:
            return Mixture(priors(counts), means, new_scales, new_shape)
    return Mixture(priors(counts), old, best_scales, shape)


def _weighted_means(x, resp, counts, mixture):
    """At shape 2: means, and second moments about them, by products of matrices."""
    share = np.maximum(counts, TINY)[:, None]
    sums = resp.T @ x
    means = np.where(counts[:, None] < MIN_COUNT, mixture.means, sums / share)
    return means, np.maximum(resp.T @ np.square(x) - 2 * means * sums + share * means**2, 0)


def reseeded(x, resp, mixture, generator):
    """The mixture with each empty component moved to a sample of the largest, which it halves."""
    priors, means, scales = (np.array(a) for a in mixture[:3])
    largest = int(resp.sum(axis=0).argmax())
    for empty in np.flatnonzero(resp.sum(axis=0) < MIN_COUNT):
        share = resp[:, largest] / resp[:, largest].sum()
        means[empty] = x[generator.choice(len(x), p=share)]
        scales[empty] = scales[largest]
        priors[empty] = priors[largest] / 2
        priors[largest] /= 2
    return Mixture(priors / priors.sum(), means, scales, mixture.shape)


def online_step(x, mixture, running, n_seen, reg, fit_shape, generator):
    """One step of online EM: new mixture, new statistics and the batch's log-likelihood per sample.

    Running averages of the statistics replace sums over all samples. The step size is
    `(batch / seen)^0.7`: with equal batches t^-0.7, whatever their size.
    """
    resp, log_likelihood = responsibilities(x, mixture)
    rate = (len(x) / (n_seen + len(x))) ** FORGETTING
    new = statistics(x, resp, mixture).times(1 / len(x))
    running = Statistics(*((1 - rate) * a + rate * b for a, b in zip(running, new, strict=True)))
    remembered = len(x) / rate  # samples that the averages stand for
    mixture, total = _move_empty(x, mixture, running.times(remembered), generator)
    means, shape, change = total.means(mixture), mixture.shape, 0.0
    if fit_shape:
        change = best_change(total, mixture.scales, shape, reg)
        total = total.at(change)
    scales = profile(total.counts, total.zeroth, mixture.scales, shape + change, reg)[1]
    mixture = Mixture(priors(total.counts), means, scales, float(shape + change))
    return mixture, total.times(1 / remembered), log_likelihood.mean()


def _move_empty(x, mixture, total, generator):
    """Empty components start anew on a sample of the batch, halving the largest."""
    total = Statistics(*map(np.array, total))
    means, scales = mixture.means.copy(), mixture.scales.copy()
    for i in np.flatnonzero(total.counts < MIN_COUNT):
        largest = int(total.counts.argmax())
        for a in total:
            a[largest] /= 2
            a[i] = a[largest]
        means[i], scales[i] = x[generator.randint(len(x))], scales[largest]
        total.sums[i] = means[i] * total.masses[i]
    return mixture._replace(means=means, scales=scales), total
