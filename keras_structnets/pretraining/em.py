"""Full-batch EM, and the number of components by the integrated completed likelihood."""

from typing import NamedTuple

import numpy as np
from scipy.special import gammaln, xlogy

from keras_structnets.pretraining.density import Mixture, responsibilities
from keras_structnets.pretraining.m_step import MIN_COUNT, m_step

RESEEDINGS = 3  # how often EM tries to move empty components
EVERY = 4  # after as many steps, only every so many move the shape and look for medians
PATIENCE = 4  # merges in a row without a better criterion before the search ends


class Fit(NamedTuple):
    """A fitted mixture, its log-likelihood per sample at each step, and whether it converged."""

    mixture: Mixture
    log_likelihoods: list
    converged: bool


def em(x, mixture, *, fit_shape, max_iter, tol, reg, generator):
    """Generalized EM from a given mixture; the log-likelihood never falls."""
    resp, log_likelihood = responsibilities(x, mixture)
    history, reseedings, converged = [log_likelihood.mean()], RESEEDINGS, False
    for i in range(max_iter):
        thorough = i < EVERY or i % EVERY == 0
        if reseedings and (resp.sum(axis=0) < MIN_COUNT).any():
            reseedings -= 1
            moved = reseeded(x, resp, mixture, generator)
            moved = m_step(x, responsibilities(x, moved)[0], moved, reg, fit_shape)
            moved_resp, log_likelihood = responsibilities(x, moved)
            if log_likelihood.mean() > history[-1]:
                mixture, resp = moved, moved_resp
                history.append(log_likelihood.mean())
                continue
        mixture = m_step(x, resp, mixture, reg, fit_shape, thorough)
        resp, log_likelihood = responsibilities(x, mixture)
        history.append(log_likelihood.mean())
        converged = history[-1] - history[-2] < tol
        if converged:
            break
    return Fit(mixture, history, bool(converged))


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


def entropy(resp):
    """`-sum_n sum_l r log r`: how unsure the components of all samples are."""
    return -xlogy(resp, resp).sum()


def n_parameters(mixture, fit_shape):
    """Free parameters: priors, means, scales and, if fitted, the shape."""
    return len(mixture.priors) - 1 + 2 * mixture.means.size + int(fit_shape)


def icl(x, mixture, fit_shape):
    """BIC plus twice the entropy; lower is better."""
    resp, log_likelihood = responsibilities(x, mixture)
    penalty = n_parameters(mixture, fit_shape) * np.log(len(x))
    return penalty - 2 * log_likelihood.sum() + 2 * entropy(resp)


def select(x, fit, refit, fit_shape):
    """The best of the fits along a path of merges by ICL, and {k: ICL}."""
    path, best, waited = {}, fit, 0
    while True:
        k = len(fit.mixture.priors)
        path[k] = icl(x, fit.mixture, fit_shape)
        better = path[k] <= min(path.values())
        best, waited = (fit, 0) if better else (best, waited + 1)
        if k == 1 or waited > PATIENCE:
            return best, path
        fit = refit(merged(fit.mixture, len(x)))


def merged(mixture, n_samples):
    """The mixture with the two components merged that lose least complete log-likelihood by it.

    The loss is that of Gaussians of the same means and variances, as in hierarchical clustering by
    likelihood: `sum_t (n log v)/2` of the union minus those of the parts, minus the gain in priors.
    """
    priors, means, scales, shape = mixture
    ratio = np.exp(gammaln(3 / shape) - gammaln(1 / shape))  # variance of scale 1
    variances, share = scales**2 * ratio, priors[:, None]
    both = share + share.T  # [k, k]
    mean = (share[:, None] * means[:, None] + priors[:, None] * means) / both[
        ..., None
    ]  # [k, k, d]
    square = share * (variances + means**2)
    variance = np.maximum((square[:, None] + square) / both[..., None] - mean**2, 1e-300)
    own = priors * (0.5 * np.log(variances).sum(axis=1) - np.log(priors))
    loss = both * (0.5 * np.log(variance).sum(axis=2) - np.log(both)) - own[:, None] - own
    np.fill_diagonal(loss, np.inf)
    i, j = sorted(np.unravel_index(loss.argmin(), loss.shape))
    union = Mixture(both[i, j], mean[i, j], np.sqrt(variance[i, j] / ratio), shape)
    parts = [np.delete(a, j, axis=0) for a in mixture[:3]]
    for part, value in zip(parts, union[:3], strict=True):
        part[i] = value
    return Mixture(*parts, shape)
