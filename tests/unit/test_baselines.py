"""The twelve baselines: sizes, shapes, agreement with keras.applications, saving and errors.

Sizes and shapes are those of models without weights, and tested once. Tests that need the weights of
large networks run on TensorFlow alone: JAX compiles each initializer for each shape.
"""

import concurrent.futures
import decimal
import functools
import os
import subprocess
import sys

import keras
import numpy as np
import pytest

import keras_structnets as ksn
from keras_structnets.zoo import baselines

PARAMETERS = {  # trainable, for 32x32x3 and 10 classes
    "convnext_small": 49_462_378,
    "convnext_tiny": 27_827_818,
    "efficientnet_b0": 4_020_358,
    "efficientnet_b1": 6_525_994,
    "efficientnet_b2": 7_715_084,
    "mobilenet_v2": 2_236_682,
    "mobilenet_v3_small": 1_528_106,
    "regnet_y_400mf": 3_907_554,
    "regnet_y_800mf": 5_655_362,
    "resnet18": 11_181_642,
    "resnet34": 21_289_802,
    "shufflenet_v2_x0_5": 352_042,
}
FEATURES = {  # inputs of the last dense layer
    "convnext_small": 768,
    "convnext_tiny": 768,
    "efficientnet_b0": 1280,
    "efficientnet_b1": 1280,
    "efficientnet_b2": 1408,
    "mobilenet_v2": 1280,
    "mobilenet_v3_small": 1024,
    "regnet_y_400mf": 440,
    "regnet_y_800mf": 784,
    "resnet18": 512,
    "resnet34": 512,
    "shufflenet_v2_x0_5": 1024,
}
LAYER_SCALES = {"convnext_tiny": 6_624, "convnext_small": 13_536}
NAMES = sorted(PARAMETERS)
MEAN, STD = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])

large = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="large networks are built on one backend only"
)


@functools.cache
def skeleton(name, **arguments):
    """The model, its variables known by shape only: built in a fraction of a second."""

    def built():
        with keras.StatelessScope(initialize_variables=False):
            return ksn.zoo.build(name, **arguments)

    # Keras remembers variables without values per thread, and this thread ends here.
    with concurrent.futures.ThreadPoolExecutor(1) as thread:
        return thread.submit(built).result()


def parameters(weights):
    return sum(int(np.prod(weight.shape)) for weight in weights)


def pixels(shape=(2, 32, 32, 3)):
    return np.random.default_rng(1).integers(0, 256, shape).astype("float32")


def normalized(x):
    return ((x / 255 - MEAN) / STD).astype("float32")


def outputs(model, x):
    return keras.ops.convert_to_numpy(model(keras.ops.convert_to_tensor(x)))


def is_printed_as(count, printed):
    """Whether `count` rounds to `printed`, such as '2.24M', to as many decimals."""
    printed = decimal.Decimal(printed.removesuffix("M"))
    return (decimal.Decimal(count) / 10**6).quantize(printed) == printed


def layer_scales(model):
    return parameters(w for layer in model.layers if "scale" in layer.name for w in layer.weights)


# Sizes


@pytest.mark.no_backend
@pytest.mark.parametrize("name", NAMES)
def test_trainable_parameters_are_exact_and_as_printed(name):
    printed = ksn.zoo.info(name).printed
    assert set(printed) == {10, 100, 200}
    for num_classes in printed:
        model = skeleton(name, num_classes=num_classes)
        count = parameters(model.trainable_weights)
        assert count == PARAMETERS[name] + (num_classes - 10) * (FEATURES[name] + 1)
        if (name, num_classes) == ("mobilenet_v2", 200):
            continue  # has a test of its own
        assert is_printed_as(count - LAYER_SCALES.get(name, 0), printed[num_classes])


@pytest.mark.no_backend
@pytest.mark.parametrize("name", sorted(LAYER_SCALES))
def test_convnext_is_printed_without_the_scales_of_its_branches(name):
    model = skeleton(name)
    assert layer_scales(model) == LAYER_SCALES[name]
    assert not is_printed_as(PARAMETERS[name], ksn.zoo.info(name).printed[10])


@pytest.mark.no_backend
def test_mobilenet_v2_with_200_classes_is_printed_with_its_size_for_100():
    printed = ksn.zoo.info("mobilenet_v2").printed
    count = parameters(skeleton("mobilenet_v2", num_classes=200).trainable_weights)
    assert printed[200] == printed[100]
    assert is_printed_as(count, "2.48M")
    assert not is_printed_as(count, printed[200])


@pytest.mark.no_backend
@pytest.mark.parametrize(
    ("count", "printed", "verdict"),
    [
        (2_236_682, "2.24M", True),
        (2_236_682, "2.23M", False),
        (4_020_358, "4.0M", True),
        (4_020_358, "4.00M", False),
        (5_804_512, "5.8M", True),
        (5_855_000, "5.8M", False),
    ],
)
def test_rounding_is_to_the_printed_decimals(count, printed, verdict):
    assert is_printed_as(count, printed) is verdict


# Shapes and graphs


@pytest.mark.no_backend
@pytest.mark.parametrize("name", NAMES)
def test_features_are_a_map_of_a_32nd_of_the_image(name):
    channels = 576 if name == "mobilenet_v3_small" else FEATURES[name]  # a hidden layer follows
    for shape in ((32, 32, 3), (64, 96, 1)):
        model = skeleton(name, input_shape=shape, include_top=False)
        assert model.output_shape == (None, shape[0] // 32, shape[1] // 32, channels)


@pytest.mark.no_backend
@pytest.mark.parametrize("name", NAMES)
def test_the_model_is_flat_and_any_layer_can_be_looked_into(name):
    model = skeleton(name)
    nested = [layer for layer in model.layers if isinstance(layer, keras.Model)]
    assert all(isinstance(layer, keras.Sequential) for layer in nested)
    assert len(nested) == (4 if name.startswith("convnext") else 0)  # its stem and downsampling
    names = [layer.name for layer in model.layers]
    assert len(names) == len(set(names))
    outputs = [layer.output for layer in model.layers]
    keras.Function(model.inputs, outputs)  # raises if not of one graph


@pytest.mark.no_backend
@pytest.mark.parametrize("name", [n for n in NAMES if not n.startswith("efficientnet")])
def test_nothing_but_the_zoo_normalizes_pixels(name):
    kinds = (keras.layers.Rescaling, keras.layers.Normalization)

    def normalizing(**arguments):
        layers = skeleton(name, **arguments).layers
        return [layer.name for layer in layers if isinstance(layer, kinds)]

    assert normalizing() == ["pixel_normalization"]
    assert normalizing(include_preprocessing=False) == []


@large
@pytest.mark.parametrize("include_preprocessing", [True, False])
def test_the_stem_of_efficientnet_sees_normalized_pixels(include_preprocessing):
    model = ksn.zoo.build("efficientnet_b0", include_preprocessing=include_preprocessing)
    before = keras.Model(model.inputs, model.get_layer("stem_conv_pad").input)
    x = pixels() if include_preprocessing else normalized(pixels())
    np.testing.assert_allclose(outputs(before, x), normalized(pixels()), atol=1e-5)


# Values


@large
@pytest.mark.parametrize(
    ("name", "application", "arguments"),
    [
        ("mobilenet_v2", "MobileNetV2", {}),
        ("mobilenet_v3_small", "MobileNetV3Small", {"include_preprocessing": False}),
        ("efficientnet_b0", "EfficientNetB0", {}),
        ("convnext_tiny", "ConvNeXtTiny", {"include_preprocessing": False}),
    ],
)
def test_logits_are_those_of_keras_applications_with_its_own_head(name, application, arguments):
    theirs = getattr(keras.applications, application)(
        input_shape=(64, 64, 3), weights=None, classes=10, classifier_activation=None, **arguments
    )
    ours = ksn.zoo.build(name, input_shape=(64, 64, 3), classifier_activation=None)
    rng = np.random.default_rng(2)
    for mine, its in zip(ours.trainable_weights, theirs.trainable_weights, strict=True):
        value = keras.ops.convert_to_numpy(its)
        its.assign(value + 0.05 * rng.standard_normal(value.shape))  # no zeros, no scales of 1e-6
        mine.assign(keras.ops.reshape(its, mine.shape))  # dense layers against 1x1 convolutions
    x = normalized(pixels((2, 64, 64, 3)))
    expected = outputs(theirs, x * 255 if name.startswith("efficientnet") else x)
    y = outputs(ours, pixels((2, 64, 64, 3)))
    assert np.abs(expected).max() > 1e-2
    np.testing.assert_allclose(y, expected, atol=1e-4 * np.abs(expected).max())


@large
@pytest.mark.parametrize("name", ["regnet_y_400mf", "resnet18", "shufflenet_v2_x0_5"])
def test_raw_pixels_give_finite_probabilities(name):
    y = outputs(ksn.zoo.build(name), pixels())
    assert y.shape == (2, 10)
    assert np.isfinite(y).all()
    np.testing.assert_allclose(y.sum(axis=1), 1, atol=1e-5)


def test_a_shuffle_unit_passes_half_of_the_channels_and_interleaves_the_halves():
    passed, x = keras.Input((4, 4, 3)), keras.Input((4, 4, 3))
    unit = keras.Model([passed, x], baselines._shuffle_unit(passed, x, 6))
    a, b = (v.astype("float32") for v in np.random.default_rng(3).normal(size=(2, 1, 4, 4, 3)))
    y = keras.ops.convert_to_numpy(unit([a, b]))
    np.testing.assert_array_equal(y[..., 0::2], a)
    assert np.abs(y[..., 1::2]).max() > 0
    twice = keras.ops.convert_to_numpy(unit([a, 2 * b]))
    assert np.abs(twice - y)[..., 1::2].max() > 1e-3


def test_squeeze_and_excitation_gates_channels_by_the_mean_of_the_image():
    x = keras.Input((4, 4, 3))
    model = keras.Model(x, baselines._squeeze_excite(x, 2))
    rng = np.random.default_rng(4)
    values = [rng.normal(size=w.shape) for w in model.weights]
    model.set_weights(values)
    a = rng.normal(size=(2, 4, 4, 3)).astype("float32")
    w1, b1, w2, b2 = (v.squeeze() for v in values)
    gate = 1 / (1 + np.exp(-(np.maximum(a.mean(axis=(1, 2)) @ w1 + b1, 0) @ w2 + b2)))
    np.testing.assert_allclose(outputs(model, a), a * gate[:, None, None], atol=1e-5)


@pytest.mark.parametrize(
    ("name", "sizes"),
    [
        ("regnet_y_400mf", {"widths": (64,), "depths": (2,), "group_width": 8}),
        ("shufflenet_v2_x0_5", {"widths": (4, 8, 16), "depths": (2,)}),
    ],
)
def test_one_step_of_training_moves_every_weight(name, sizes):
    keras.utils.set_random_seed(0)  # a layer of few units may start with none above 0
    model = ksn.zoo.build(name, num_classes=3, **sizes)
    model.compile(keras.optimizers.SGD(0.1), "sparse_categorical_crossentropy")
    before = [keras.ops.convert_to_numpy(w).copy() for w in model.trainable_weights]
    loss = model.train_on_batch(pixels((6, 32, 32, 3)), np.arange(6) % 3)
    assert np.isfinite(loss)
    for weight, value in zip(model.trainable_weights, before, strict=True):
        after = keras.ops.convert_to_numpy(weight)
        assert np.isfinite(after).all()
        assert np.abs(after - value).max() > 0, weight.path


# Saving

LOAD = """
import importlib.machinery
import sys

class NotInstalled:
    def find_spec(self, name, path=None, target=None):
        if name in sys.argv[2].split(","):
            return importlib.machinery.ModuleSpec(name, self)

    def create_module(self, spec):
        raise ModuleNotFoundError(f"No module named {spec.name!r}")

    def exec_module(self, module):
        pass

sys.meta_path.insert(0, NotInstalled())
import keras_structnets
import keras
import numpy as np
folder = sys.argv[1]
for name in sys.argv[3:]:
    model = keras.saving.load_model(f"{folder}/{name}.keras")
    y = model(keras.ops.convert_to_tensor(np.load(f"{folder}/x.npy")))
    np.save(f"{folder}/{name}.npy", keras.ops.convert_to_numpy(y))
"""
SAVED = {"shufflenet_v2_x0_5": {"widths": (4, 8, 16), "depths": (2,)}}  # sizes by name
if keras.backend.backend() != "jax":
    SAVED |= {"resnet18": {}}
if keras.backend.backend() == "tensorflow":
    SAVED |= {"convnext_tiny": {}, "efficientnet_b0": {}, "mobilenet_v3_small": {}}


def test_saved_models_predict_the_same_in_a_process_without_keras_cv(tmp_path):
    np.save(tmp_path / "x.npy", pixels())
    expected = {}
    for name, sizes in SAVED.items():
        model = ksn.zoo.build(name, classifier_activation=None, **sizes)
        expected[name] = outputs(model, pixels())
        model.save(tmp_path / f"{name}.keras")
    absent = {"keras_cv", "tensorflow"} - {keras.backend.backend()}
    command = [sys.executable, "-c", LOAD, str(tmp_path), ",".join(sorted(absent)), *SAVED]
    environment = os.environ | {"KERAS_BACKEND": keras.backend.backend()}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for name in SAVED:
        np.testing.assert_allclose(np.load(tmp_path / f"{name}.npy"), expected[name], atol=1e-5)


def test_two_models_of_one_name_live_in_one_process_and_exchange_weights(tmp_path):
    sizes = {"widths": (4, 8, 16), "depths": (2,)}
    first = ksn.zoo.build("shufflenet_v2_x0_5", **sizes)
    other = ksn.zoo.build("shufflenet_v2_x0_5", **sizes)
    assert np.abs(outputs(first, pixels()) - outputs(other, pixels())).max() > 1e-3
    first.save_weights(tmp_path / "model.weights.h5")
    third = ksn.zoo.build("shufflenet_v2_x0_5", weights=tmp_path / "model.weights.h5", **sizes)
    np.testing.assert_array_equal(outputs(first, pixels()), outputs(third, pixels()))


# Errors


@pytest.mark.no_backend
@pytest.mark.parametrize("name", ["resnet18", "resnet34"])
def test_without_keras_cv_the_error_says_what_to_install(name, monkeypatch):
    monkeypatch.setitem(sys.modules, "keras_cv", None)
    with pytest.raises(ImportError, match=r'TensorFlow.*pip install "keras_structnets\[cv\]"'):
        ksn.zoo.build(name)


def test_without_tensorflow_the_error_of_keras_cv_says_what_to_install():
    if keras.backend.backend() == "tensorflow":
        pytest.skip("needs a backend that runs without TensorFlow")
    blocked = LOAD.split("import keras_structnets")[0] + (
        "import keras_structnets as ksn\n"
        "try:\n"
        "    ksn.zoo.build('resnet18')\n"
        "except ImportError as error:\n"
        "    print(error)\n"
    )
    command = [sys.executable, "-c", blocked, "-", "tensorflow"]
    environment = os.environ | {"KERAS_BACKEND": keras.backend.backend()}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert 'pip install "keras_structnets[cv]"' in done.stdout, done.stderr


@pytest.mark.no_backend
@pytest.mark.parametrize("name", ["mobilenet_v3_small", "convnext_tiny", "convnext_small"])
def test_images_that_are_too_small_are_refused(name):
    with pytest.raises(ValueError, match=r"`input_shape` \(32, 31, 3\) is too small.*32x32"):
        ksn.zoo.build(name, input_shape=(32, 31, 3))


@pytest.mark.no_backend
@pytest.mark.parametrize(
    ("name", "sizes", "message"),
    [
        ("regnet_y_400mf", {"depths": (1, 2)}, "`depths`.*4 integers"),
        ("regnet_y_400mf", {"group_width": 7}, r"`group_width`=7.*\(48, 104, 208, 440\)"),
        ("regnet_y_400mf", {"group_width": 0}, "`group_width`.*at least 1"),
        ("regnet_y_400mf", {"widths": 48}, "`widths`"),
        ("shufflenet_v2_x0_5", {"widths": (24, 48)}, "`widths`.*5 integers"),
        ("shufflenet_v2_x0_5", {"widths": (24, 47, 96, 192, 1024)}, "`widths`.*even"),
        ("shufflenet_v2_x0_5", {"depths": (4, 0, 4)}, "`depths`"),
        ("resnet18", {"depths": (2, 2)}, "`depths`.*4 integers"),
    ],
)
def test_wrong_sizes_are_named(name, sizes, message):
    with pytest.raises(ValueError, match=message):
        ksn.zoo.build(name, **sizes)
