"""Initial mixtures for EM: k-means on data of compressed contrast, with shrunken scales."""

import warnings

import numpy as np
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning

from keras_structnets.pretraining.density import Mixture, responsibilities
from keras_structnets.pretraining.em import m_step
from keras_structnets.pretraining.statistics import smallest_scale

KMEANS_SAMPLES = 20_000
PRIOR_COUNT = 10.0  # samples that the average scale counts for in each component


def initial_mixture(x, n_components, shape, init, reg, generator):
    """The mixture that EM starts from, by k-means or from random samples."""
    fit_shape = shape == "fit"
    shape = 2.0 if fit_shape else float(shape)
    spread = np.maximum(np.abs(x - np.median(x, axis=0)).mean(axis=0), smallest_scale(shape, reg))
    flat = np.full(n_components, 1 / n_components)
    scales = np.tile(spread, (n_components, 1))
    if init == "random":
        means = x[generator.choice(len(x), n_components, replace=False)]
        resp = responsibilities(x, Mixture(flat, means, scales, shape))[0]
    else:
        labels = _kmeans(compressed(x), n_components, generator)
        members = [labels == i if (labels == i).any() else slice(None) for i in range(n_components)]
        means = np.stack([np.median(x[rows], axis=0) for rows in members])
        resp = np.eye(n_components)[labels]
    mixture = Mixture(flat, means, scales, shape)
    for _ in range(10):
        mixture = m_step(x, resp, mixture, reg, fit_shape)
    return _shrunken(mixture, resp.sum(axis=0))


def compressed(x):
    """The data about their median, with distances `r` replaced by `log(1 + r / median r)`."""
    away = x - np.median(x, axis=0)
    distance = np.linalg.norm(away, axis=1, keepdims=True)
    typical = np.median(distance) or distance.max() or 1.0
    return away * (np.log1p(distance / typical) / np.maximum(distance, typical * 1e-12))


def _kmeans(x, n_components, generator):
    seed = generator.randint(2**31 - 1)
    subset = generator.permutation(len(x))[:KMEANS_SAMPLES]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # fewer distinct samples than clusters
        kmeans = KMeans(n_components, n_init=3, max_iter=50, random_state=seed).fit(x[subset])
    return kmeans.predict(x)


def _shrunken(mixture, counts):
    """The mixture with scales between each component's own and their average."""
    powers, counts = mixture.scales**mixture.shape, counts[:, None]
    average = (counts * powers).sum(axis=0) / counts.sum()
    powers = (counts * powers + PRIOR_COUNT * average) / (counts + PRIOR_COUNT)
    return mixture._replace(scales=powers ** (1 / mixture.shape))
