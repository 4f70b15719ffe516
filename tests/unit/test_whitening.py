"""Whitening: covariance, effective dimension, batches, and data that do not vary."""

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.estimator_checks import parametrize_with_checks

from keras_structnets.pretraining import Whitening
from keras_structnets.pretraining.whitening import effective_dimension

pytestmark = [
    pytest.mark.no_backend,
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
]


@parametrize_with_checks([Whitening(), Whitening("zca"), Whitening("pca", "auto")])
def test_whitening_passes_the_checks_of_scikit_learn(estimator, check):
    check(estimator)


def mixed_sources(seed, n, d=8):
    """Independent heavy- and light-tailed sources, and their mixture by a matrix."""
    rng = np.random.default_rng(seed)
    half = d // 2
    sources = np.concatenate(
        [rng.laplace(size=(n, half)), rng.uniform(-1, 1, size=(n, d - half))], axis=1
    )
    mixing = np.random.default_rng(99).normal(size=(d, d))
    return sources, sources @ mixing + 3.0


@pytest.mark.parametrize("method", ["ica", "pca", "zca"])
def test_held_out_data_have_identity_covariance(method):
    _, x = mixed_sources(0, 150_000)
    _, held_out = mixed_sources(1, 150_000)
    whitening = Whitening(method, random_state=0).fit(x)
    covariance = np.cov(whitening.transform(held_out).T)
    # Sampling alone, with kurtosis 6 and 36 distinct entries, gives about 0.013.
    assert np.abs(covariance - np.eye(8)).max() < 0.02


def test_ica_finds_the_independent_sources_where_pca_does_not():
    sources, x = mixed_sources(0, 20_000)

    def match(method):
        y = Whitening(method, random_state=0).fit_transform(x)
        correlations = np.abs(np.corrcoef(y.T, sources.T)[:8, 8:])
        return correlations.max(axis=0).min()

    assert match("ica") > 0.99
    assert match("pca") < 0.9


def test_batches_give_the_same_filters_as_all_data_at_once():
    _, x = mixed_sources(0, 5000)
    whole, batched = Whitening("pca"), Whitening("pca")
    whole.fit(x)
    for batch in np.array_split(x, 7):
        batched.partial_fit(batch)
    np.testing.assert_allclose(batched.components_, whole.components_, rtol=1e-9, atol=1e-11)
    np.testing.assert_allclose(batched.mean_, whole.mean_, rtol=1e-12)


def test_batches_for_ica_keep_a_bounded_and_even_reservoir():
    whitening = Whitening("ica", reservoir_size=400, random_state=0)
    ramp = np.arange(20_000.0)
    rng = np.random.default_rng(0)
    x = np.stack([ramp, rng.laplace(size=20_000)], axis=1)
    for batch in np.array_split(x, [300, 500, 9000]):
        whitening.partial_fit(batch)
    assert whitening._reservoir.shape == (400, 2)
    kept = whitening._reservoir[:, 0]
    assert abs(kept.mean() / 10_000 - 1) < 0.12  # 4 standard errors of 400 even draws
    # The covariance comes from every sample, not from the reservoir.
    np.testing.assert_allclose(np.cov(whitening.transform(x).T, bias=True), np.eye(2), atol=1e-9)


def planted(seed, d, k, noise, n, heavy=False):
    """`k` strong directions of `d`, plus isotropic noise."""
    rng = np.random.default_rng(seed)
    basis = np.linalg.qr(rng.normal(size=(d, k)))[0]
    draw = rng.laplace if heavy else rng.normal
    signal = draw(size=(n, k)) * np.linspace(1, 2, k)
    return signal @ basis.T + noise * rng.normal(size=(n, d))


@pytest.mark.parametrize("heavy", [False, True], ids=["gaussian", "laplacian"])
@pytest.mark.parametrize(
    ("d", "k", "noise", "n"),
    [
        (20, 5, 0.3, 2000),
        (20, 1, 0.3, 2000),
        (20, 18, 0.3, 5000),
        (20, 19, 0.3, 5000),
        (20, 19, 1e-3, 2000),
        (20, 5, 1e-6, 2000),
        (20, 5, 0.0, 2000),
        (75, 74, 0.05, 5000),
        (50, 8, 0.3, 40),
    ],
)
def test_auto_finds_the_planted_dimension_in_nine_of_ten_seeds(d, k, noise, n, heavy):
    found = []
    for seed in range(10):
        x = planted(seed, d, k, noise, n, heavy)
        found.append(Whitening("pca", "auto").fit(x).n_components_)
    assert np.sum(np.array(found) == k) >= 9, found


def test_auto_agrees_with_the_same_criterion_of_scikit_learn():
    # sklearn weighs 1..d-1 with the sample covariance, so strong signals must give the same answer.
    for seed in range(5):
        x = planted(seed, 15, 6, 0.4, 800)
        assert Whitening("pca", "auto").fit(x).n_components_ == PCA("mle").fit(x).n_components_


def test_auto_keeps_every_direction_of_isotropic_data():
    x = np.random.default_rng(0).normal(size=(5000, 10))
    assert Whitening("pca", "auto").fit(x).n_components_ == 10


def test_effective_dimension_leaves_out_directions_that_samples_cannot_fill():
    assert effective_dimension(np.array([3.0, 2.0, 1e-20, 0.0]), n_samples=100) == 2


@pytest.mark.parametrize("method", ["ica", "pca", "zca"])
def test_columns_that_do_not_vary_or_repeat_are_dropped(method):
    x = np.random.default_rng(0).laplace(size=(500, 6))
    x[:, 2] = 0
    x[:, 3] = 7.5
    x[:, 5] = x[:, 0]
    whitening = Whitening(method, random_state=0).fit(x)
    assert whitening.n_components_ == 3
    assert whitening.n_degenerate_ == 3
    y = whitening.transform(x)
    assert np.isfinite(y).all()
    assert np.abs(whitening.components_).max() < 10
    np.testing.assert_allclose(np.trace(np.cov(y.T)), 3, rtol=0.01)
    np.testing.assert_allclose(whitening.inverse_transform(y), x, atol=1e-8)


def test_black_corners_of_digits_are_dropped():
    x = load_digits().data
    whitening = Whitening("pca").fit(x)
    assert whitening.n_degenerate_ == (x.std(axis=0) == 0).sum() > 0


@pytest.mark.parametrize(
    "x",
    [np.ones((50, 4)), np.zeros((50, 4)), np.full((50, 4), 0.1, np.float32), np.arange(4.0)[None]],
    ids=["ones", "black", "grey", "one sample"],
)
def test_data_that_do_not_vary_raise_a_clear_error(x):
    with pytest.raises(ValueError, match="nothing varies"):
        Whitening("pca").fit(x)


@pytest.mark.parametrize("method", ["ica", "pca", "zca"])
@pytest.mark.parametrize("copies", [1, 500])
def test_two_different_samples_are_enough(method, copies):
    x = np.repeat(np.random.default_rng(0).normal(size=(2, 6)), copies, axis=0)
    whitening = Whitening(method, random_state=0).fit(x)
    assert whitening.n_components_ == 1
    assert np.isfinite(whitening.transform(x)).all()


@pytest.mark.parametrize("method", ["ica", "pca", "zca"])
@pytest.mark.parametrize("n_components", [None, "auto", 3])
def test_outliers_of_a_million_give_finite_filters(method, n_components):
    x = np.random.default_rng(0).laplace(size=(1000, 6))
    x[3, 1], x[7, 4] = 1e6, -1e6
    whitening = Whitening(method, n_components, random_state=0).fit(x)
    assert np.isfinite(whitening.transform(x)).all()
    assert np.abs(whitening.components_).max() < 10


def test_gaussian_data_leave_ica_undecided_but_white():
    x = np.random.default_rng(0).normal(size=(3000, 5))
    y = Whitening(random_state=0).fit_transform(x)
    np.testing.assert_allclose(y.T @ y / 3000, np.eye(5), atol=1e-9)


def test_single_precision_stays_single_and_close():
    _, x = mixed_sources(0, 2000)
    whitening = Whitening("pca").fit(x)
    y = whitening.transform(x.astype(np.float32))
    assert y.dtype == np.float32
    np.testing.assert_allclose(y, whitening.transform(x), atol=1e-4)


@pytest.mark.parametrize(
    ("config", "match"),
    [
        ({"method": "icaa"}, "Did you mean 'ica'"),
        ({"n_components": 0}, "n_components"),
        ({"n_components": 9}, "n_components=5 or fewer"),
        ({"floor": 0.0}, "floor"),
        ({"reservoir_size": 1}, "reservoir_size"),
    ],
)
def test_bad_arguments_are_named(config, match):
    with pytest.raises(ValueError, match=match):
        Whitening(**config).fit(np.random.default_rng(0).normal(size=(50, 5)))


def test_the_warning_of_fastica_is_passed_on():
    x = np.random.default_rng(0).normal(size=(300, 5))
    with pytest.warns(ConvergenceWarning):
        Whitening(max_iter=1, tol=1e-12, random_state=0).fit(x)
