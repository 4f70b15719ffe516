"""Whitening: the filters of a convolution before a similarity (Deep SimNets, sections 4.2, 5)."""

import functools
from typing import Any, Self

import numpy as np
from scipy.special import gammaln
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.decomposition import FastICA
from sklearn.utils import check_random_state, gen_batches
from sklearn.utils.validation import check_is_fitted, validate_data

from keras_structnets import checks


def _solved(name: str) -> property:
    def attribute(self: "Whitening") -> Any:
        return self._solution[name]

    return property(attribute)


class Whitening(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """Affine map to uncorrelated coordinates of unit variance: `y = (x - mean) W^T`, `cov(y) = I`.

    With the covariance `C = V diag(l) V^T`, the rows of `W` are

    - "pca": `diag(l)^-1/2 V^T`, the principal directions, strongest first;
    - "zca": `V diag(l)^-1/2 V^T`, the whitening closest to the identity; `y` has as many
      coordinates as `x`;
    - "ica": `R diag(l)^-1/2 V^T`, where FastICA turns the whitened data by the rotation `R` for
      which the coordinates are as independent as a linear map can make them. This is what the
      paper uses.

    Directions whose variance is below `floor` times the largest one (constant, copied or
    dependent coordinates) are dropped, so that no filter is huge. If nothing varies at all, `fit`
    raises a ValueError.

    Shapes: x [n, d] -> y [n, n_components_], or [n, d] for "zca".

    Args:
        method: "ica", "pca" or "zca".
        n_components: how many directions to keep. An int; None for all that vary; "auto" for the
            effective dimension by Minka's Bayesian criterion (see `effective_dimension`).
        floor: smallest variance kept, relative to the largest.
        max_iter: most steps of FastICA.
        tol: FastICA has converged when the filters turn by less than this.
        reservoir_size: how many samples `partial_fit` keeps for FastICA, drawn evenly from all it
            has seen. The covariance uses every sample.
        random_state: seed of FastICA and of the reservoir.

    Attributes:
        mean_: of the samples, [d].
        components_: the filters `W`, [n_components_, d], or [d, d] for "zca".
        eigenvalues_: all variances along principal directions, strongest first, [d].
        n_components_: how many directions are kept.
        n_degenerate_: how many directions do not vary.
        n_samples_seen_: how many samples the fit has seen.

    Example:
        >>> x = np.random.default_rng(0).laplace(size=(1000, 5)) @ np.diag([1, 2, 3, 4, 0])
        >>> whitening = ksn.pretraining.Whitening("pca").fit(x)
        >>> whitening.transform(x).shape, whitening.n_degenerate_
        ((1000, 4), 1)

    Reference: Cohen, Sharir and Shashua, Deep SimNets (2016); Hyvarinen, Karhunen and Oja,
    Independent Component Analysis (2001).
    """

    def __init__(
        self,
        method: str = "ica",
        n_components: int | str | None = None,
        *,
        floor: float = 1e-10,
        max_iter: int = 200,
        tol: float = 1e-3,
        reservoir_size: int = 50_000,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.method = method
        self.n_components = n_components
        self.floor = floor
        self.max_iter = max_iter
        self.tol = tol
        self.reservoir_size = reservoir_size
        self.random_state = random_state

    def fit(self, X: np.ndarray, y: Any = None) -> Self:
        """Fit to all samples at once."""
        self.__dict__.pop("n_samples_seen_", None)
        self.partial_fit(X)._solution  # noqa: B018 (errors and warnings come now)
        return self

    def partial_fit(self, X: np.ndarray, y: Any = None) -> Self:
        """Take in more samples. Only mean, covariance and reservoir are kept, never the data."""
        first = not hasattr(self, "n_samples_seen_")
        X = validate_data(self, X, reset=first, dtype=[np.float64, np.float32])
        if first:
            self._check()
            self.n_samples_seen_, self.mean_, self._scatter = 0, np.zeros(X.shape[1]), 0.0
            self._reservoir = np.empty((0, X.shape[1]), X.dtype)
            self._generator = check_random_state(self.random_state)
        if self.method == "ica":
            self._keep_some(X)
        self._add(X)
        self.__dict__.pop("_solution", None)
        return self

    def transform(self, X: np.ndarray) -> np.ndarray:
        """Whitened samples, `(x - mean_) @ components_.T`."""
        check_is_fitted(self)
        X = validate_data(self, X, reset=False, dtype=[np.float64, np.float32])
        return ((X - self.mean_) @ self.components_.T).astype(X.dtype, copy=False)

    def inverse_transform(self, X: np.ndarray) -> np.ndarray:
        """Samples back from whitened ones; dropped directions come back at their mean."""
        check_is_fitted(self)
        return np.asarray(X) @ self._solution["inverse"].T + self.mean_

    components_, eigenvalues_, n_components_, n_degenerate_, n_iter_ = map(
        _solved, ("components_", "eigenvalues_", "n_components_", "n_degenerate_", "n_iter_")
    )

    @property
    def _n_features_out(self):
        return len(self.components_)

    def _check(self):
        checks.one_of("Whitening", "method", self.method, ("ica", "pca", "zca"))
        if self.n_components not in (None, "auto"):
            checks.integer("Whitening", "n_components", self.n_components)
        checks.positive("Whitening", "floor", self.floor)
        checks.integer("Whitening", "reservoir_size", self.reservoir_size, minimum=2)

    def _add(self, X):
        """Update mean and scatter by those of a batch (Chan, Golub and LeVeque, 1983)."""
        n, mean = len(X), X.mean(axis=0, dtype=np.float64)
        total = self.n_samples_seen_ + n
        shift = mean - self.mean_
        for rows in gen_batches(n, 2**22 // X.shape[1] + 1):
            centred = X[rows] - mean
            self._scatter += centred.T @ centred
        self._scatter += np.outer(shift, shift) * (self.n_samples_seen_ * n / total)
        self.mean_ = self.mean_ + shift * (n / total)
        self.n_samples_seen_ = total

    def _keep_some(self, X):
        """Reservoir sampling: every sample seen so far is kept with the same probability."""
        room = self.reservoir_size - len(self._reservoir)
        self._reservoir = np.concatenate([self._reservoir, X[:room]])
        late = X[room:]
        seen = self.n_samples_seen_ + len(X) - len(late) + np.arange(1, len(late) + 1)
        place = (self._generator.uniform(size=len(late)) * seen).astype(np.int64)
        chosen = place < self.reservoir_size
        self._reservoir[place[chosen]] = late[chosen]

    @functools.cached_property
    def _solution(self):
        """The filters and what goes with them, computed once after the last sample."""
        check_is_fitted(self)
        eigenvalues, vectors = self._principal_directions()
        n_varying = int((eigenvalues > self.floor * eigenvalues[0]).sum())
        n_kept = self._number_to_keep(eigenvalues, n_varying)
        deviations, vectors = np.sqrt(eigenvalues[:n_kept]), vectors[:, :n_kept]
        rotation, n_iter = self._rotation(vectors / deviations)
        return {
            "components_": rotation @ (vectors / deviations).T,  # [n_kept or d, d]
            "inverse": (vectors * deviations) @ rotation.T,
            "eigenvalues_": eigenvalues,
            "n_components_": n_kept,
            "n_iter_": n_iter,
            "n_degenerate_": len(eigenvalues) - n_varying,
        }

    def _principal_directions(self):
        eigenvalues, vectors = np.linalg.eigh(self._scatter / self.n_samples_seen_)
        eigenvalues, vectors = np.maximum(eigenvalues[::-1], 0), vectors[:, ::-1]
        rounding = 1e-14 * (np.abs(self.mean_).max() ** 2)
        if eigenvalues[0] <= rounding:
            raise ValueError(
                f"Whitening: nothing varies in the {self.n_samples_seen_} sample(s) of "
                f"{len(self.mean_)} features seen so far, so no direction can be scaled to unit "
                "variance. Give at least 2 samples that differ, such as images with contrast."
            )
        return eigenvalues, vectors * _signs(vectors)

    def _number_to_keep(self, eigenvalues, n_varying):
        if self.n_components is None:
            return n_varying
        if self.n_components == "auto":
            return effective_dimension(eigenvalues, self.n_samples_seen_, self.floor)
        if self.n_components > len(eigenvalues):
            raise ValueError(
                f"Whitening: `n_components` is {self.n_components}, but the data have "
                f"{len(eigenvalues)} features. Use n_components={len(eigenvalues)} or fewer."
            )
        return min(self.n_components, n_varying)

    def _rotation(self, projection):
        """What comes after scaling the principal directions to unit variance, and its steps."""
        if self.method == "pca":
            return np.eye(projection.shape[1]), 1
        if self.method == "zca":
            return projection / np.linalg.norm(projection, axis=0), 1
        white = (self._reservoir - self.mean_) @ projection
        seed = check_random_state(self._generator.randint(2**31 - 1))
        ica = FastICA(whiten=False, max_iter=self.max_iter, tol=self.tol, random_state=seed)
        ica.fit(white)
        left, _, right = np.linalg.svd(ica.components_)  # the nearest rotation
        rotation = left @ right
        return rotation * _signs(projection @ rotation.T)[:, None], ica.n_iter_


def effective_dimension(eigenvalues: np.ndarray, n_samples: int, floor: float = 1e-10) -> int:
    """How many principal directions stand out of isotropic noise, by Minka's Bayesian criterion.

    The `k` in 1..d-1 with the largest Laplace approximation of the evidence of a Gaussian with `k`
    principal directions plus isotropic noise, as `sklearn.decomposition.PCA("mle")`. Two additions: a
    factor where two eigenvalues agree within their sampling error is cut off there, since data say
    nothing about that rotation; and when `k = 0` is best, no direction is weaker than another, and the
    answer is `d`. Eigenvalues below `floor` times the largest count as noise of that size.

    Reference: Minka, Automatic choice of dimensionality for PCA (NIPS 2000).
    """
    d = min(len(eigenvalues), n_samples - 1)
    ev = np.maximum(np.asarray(eigenvalues, np.float64)[:d], floor * eigenvalues[0])  # [d]
    largest = min(int((ev > floor * ev[0]).sum()), d - 1)
    if largest < 1:
        return max(d, 1)
    evidence = _log_evidence(ev, n_samples)[: largest + 1]
    return int(np.argmax(evidence)) or d


def _log_evidence(ev, n):
    """Minka's Laplace evidence for k = 0 .. d-1 components: [d]."""
    d, k = len(ev), np.arange(len(ev))
    noise = np.cumsum(ev[::-1])[::-1] / (d - k)  # v: the mean of ev[k:]
    half = (d - k) / 2
    # sums over i < k, as terms of i and minus the term itself
    prior, logs = gammaln(half) - half * np.log(np.pi), np.log(ev)
    log_prior = -k * np.log(2) + np.cumsum(prior) - prior
    m = d * k - k * (k + 1) / 2
    log_likelihood = -n / 2 * (np.cumsum(logs) - logs + (d - k) * np.log(noise))
    gap = np.log(np.maximum(ev[:, None] - ev, ev[:, None] / np.sqrt(n)))  # log(l_i - l_j)
    inner = np.triu(2 * gap - logs[:, None] - logs + np.log(n), 1)  # both i, j <= k
    log_det = np.zeros(d)
    for i in k[1:]:
        inverse_gap = np.maximum(1 / noise[i] - 1 / ev[:i], 1 / (ev[:i] * np.sqrt(n)))
        outer = (d - i) * (np.log(inverse_gap).sum() + i * np.log(n)) + gap[:i, i:].sum()
        log_det[i] = inner[:i, :i].sum() + outer
    laplace = (m + k) / 2 * np.log(2 * np.pi) - log_det / 2 - k / 2 * np.log(n)
    return log_prior + log_likelihood + laplace


def _signs(vectors):
    """Signs that make the largest entry of each column positive, so that results do not flip."""
    largest = np.abs(vectors).argmax(axis=0)
    return np.where(vectors[largest, np.arange(vectors.shape[1])] < 0, -1.0, 1.0)
