"""Mixtures of Generalized Gaussians: density, EM, choice of the number of components, hard data."""

import tracemalloc

import numpy as np
import pytest
from scipy.special import gammaln
from sklearn.mixture import GaussianMixture
from sklearn.utils.estimator_checks import parametrize_with_checks

from keras_structnets.pretraining import GeneralizedGaussianMixture, em
from keras_structnets.pretraining.initialization import compressed
from keras_structnets.pretraining.selection import merged
from tests.reference import mixtures as reference

pytestmark = pytest.mark.no_backend


@parametrize_with_checks(
    [
        GeneralizedGaussianMixture(),
        GeneralizedGaussianMixture(2, shape=2.0),
        GeneralizedGaussianMixture("auto", max_components=2, max_iter=5),
        GeneralizedGaussianMixture(2, shape=1.0, batch_size=20, max_iter=3),
    ]
)
def test_mixture_passes_the_checks_of_scikit_learn(estimator, check):
    check(estimator)


def planted(seed, shape, k=5, d=8, spread=2.0):
    """A mixture with drawn parameters, as if fitted."""
    rng = np.random.default_rng(seed)
    mixture = GeneralizedGaussianMixture(k, shape=float(shape), random_state=seed)
    mixture.n_features_in_, mixture.n_components_, mixture.shape_ = d, k, float(shape)
    mixture.priors_ = np.linspace(1, 2, k) / np.linspace(1, 2, k).sum()
    mixture.means_ = spread * rng.normal(size=(k, d))
    mixture.scales_ = rng.uniform(0.5, 1.5, size=(k, d))
    return mixture


def deviations(mixture):
    shape = mixture.shape_
    return mixture.scales_ * np.exp((gammaln(3 / shape) - gammaln(1 / shape)) / 2)


def worst_mean(found, truth):
    """The largest error of a mean in standard deviations, each truth with its closest component."""
    errors = np.abs(found.means_ - truth.means_[:, None]) / deviations(truth)[:, None]
    return errors.max(axis=2).min(axis=1).max()


# The density


@pytest.mark.parametrize("shape", [0.5, 1.0, 1.7, 2.0, 4.0])
def test_log_joint_is_that_of_the_paper(shape):
    mixture = planted(0, shape, k=3, d=4)
    x = mixture.sample(20)[0]
    parts = mixture.priors_, mixture.means_, mixture.scales_, shape
    np.testing.assert_allclose(mixture.log_joint(x), reference.log_joint(x, *parts), rtol=1e-11)


@pytest.mark.parametrize("shape", [0.5, 1.0, 2.0, 4.0])
def test_log_joint_is_a_similarity_plus_offsets(shape):
    mixture = planted(1, shape, k=3, d=4)
    x = mixture.sample(20)[0]
    away = np.abs(x[:, :, None] - mixture.templates)  # [n, d, k]
    similarity = -(mixture.weights * away**mixture.p).sum(axis=1)
    np.testing.assert_allclose(similarity + mixture.offsets, mixture.log_joint(x), rtol=1e-11)


def test_log_joint_survives_means_far_from_the_origin():
    mixture = planted(0, 2.0, k=3, d=4)
    x = mixture.sample(20)[0]
    near = mixture.log_joint(x)
    mixture.means_ = mixture.means_ + 1e6
    np.testing.assert_allclose(mixture.log_joint(x + 1e6), near, rtol=1e-7)


def test_scores_and_probabilities_follow_from_log_joint():
    mixture = planted(2, 1.3, k=3)
    x = mixture.sample(50)[0]
    joint = np.exp(mixture.log_joint(x))
    np.testing.assert_allclose(mixture.score_samples(x), np.log(joint.sum(axis=1)))
    np.testing.assert_allclose(mixture.predict_proba(x), joint / joint.sum(axis=1, keepdims=True))
    np.testing.assert_array_equal(mixture.predict(x), joint.argmax(axis=1))
    assert mixture.score(x) == pytest.approx(mixture.score_samples(x).mean())


@pytest.mark.parametrize("shape", [0.7, 1.0, 2.0, 4.0])
def test_density_integrates_to_one_and_samples_follow_it(shape):
    mixture = planted(0, shape, k=2, d=1)
    grid = np.linspace(-60, 60, 400_001)[:, None]
    density = np.exp(mixture.score_samples(grid))
    total = density.sum() * (grid[1, 0] - grid[0, 0])
    assert total == pytest.approx(1, abs=1e-3)
    x, labels = mixture.sample(40_000)
    share = np.bincount(labels) / 40_000
    np.testing.assert_allclose(share, mixture.priors_, atol=0.01)
    mass_below = np.cumsum(density) / density.sum()
    empirical = np.searchsorted(np.sort(x[:, 0]), grid[:, 0]) / 40_000
    assert np.abs(mass_below - empirical).max() < 0.01  # Kolmogorov at 40,000: 0.0082 in 1 of 100


# EM


@pytest.mark.parametrize("shape", [0.4, 0.7, 1.0, 1.5, 2.0, 3.0, 6.0, "fit"])
@pytest.mark.parametrize("init", ["kmeans", "random"])
def test_log_likelihood_never_falls(shape, init):
    x = planted(3, 1.2, k=4, d=3, spread=0.8).sample(800)[0]
    mixture = GeneralizedGaussianMixture(
        6, shape=shape, init=init, tol=1e-13, max_iter=25, random_state=0
    ).fit(x)
    gains = np.diff(mixture.log_likelihoods_)
    assert len(gains) > 5
    assert gains.min() > -1e-10


@pytest.mark.parametrize("shape", [0.7, 2.0, "fit"])
def test_log_likelihood_never_falls_when_components_are_empty(shape):
    x = np.repeat(np.random.default_rng(0).normal(size=(12, 3)), 20, axis=0)
    mixture = GeneralizedGaussianMixture(20, shape=shape, tol=1e-13, random_state=0).fit(x)
    assert np.diff(mixture.log_likelihoods_).min() > -1e-10


def test_a_shape_step_that_does_not_improve_is_not_taken(monkeypatch):
    x = planted(0, 1.0, k=2, d=3).sample(500)[0]
    monkeypatch.setattr(em, "best_change", lambda found, scales, shape, reg: 1)
    mixture = GeneralizedGaussianMixture(2, tol=1e-13, max_iter=20, random_state=0).fit(x)
    assert np.diff(mixture.log_likelihoods_).min() > -1e-10


def test_a_component_without_samples_is_started_anew_by_full_batch_em():
    truth = planted(0, 2.0, k=2, d=3, spread=6.0)
    x = truth.sample(1000)[0]
    found = GeneralizedGaussianMixture(2, shape=2.0, warm_start=True, random_state=0)
    found.priors_, found.means_ = truth.priors_, truth.means_ + np.array([[0], [1e4]])
    found.scales_, found.shape_ = truth.scales_, 2.0
    found.fit(x)
    assert len(found.empty_components_) == 0
    assert found.score(x) == pytest.approx(truth.score(x), abs=0.02)
    assert np.diff(found.log_likelihoods_).min() > -1e-10


@pytest.mark.parametrize("seed", range(3))
def test_at_shape_two_it_equals_the_diagonal_mixture_of_scikit_learn(seed):
    x = planted(seed, 1.5, spread=1.0).sample(4000)[0]
    ours = GeneralizedGaussianMixture(5, shape=2.0, max_iter=1, reg=1e-6, random_state=seed).fit(x)
    theirs = GaussianMixture(
        5,
        covariance_type="diag",
        tol=1e-10,
        max_iter=1000,
        reg_covar=1e-6,
        weights_init=ours.priors_,
        means_init=ours.means_,
        precisions_init=2 / ours.scales_**2,
    ).fit(x)
    ours.set_params(warm_start=True, max_iter=1000, tol=1e-10).fit(x)
    np.testing.assert_allclose(ours.score_samples(x), theirs.score_samples(x), atol=1e-4)
    assert ours.bic(x) == pytest.approx(theirs.bic(x), abs=1)
    assert ours.aic(x) == pytest.approx(theirs.aic(x), abs=1)


@pytest.mark.parametrize("shape", [0.7, 1.0, 2.0, 4.0])
def test_a_planted_mixture_is_recovered(shape):
    truth = planted(0, shape)
    x = truth.sample(10_000)[0]
    found = GeneralizedGaussianMixture(5, tol=1e-5, random_state=0).fit(x)
    assert found.shape_ == pytest.approx(shape, rel=0.05)
    assert worst_mean(found, truth) < 0.12
    assert found.score(x) == pytest.approx(truth.score(x), abs=0.01)
    assert len(found.empty_components_) == 0


@pytest.mark.parametrize("how", ["batch_size", "partial_fit"])
@pytest.mark.parametrize("shape", [0.7, 2.0, 4.0])
def test_online_em_recovers_a_planted_mixture(shape, how):
    truth = planted(0, shape, spread=3.0)
    x = truth.sample(20_000)[0]
    found = GeneralizedGaussianMixture(5, batch_size=500, max_iter=5, random_state=0)
    if how == "batch_size":
        found.fit(x)
    else:
        for batch in np.array_split(x, 40):
            found.partial_fit(batch)
    assert found.shape_ == pytest.approx(shape, rel=0.05)
    # One pass of partial_fit that starts on 500 samples gave 0.15 at shape 0.7, the rest 0.05.
    assert worst_mean(found, truth) < (0.2 if how == "partial_fit" else 0.12)
    assert found.score(x) == pytest.approx(truth.score(x), abs=0.03)


def test_online_em_survives_batches_of_one_sample_and_outliers():
    truth = planted(0, 1.0, k=2, d=3)
    x = truth.sample(600)[0]
    found = GeneralizedGaussianMixture(2, random_state=0).partial_fit(x[:300])
    for row in x[300:]:
        found.partial_fit(row[None])
    found.partial_fit(np.full((3, 3), 1e6))
    assert np.isfinite(found.score_samples(x)).all()


def test_a_component_without_samples_is_started_anew_by_online_em():
    truth = planted(0, 2.0, k=2, d=3, spread=6.0)
    x = truth.sample(4000)[0]
    found = GeneralizedGaussianMixture(2, shape=2.0, random_state=0).partial_fit(x[:500])
    found.means_ = found.means_.copy()
    found.means_[0] = 1e4
    found._running = None
    for batch in np.array_split(x, 20):
        found.partial_fit(batch)
    assert len(found.empty_components_) == 0
    assert found.score(x) == pytest.approx(truth.score(x), abs=0.1)


def test_constant_columns_do_not_move_the_shape():
    truth = planted(0, 1.0, k=2, d=4)
    x = truth.sample(3000)[0]
    padded = np.concatenate([x, np.zeros((3000, 6))], axis=1)
    plain = GeneralizedGaussianMixture(2, random_state=0, tol=1e-6).fit(x)
    with_zeros = GeneralizedGaussianMixture(2, random_state=0, tol=1e-6).fit(padded)
    assert with_zeros.shape_ == pytest.approx(plain.shape_, rel=1e-3)


def test_no_array_of_samples_by_components_by_features_is_made():
    x = np.random.default_rng(0).laplace(size=(8_000, 32))
    tracemalloc.start()
    GeneralizedGaussianMixture(48, shape=1.5, max_iter=2, init="random", random_state=0).fit(x)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 30e6 < 8 * 8_000 * 32 * 48 / 3


# The number of components


@pytest.mark.parametrize("seed", range(3))
def test_auto_finds_the_planted_number_within_one(seed):
    x = planted(seed, [0.7, 1.0, 2.0][seed]).sample(3000)[0]
    found = GeneralizedGaussianMixture("auto", max_components=8, random_state=seed).fit(x)
    assert abs(found.n_components_ - 5) <= 1
    assert found.icl_path_[found.n_components_] == min(found.icl_path_.values())
    assert found.icl(x) == pytest.approx(found.icl_path_[found.n_components_])


def test_auto_finds_one_component_in_one_cloud():
    x = np.random.default_rng(0).laplace(size=(1500, 4))
    assert (
        GeneralizedGaussianMixture("auto", max_components=6, random_state=0).fit(x).n_components_
        == 1
    )


def test_icl_is_bic_plus_twice_the_entropy():
    mixture = planted(0, 2.0, spread=0.5)
    x = mixture.sample(300)[0]
    r = mixture.predict_proba(x)
    assert mixture.icl(x) == pytest.approx(mixture.bic(x) - 2 * (r * np.log(r + 1e-300)).sum())


def test_merging_joins_the_two_closest_components():
    mixture = planted(0, 2.0, k=4, d=3, spread=8.0)
    mixture.means_[3] = mixture.means_[1] + 0.01
    mixture.scales_[3] = mixture.scales_[1]
    joined = merged(mixture._mixture)
    np.testing.assert_allclose(joined.means[[0, 2]], mixture.means_[[0, 2]])
    np.testing.assert_allclose(joined.means[1], mixture.means_[1], atol=0.01)
    np.testing.assert_allclose(joined.scales[1], mixture.scales_[1], rtol=1e-3)
    assert joined.priors.sum() == pytest.approx(1)


# Heavy tails and hard data


def contrast_patches(seed, n=3000, d=16, directions=8):
    """Like whitened patches: a few patterns with contrasts over two decades, kurtosis 10 to 20."""
    rng = np.random.default_rng(seed)
    patterns = rng.normal(size=(directions, d))
    patterns /= np.linalg.norm(patterns, axis=1, keepdims=True)
    pattern = patterns[rng.integers(directions, size=n)] * rng.choice([-1, 1], size=(n, 1))
    contrast = np.exp(rng.normal(size=(n, 1)))
    x = contrast * (4 * pattern + 0.5 * rng.normal(size=(n, d)))
    return x / x.std(axis=0)


def test_compression_keeps_directions_and_order_and_tames_outliers():
    x = contrast_patches(0, n=500)
    x[0] *= 1e6
    x[1] = np.median(x, axis=0)
    away, small = x - np.median(x, axis=0), compressed(x)
    far, near = np.linalg.norm(away, axis=1), np.linalg.norm(small, axis=1)
    np.testing.assert_allclose((away * small).sum(axis=1), far * near, rtol=1e-9)
    np.testing.assert_array_equal(far.argsort(), near.argsort())
    assert near.max() < 20
    assert np.median(near) == pytest.approx(np.log(2))


@pytest.mark.parametrize("shape", ["fit", 1.0, 2.0])
def test_heavy_tails_leave_no_component_with_most_of_the_samples(shape):
    x = contrast_patches(0)
    mixture = GeneralizedGaussianMixture(16, shape=shape, random_state=0).fit(x)
    assert mixture.priors_.max() < 0.35
    assert len(mixture.empty_components_) == 0


def hard_data():
    rng = np.random.default_rng(0)
    x = rng.laplace(size=(200, 4))
    outliers, zero, wide = x.copy(), x.copy(), x * np.array([1e-8, 1.0, 1e4, 1e8])
    outliers[5, 1], outliers[9, 2] = 1e6, -1e6
    zero[:, 2] = 0
    return {
        "constant": np.full((50, 4), 3.0),
        "black": np.zeros((50, 4)),
        "duplicates": np.repeat(x[:2], 60, axis=0),
        "copies of one": np.repeat(x[:1], 60, axis=0),
        "outliers": outliers,
        "zero column": zero,
        "wide range": wide,
        "two samples": x[:2],
        "as many samples as components": x[:3],
    }


@pytest.mark.parametrize("batch_size", [None, 20])
@pytest.mark.parametrize("shape", ["fit", 0.5, 1.0, 2.0, 4.0])
@pytest.mark.parametrize("name", list(hard_data()))
def test_hard_data_never_give_nan(name, shape, batch_size):
    x = hard_data()[name]
    k = min(3, len(x))
    mixture = GeneralizedGaussianMixture(k, shape=shape, batch_size=batch_size, random_state=0)
    mixture.fit(x)
    for value in (
        mixture.priors_,
        mixture.means_,
        mixture.scales_,
        mixture.weights,
        mixture.offsets,
    ):
        assert np.isfinite(value).all()
    assert 0.2 <= mixture.shape_ <= 10
    assert np.isfinite(mixture.score_samples(x)).all()
    np.testing.assert_allclose(mixture.predict_proba(x).sum(axis=1), 1)


@pytest.mark.parametrize("name", list(hard_data()))
def test_hard_data_with_auto_never_give_nan(name):
    x = hard_data()[name]
    mixture = GeneralizedGaussianMixture("auto", max_components=4, random_state=0).fit(x)
    assert np.isfinite(mixture.score_samples(x)).all()


def test_more_components_than_distinct_samples_are_reported_as_empty():
    x = np.repeat(np.random.default_rng(0).normal(size=(2, 4)), 50, axis=0)
    mixture = GeneralizedGaussianMixture(5, random_state=0).fit(x)
    counts = mixture.predict_proba(x).sum(axis=0)
    np.testing.assert_array_equal(mixture.empty_components_, np.flatnonzero(counts < 2))


@pytest.mark.parametrize(
    ("config", "n", "match"),
    [
        ({"n_components": 9}, 5, "n_components=5 or fewer"),
        ({"n_components": 0}, 20, "n_components"),
        ({}, 1, "minimum of 2"),
        ({"shape": -1.0}, 20, "shape"),
        ({"shape": "fitt"}, 20, "shape"),
        ({"reg": 0.0}, 20, "reg"),
        ({"init": "kmean"}, 20, "Did you mean 'kmeans'"),
        ({"batch_size": 0}, 20, "batch_size"),
        ({"max_iter": 0}, 20, "max_iter"),
        ({"n_init": 0}, 20, "n_init"),
    ],
)
@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_bad_arguments_are_named(config, n, match, method):
    x = np.random.default_rng(0).normal(size=(n, 3))
    with pytest.raises(ValueError, match=match):
        getattr(GeneralizedGaussianMixture(**config), method)(x)
