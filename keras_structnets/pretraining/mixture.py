"""Mixtures of Generalized Gaussians, which initialize similarities (Deep SimNets, section 5)."""

import functools
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, DensityMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from keras_structnets import checks
from keras_structnets.pretraining.density import Mixture, log_joint, offsets, responsibilities
from keras_structnets.pretraining.em import em, online_step
from keras_structnets.pretraining.initialization import initial_mixture
from keras_structnets.pretraining.selection import icl, n_parameters, select
from keras_structnets.pretraining.statistics import MIN_COUNT, statistics

START_STEPS = 30  # steps of full-batch EM on the first batch
START_SAMPLES = 10_000  # samples of the start in `fit` with a batch_size


class GeneralizedGaussianMixture(DensityMixin, BaseEstimator):
    """Mixture of Generalized Gaussians with one shape for all components, fitted by EM.

        P(y) = sum_l prior_l prod_t shape / (2 scale_lt Gamma(1/shape))
                                    exp(-(|y_t - mean_lt| / scale_lt)^shape)

    Its log joint density is an l_p similarity plus a constant, which is how it initialises a
    SimNet:

        log P(y and component l) = -sum_t weights_tl |y_t - templates_tl|^p + offsets_l

    Full-batch EM (`batch_size=None`) is a generalised EM whose log-likelihood never falls. Scales
    have a closed form. Means are the weighted means at shape 2; otherwise they take one step of
    iterated weighted least squares (below 2) or of Newton (above 2). The shape moves by a step on
    the expected complete log-likelihood with the scales profiled out. Steps that do not improve it
    are made smaller. With a `batch_size`,
    and in `partial_fit`, running averages of the sufficient statistics with decaying steps take
    the place of sums over all samples (Cappe and Moulines 2009).

    Whitened patches of natural images have heavy tails, which can leave most of them to one
    component while outlying ones get components of their own. So k-means, where EM starts, runs on
    data whose distance from the centre is compressed logarithmically and groups patches by what
    they show rather than by their contrast; the starting scales are drawn towards their average;
    and a fitted shape below 2 gives the components themselves heavy tails.

    Shapes: y [n, d]; k components.

    Args:
        n_components: k, or "auto": the best k of 1..max_components by the integrated completed
            likelihood (ICL). EM runs for the largest k, then with the two components merged that
            belong together most, and so on.
        shape: "fit", or a number above 0: 2 is Gaussian, 1 Laplacian.
        max_iter: most steps of EM; with a batch_size, most passes over the data.
        tol: EM has converged when the log-likelihood per sample gains less than this.
        n_init: how many starts; the one with the best log-likelihood is kept.
        init: "kmeans" or "random" (random samples as means).
        reg: smallest variance of a component; away from shape 2, the height of the density is
            bounded as there.
        batch_size: samples per step of online EM, or None for full-batch EM.
        max_components: the largest k that "auto" tries.
        warm_start: let `fit` go on from the present parameters.
        random_state: seed.

    Attributes:
        priors_: of the components, [k].
        means_: [k, d].
        scales_: [k, d].
        shape_: the shape of all components.
        n_components_: k, also where "auto" chose it.
        log_likelihoods_: per sample, at each step of the fit.
        converged_: whether the last step gained less than `tol`.
        n_iter_: how many steps the fit took.
        empty_components_: indices of components that hold fewer than two samples.
        icl_path_: {k: ICL} for each k that "auto" tried.

    Raises:
        ValueError: for arguments out of range, and for fewer samples than components.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> y = np.concatenate([rng.laplace(-5, size=(500, 2)), rng.laplace(5, size=(500, 2))])
        >>> mixture = ksn.pretraining.GeneralizedGaussianMixture(2, shape=1.0, random_state=0)
        >>> np.sort(mixture.fit(y).means_[:, 0].round()).tolist()
        [-5.0, 5.0]

    Reference: Cohen, Sharir and Shashua, Deep SimNets (2016), section 5; Biernacki, Celeux and
    Govaert, Assessing a mixture model for clustering with the integrated completed likelihood
    (2000).
    """

    def __init__(
        self,
        n_components: int | str = 1,
        *,
        shape: float | str = "fit",
        max_iter: int = 100,
        tol: float = 1e-3,
        n_init: int = 1,
        init: str = "kmeans",
        reg: float = 1e-3,
        batch_size: int | None = None,
        max_components: int = 16,
        warm_start: bool = False,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.n_components = n_components
        self.shape = shape
        self.max_iter = max_iter
        self.tol = tol
        self.n_init = n_init
        self.init = init
        self.reg = reg
        self.batch_size = batch_size
        self.max_components = max_components
        self.warm_start = warm_start
        self.random_state = random_state

    # Fitting

    def fit(self, X: np.ndarray, y: Any = None) -> Self:
        """Fit to all samples, by full-batch EM or, with a `batch_size`, by online EM."""
        X = self._started(X, first=True)
        goes_on, self._running = self.warm_start and hasattr(self, "means_"), None
        if self.batch_size is not None:
            return self._fit_batches(X, goes_on)
        fit = self._em(X, self._mixture) if goes_on else self._best_start(X, self.max_iter)
        return self._keep(fit, X)

    def fit_predict(self, X: np.ndarray, y: Any = None) -> np.ndarray:
        """Fit, then the most probable component of each sample."""
        return self.fit(X).predict(X)

    def partial_fit(self, X: np.ndarray, y: Any = None) -> Self:
        """One step of online EM on a batch; the first batch gives the start."""
        first = not hasattr(self, "means_")
        X = self._started(X, first)
        if first:
            return self._keep(self._best_start(X, START_STEPS), X)
        self._step(X)
        return self

    def _started(self, X, first):
        """The samples as float64 [n, d]; the first ones check the arguments and seed the draws."""
        X = validate_data(self, X, reset=first, dtype=np.float64, ensure_min_samples=1 + first)
        if first:
            self._check(len(X))
            self._generator = check_random_state(self.random_state)
        return X

    def _best_start(self, X, max_iter):
        """The best of `n_init` runs of EM, or the best number of components."""
        auto = self.n_components == "auto"
        k = min(self.max_components, len(X) // 2) if auto else self.n_components
        options = self.shape, self.init, self.reg, self._generator
        starts = (initial_mixture(X, k, *options) for _ in range(self.n_init))
        runs = [self._em(X, start, max_iter) for start in starts]
        best = max(runs, key=lambda run: run.log_likelihoods[-1])
        if auto:
            refit = functools.partial(self._em, X, max_iter=max_iter)
            best, self.icl_path_ = select(X, best, refit, self._fits_shape)
        return best

    def _em(self, X, mixture, max_iter=None):
        options = {"tol": self.tol, "reg": self.reg, "generator": self._generator}
        options["max_iter"] = self.max_iter if max_iter is None else max_iter
        return em(X, mixture, fit_shape=self._fits_shape, **options)

    def _fit_batches(self, X, goes_on):
        """Stochastic EM over shuffled batches, until a pass over the data gains less than `tol`."""
        order = self._generator.permutation(len(X))
        first = X[order[: max(self.batch_size, START_SAMPLES)]]
        if not goes_on:
            self._keep(self._best_start(first, START_STEPS), first)
        self.log_likelihoods_, self.converged_ = [-np.inf], False
        while len(self.log_likelihoods_) <= self.max_iter and not self.converged_:
            batches = np.array_split(order, -(-len(X) // self.batch_size))
            value = np.mean([self._step(X[batch]) for batch in batches])
            self.converged_ = bool(value - self.log_likelihoods_[-1] < self.tol)
            self.log_likelihoods_.append(value)
            order = self._generator.permutation(len(X))
        self.log_likelihoods_ = self.log_likelihoods_[1:]
        self.n_iter_ = len(self.log_likelihoods_)
        return self

    def _step(self, X):
        """One online step; returns the log-likelihood per sample before it."""
        self._running = self._running or self._averages(X, responsibilities(X, self._mixture)[0])
        options = self._n_seen, self.reg, self._fits_shape, self._generator
        mixture, self._running, value = online_step(X, self._mixture, self._running, *options)
        self._n_seen += len(X)
        self._set(mixture, self._running.counts * self._n_seen)
        return value

    def _keep(self, fit, X):
        """Take over the result of a full-batch run."""
        resp, _ = responsibilities(X, fit.mixture)
        self._set(fit.mixture, resp.sum(axis=0))
        self.log_likelihoods_, self.converged_ = fit.log_likelihoods, fit.converged
        self.n_iter_, self._n_seen = len(self.log_likelihoods_) - 1, len(X)
        self._running = self._averages(X, resp)
        return self

    def _averages(self, X, resp):
        return statistics(X, resp, self._mixture).times(1 / len(X))

    def _set(self, mixture, counts):
        self.priors_, self.means_, self.scales_, self.shape_ = mixture
        self.n_components_ = len(self.priors_)
        self.empty_components_ = np.flatnonzero(counts < MIN_COUNT)

    @property
    def _mixture(self):
        return Mixture(self.priors_, self.means_, self.scales_, self.shape_)

    @property
    def _fits_shape(self):
        return isinstance(self.shape, str)

    def _check(self, n_samples):
        owner = "GeneralizedGaussianMixture"
        whole = ["max_iter", "n_init", "max_components"]
        whole += ["n_components"] * (self.n_components != "auto")
        whole += ["batch_size"] * (self.batch_size is not None)
        for name in whole:
            checks.integer(owner, name, getattr(self, name))
        for name in ["reg"] + ["shape"] * (self.shape != "fit"):
            checks.positive(owner, name, getattr(self, name))
        checks.one_of(owner, "init", self.init, ("kmeans", "random"))
        if self.n_components != "auto" and n_samples < self.n_components:
            raise ValueError(
                f"{owner}: `n_components` is {self.n_components}, but n_samples={n_samples}. "
                f"Use n_components={n_samples} or fewer, or give more samples."
            )

    # The density

    def log_joint(self, X: np.ndarray) -> np.ndarray:
        """`log P(y and component l)` for each sample and component: [n, k]."""
        return log_joint(self._validated(X), self._mixture)

    def score_samples(self, X: np.ndarray) -> np.ndarray:
        """`log P(y)` for each sample: [n]."""
        return responsibilities(self._validated(X), self._mixture)[1]

    def score(self, X: np.ndarray, y: Any = None) -> float:
        """The mean of `log P(y)`."""
        return float(self.score_samples(X).mean())

    def predict_proba(self, X: np.ndarray) -> np.ndarray:
        """The probability of each component for each sample: [n, k]."""
        return responsibilities(self._validated(X), self._mixture)[0]

    def predict(self, X: np.ndarray) -> np.ndarray:
        """The most probable component of each sample: [n]."""
        return self.log_joint(X).argmax(axis=1)

    def sample(self, n_samples: int = 1) -> tuple[np.ndarray, np.ndarray]:
        """Samples [n, d] from the mixture, and their components [n]."""
        check_is_fitted(self)
        checks.integer("GeneralizedGaussianMixture", "n_samples", n_samples)
        generator = check_random_state(self.random_state)
        labels = generator.choice(self.n_components_, n_samples, p=self.priors_)
        size = (n_samples, self.n_features_in_)
        sizes = generator.gamma(1 / self.shape_, size=size) ** (1 / self.shape_)
        signs = generator.choice([-1.0, 1.0], size=size)
        return self.means_[labels] + signs * sizes * self.scales_[labels], labels

    def aic(self, X: np.ndarray) -> float:
        """Akaike's criterion, lower is better."""
        return 2 * n_parameters(self._mixture, self._fits_shape) - 2 * self.score_samples(X).sum()

    def bic(self, X: np.ndarray) -> float:
        """The Bayesian information criterion, lower is better."""
        n_free = n_parameters(self._mixture, self._fits_shape)
        return n_free * np.log(len(X)) - 2 * self.score_samples(X).sum()

    def icl(self, X: np.ndarray) -> float:
        """The integrated completed likelihood: BIC plus twice the entropy; lower is better."""
        return icl(self._validated(X), self._mixture, self._fits_shape)

    def _validated(self, X):
        check_is_fitted(self)
        return validate_data(self, X, reset=False, dtype=np.float64)

    # Parameters of the similarity

    @property
    def templates(self) -> np.ndarray:
        """`z`, the means, as a similarity holds them: [d, k]."""
        return self.means_.T

    @property
    def weights(self) -> np.ndarray:
        """`u = scale^-shape`: [d, k]."""
        return (self.scales_**-self.shape_).T

    @property
    def p(self) -> float:
        """The order of the similarity: the shape."""
        return self.shape_

    @property
    def offsets(self) -> np.ndarray:
        """`c_l`, what the similarity lacks to be the log joint density: [k]."""
        check_is_fitted(self)
        return offsets(self._mixture)
