"""The number of components by the integrated completed likelihood (section 5)."""

import numpy as np
from scipy.special import entr, gammaln

from keras_structnets.pretraining.density import Mixture, responsibilities

PATIENCE = 4  # merges in a row without a better criterion before the search ends


def n_parameters(mixture, fit_shape):
    """Free parameters: priors, means, scales and, if fitted, the shape."""
    return len(mixture.priors) - 1 + 2 * mixture.means.size + int(fit_shape)


def icl(x, mixture, fit_shape):
    """BIC plus twice the entropy of the responsibilities; lower is better."""
    resp, log_likelihood = responsibilities(x, mixture)
    penalty = n_parameters(mixture, fit_shape) * np.log(len(x))
    return penalty - 2 * log_likelihood.sum() + 2 * entr(resp).sum()


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
        fit = refit(merged(fit.mixture))


def merged(mixture):
    """The mixture with the two components merged that lose least complete log-likelihood by it.

    The loss is that of Gaussians of the same means and variances, as in hierarchical clustering by
    likelihood: `sum_t (n log v)/2` of the union minus those of the parts, minus the gain in priors.
    """
    priors, means, scales, shape = mixture
    ratio = np.exp(gammaln(3 / shape) - gammaln(1 / shape))  # variance of scale 1
    variances, share = scales**2 * ratio, priors[:, None]
    both = share + share.T  # [k, k]
    mean = ((share * means)[:, None] + share * means) / both[..., None]  # [k, k, d]
    square = share * (variances + means**2)
    variance = np.maximum((square[:, None] + square) / both[..., None] - mean**2, 1e-300)
    own = priors * (0.5 * np.log(variances).sum(axis=1) - np.log(priors))
    loss = both * (0.5 * np.log(variance).sum(axis=2) - np.log(both)) - own[:, None] - own
    np.fill_diagonal(loss, np.inf)
    i, j = sorted(np.unravel_index(loss.argmin(), loss.shape))
    union = both[i, j], mean[i, j], np.sqrt(variance[i, j] / ratio)
    parts = [np.delete(a, j, axis=0) for a in mixture[:3]]
    for part, value in zip(parts, union, strict=True):
        part[i] = value
    return Mixture(*parts, shape)
