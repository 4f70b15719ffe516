"""Pre-training: the maps are log densities, and no images make it fail silently."""

import dataclasses

import keras
import numpy as np
import pytest

import keras_structnets as ksn

pretraining = pytest.importorskip(
    "keras_structnets.pretraining", reason="pre-training needs the extra `train` (scikit-learn)"
)
SHAPE = (8, 8, 2)

pytestmark = pytest.mark.filterwarnings("ignore:FastICA did not converge")  # few patches


@pytest.fixture
def images():
    """Blurred noise of heavy tails: neighbouring pixels agree, as in photographs."""
    noise = np.random.default_rng(0).laplace(size=(60, 10, 10, 2))
    x = noise[:, 1:-1, 1:-1] + noise[:, 2:, 1:-1] + noise[:, 1:-1, 2:] + noise[:, 1:-1, :-2]
    return (100 + 20 * x).astype("float32")


def simnet(p=2.0, trainable_p=False, normalize=True, padding="same"):
    pixels = keras.Input(SHAPE)
    x = keras.layers.Rescaling(1 / 127.5, -1.0)(pixels)
    options = {"p": p, "trainable_p": trainable_p, "normalize": normalize, "padding": padding}
    x = ksn.blocks.whitened_similarity(x, 6, 3, templates=4, name="first", **options)
    x = ksn.layers.MEXPooling2D(2, beta=float("inf"), trainable_beta=False)(x)
    x = ksn.blocks.normalization("between")(x) if normalize else x
    x = ksn.blocks.whitened_similarity(x, 5, 2, templates=3, name="second", **options)
    return keras.Model(pixels, ksn.blocks.mex_classifier(x, 4))


def pretrain(model, images, **options):
    options = {"n_patches": 1000, "verbose": 0, "seed": 0} | options
    return pretraining.pretrain(model, images, **options)


def outputs(model, names, x):
    """What the named layers give, as float64."""
    parts = [keras.Model(model.input, model.get_layer(name).output) for name in names]
    return [np.asarray(keras.ops.convert_to_numpy(part(x)), "float64") for part in parts]


@pytest.mark.parametrize(
    ("p", "trainable_p", "normalize"), [(2.0, False, True), (1.0, False, False), (1.0, True, True)]
)
def test_similarity_maps_are_the_log_densities_of_the_components(p, trainable_p, normalize, images):
    model = simnet(p, trainable_p, normalize)
    report = pretrain(model, images, templates="log_density", offset_spread=0.0)
    suffix = "normalization" if normalize else "whitening"
    for row in report.layers:
        y, maps = outputs(model, [f"{row.name}_{suffix}", row.name], images[:5])
        expected = row.mixture.log_joint(y.reshape(-1, y.shape[-1]))
        found = maps.reshape(expected.shape) + row.mixture.offsets
        assert np.abs(found - expected).max() <= 1e-4 * np.abs(expected).max()
    offsets = keras.ops.convert_to_numpy(model.get_layer("classification").offsets)
    expected = np.repeat(report.layers[-1].mixture.offsets[:, None], 4, axis=1)
    np.testing.assert_allclose(offsets, expected, rtol=1e-5)
    if trainable_p:
        assert report.layers[0].p == pytest.approx(float(model.get_layer("first").p), rel=1e-6)


@pytest.mark.parametrize("templates", ["mixture", "log_density", "keep"])
def test_the_convolution_whitens_the_patches(templates, images):
    model = simnet(padding="valid")
    pretrain(model, images, n_patches=5000, templates=templates)
    (y,) = outputs(model, ["first_whitening"], images)
    y = y.reshape(-1, y.shape[-1])
    np.testing.assert_allclose(y.mean(axis=0), 0, atol=0.1)
    np.testing.assert_allclose(np.cov(y.T), np.eye(6), atol=0.1)


def test_maps_are_normalized_before_the_next_convolution(images):
    model = simnet()
    pretrain(model, images, n_patches=20_000)
    (maps,) = outputs(model, ["between"], images)
    maps = maps.reshape(-1, maps.shape[-1])
    np.testing.assert_allclose(maps.mean(axis=0), 0, atol=0.1)
    np.testing.assert_allclose(maps.std(axis=0), 1, atol=0.1)


def test_templates_have_the_values_of_random_ones_in_the_order_of_the_means(images):
    """The means of patches lie close to 0: maps with the means themselves are nearly the same."""
    random, model = simnet(), simnet()
    model.set_weights(random.get_weights())
    report = pretrain(model, images)
    for row in report.layers:
        (templates, weights), (initial, kept) = (
            map(keras.ops.convert_to_numpy, network.get_layer(row.name).weights)
            for network in (model, random)
        )
        np.testing.assert_array_equal(weights, kept)
        np.testing.assert_array_equal(np.sort(templates), np.sort(initial))
        means = row.mixture.means_.T
        np.testing.assert_array_equal(templates[0, 0].argsort(), means.argsort())


def test_templates_can_be_kept(images):
    model = simnet()

    def kept():
        return [
            keras.ops.convert_to_numpy(weight)
            for name in ("first", "second", "classification")
            for weight in model.get_layer(name).weights
        ]

    before = kept()
    report = pretrain(model, images, templates="keep")
    assert all(np.array_equal(a, b) for a, b in zip(before, kept(), strict=True))
    assert all(row.mixture is None and row.log_likelihoods == [] for row in report.layers)
    assert str(report).count("no mixture") == 2
    assert len(report.plot().axes) == 4


def test_a_sequential_model_is_pretrained_like_a_functional_one(images):
    def reports():
        parts = [keras.layers.Conv2D(6, 3), ksn.layers.Similarity2D(4)]
        sequential = keras.Sequential([keras.Input(SHAPE), *parts])
        yield pretrain(sequential, images)
        yield pretrain(keras.Model(sequential.inputs, sequential.outputs), images)

    first, second = (report.layers[0].log_likelihoods for report in reports())
    assert first == second


def test_a_seed_gives_the_same_weights_and_another_seed_others(images):
    weights = []
    for seed in (0, 0, 1):
        keras.utils.set_random_seed(0)
        model = simnet()
        pretrain(model, images, seed=seed)
        weights.append([np.array(keras.ops.convert_to_numpy(w)) for w in model.trainable_weights])
    assert all(np.array_equal(a, b) for a, b in zip(weights[0][:6], weights[1][:6], strict=True))
    assert not all(
        np.array_equal(a, b) for a, b in zip(weights[0][:6], weights[2][:6], strict=True)
    )


def test_a_temperature_divides_the_maps(images):
    cold, warm = simnet(), simnet()
    pretrain(cold, images, templates="log_density")
    pretrain(warm, images, templates="log_density", temperature=2.0)
    a, b = (outputs(model, ["first"], images[:2])[0] for model in (cold, warm))
    np.testing.assert_allclose(a, 2 * b, rtol=1e-4)


def test_the_keys_of_a_recipe_reach_the_log_densities():
    """At shape 2 a weight is 1 / (2 variance), here at most 1 / (2 * 0.5) over the temperature."""
    data = ksn.training.load("digits")
    data = dataclasses.replace(data, x_train=data.x_train[:300])

    def weights_and_spread(**keys):
        sizes = {"channels": (16,), "templates": 6}
        recipe = ksn.training.Recipe(
            "simnet_1layer_l2", pretrain="log_density", sizes=sizes, **keys
        )
        model = ksn.training.pretraining.build_model(recipe, data, (8, 8))
        ksn.training.pretraining.pretrain_from(model, recipe, data, verbose=0)
        weights = model.get_layer("similarity").similarity_weights
        offsets = keras.ops.convert_to_numpy(model.get_layer("classification").offsets)
        return keras.ops.convert_to_numpy(weights), offsets.std(axis=-1).mean()

    weights, spread = weights_and_spread()
    assert weights.max() > 0.5
    assert spread < 2
    weights, spread = weights_and_spread(
        pretrain_temperature=4.0, pretrain_offset_spread=8.0, pretrain_reg=0.5
    )
    assert weights.max() <= 0.25 * (1 + 1e-5)
    assert spread > 4


def hard_images(kind, images):
    if kind == "one image":
        return images[:1]
    if kind == "duplicated":
        return np.repeat(images[:1], 20, axis=0)
    if kind == "outliers":
        images[0] = 1e6
    if kind == "a black channel":
        images[..., 1] = 0
    if kind == "mostly black":
        images[5:] = 0
    return images


@pytest.mark.parametrize(
    "kind", ["one image", "duplicated", "outliers", "a black channel", "mostly black"]
)
def test_hard_images_give_finite_weights_and_outputs(kind, images):
    x = hard_images(kind, images)
    model = simnet()
    pretrain(model, x)
    assert all(np.all(np.isfinite(keras.ops.convert_to_numpy(w))) for w in model.weights)
    assert np.all(np.isfinite(keras.ops.convert_to_numpy(model(x[:4]))))


def test_more_components_than_patches_still_gives_finite_weights(images):
    model = simnet()
    pretrain(model, images[:1], n_patches=5)
    assert all(np.all(np.isfinite(keras.ops.convert_to_numpy(w))) for w in model.weights)


def test_constant_images_are_refused(images):
    with pytest.raises(ValueError, match="first_whitening"):
        pretrain(simnet(), np.full_like(images, 7.0))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda x: x[:, :4], ["images", "(60, 4, 8, 2)"]),
        (lambda x: x[:0], ["images", "(0, 8, 8, 2)"]),
        (lambda x: np.where(x > 150, np.nan, x), ["images", "NaN"]),
    ],
)
def test_wrong_images_are_refused(change, words, images):
    with pytest.raises(ValueError) as error:
        pretrain(simnet(), change(images))
    assert all(word in str(error.value) for word in words), error.value


def test_wrong_options_are_refused(images):
    with pytest.raises(ValueError, match="`templates`.*'best'.*keep"):
        pretrain(simnet(), images, templates="best")


def test_a_model_without_pairs_is_refused(images):
    x = keras.Input(SHAPE)
    model = keras.Model(x, keras.layers.Conv2D(2, 1)(x))
    with pytest.raises(ValueError, match="convolution"):
        pretrain(model, images)


def test_the_report_prints_and_plots(images):
    report = pretrain(simnet(), images)
    assert "first" in str(report)
    assert len(report.plot().axes) == 4
    assert [row.dimension for row in report.layers] == [6, 5]
    assert all(len(row.log_likelihoods) > 1 for row in report.layers)


def test_training_goes_on_from_there(images):
    model = simnet()
    pretrain(model, images, templates="log_density", temperature="dimension", offset_spread=1.0)
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    history = model.fit(images, np.arange(60) % 4, epochs=2, verbose=0)
    assert np.all(np.isfinite(history.history["loss"]))


@pytest.fixture(scope="module")
def chosen():
    """A network for scikit-learn's digits, and what is found for its widths."""
    digits = ksn.training.load("digits").x_train[:300]
    options = {"input_shape": (8, 8, 1), "channels": (9, 12), "templates": 10, "kernel_size": 3}
    keras.utils.set_random_seed(0)
    model = ksn.zoo.build("simnet", **options)
    before = model.get_weights()
    report = pretrain(model, digits, channels="auto", templates="log_density", max_iter=10)
    for weight, value in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weight, value)
    return report, digits


def test_the_widths_of_a_network_for_digits_come_from_the_digits(chosen):
    report, digits = chosen
    for row, most in zip(report.layers, (9, 12), strict=True):
        number = row.name.removeprefix("similarity_")
        convolution = report.model.get_layer(f"similarity_{number}_whitening")
        similarity = report.model.get_layer(row.name)
        assert convolution.filters == row.dimension == min(row.effective_dimension, most)
        assert (
            similarity.filters
            == row.mixture.n_components_
            == min(row.mixture.icl_path_, key=row.mixture.icl_path_.get)
        )
    assert report.layers[0].dimension < 9  # corners of the digits hardly vary
    assert report.model.predict(digits, verbose=0).shape == (300, 10)


def test_a_network_of_chosen_widths_gives_log_densities(chosen):
    report, digits = chosen
    for row in report.layers:
        y, maps = outputs(report.model, [f"{row.name}_normalization", row.name], digits[:5])
        expected = row.mixture.log_joint(y.reshape(-1, y.shape[-1]))
        found = maps.reshape(expected.shape) + row.mixture.offsets
        assert np.abs(found - expected).max() <= 1e-4 * np.abs(expected).max()


def test_widths_that_another_layer_does_not_take_are_refused(images):
    pixels = keras.Input(SHAPE)
    x = ksn.blocks.whitened_similarity(pixels, 6, 3, templates=7, name="first")
    model = keras.Model(pixels, keras.layers.Conv2D(7, 1, groups=7)(x))
    with pytest.raises(ValueError, match="another layer of .* does not take them.*channels='keep'"):
        pretrain(model, images, channels="auto")


@pytest.mark.no_backend
@pytest.mark.parametrize(
    "options", [{"channels": "all"}, {"channels": "auto", "em_batch_size": 9}, {"em_batch_size": 0}]
)
def test_wrong_options_of_pretraining_are_named(options, images):
    with pytest.raises(ValueError, match="pretrain: .*`(channels|em_batch_size)`"):
        pretrain(simnet(), images, **options)


def test_stochastic_em_finds_a_mixture_too(images):
    report = pretrain(simnet(), images, em_batch_size=200, max_iter=3)
    assert all(1 <= len(row.log_likelihoods) <= 3 for row in report.layers)
