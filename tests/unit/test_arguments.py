"""Layers take arguments, and keep them, as the nearest layers of Keras do."""

import inspect

import keras
import numpy as np
import pytest

import keras_structnets as ksn
from tests.cases import LAYERS, catalogue

FIRST = {case.layer: case for case in reversed(catalogue())}
NEAREST = {  # what users of Keras know
    "Similarity": "Dense",
    "LinearSimilarity": "Dense",
    "MEX": "Dense",
    "BatchNormalization": "BatchNormalization",
    **{f"{kind}Similarity{r}D": f"Conv{r}D" for kind in ("", "Linear") for r in (1, 2, 3)},
    **{f"LinearMixConv{r}D": f"Conv{r}D" for r in (1, 2, 3)},
    **{f"MEXPooling{r}D": f"MaxPooling{r}D" for r in (1, 2, 3)},
    **{f"GlobalMEXPooling{r}D": f"GlobalAveragePooling{r}D" for r in (1, 2, 3)},
}
NOT_OURS = {"data_format", "name", "groups", "activation"}
STENCILS = [
    name for name in LAYERS if name.startswith(("Stencil", "Explicit", "Implicit", "Circulant"))
]


def made(name, /, **options):
    return getattr(ksn.layers, name)(**FIRST[name].config, **options)


def inputs(name):
    return FIRST[name].values("x", FIRST[name].input_shape)


def by_position(layer):
    parameters = inspect.signature(layer).parameters.values()
    return [p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]


@pytest.mark.no_backend
@pytest.mark.parametrize("name", NEAREST)
def test_arguments_by_position_stand_where_keras_has_them(name):
    ours = by_position(getattr(ksn.layers, name))
    theirs = [a for a in by_position(getattr(keras.layers, NEAREST[name])) if a not in NOT_OURS]
    assert ours == theirs[: len(ours)]


@pytest.mark.no_backend
@pytest.mark.parametrize("rank", [1, 2, 3])
def test_arguments_of_a_generalized_convolution_are_those_of_keras_with_a_structure(rank):
    ours = getattr(ksn.layers, f"GConv{rank}D")
    names = by_position(ours)
    assert names == ["filters", "structure", "kernel_size", "strides", "padding", "dilation_rate"]
    options = [name for name in inspect.signature(ours).parameters if name not in names]
    theirs = inspect.signature(getattr(keras.layers, f"Conv{rank}D")).parameters
    shared = [name for name in options if name in theirs]
    assert shared == [name for name in theirs if name in shared]


@pytest.mark.no_backend
@pytest.mark.parametrize("name", STENCILS)
def test_a_stencil_takes_one_argument_by_position(name):
    layer = getattr(ksn.layers, name)
    assert by_position(layer) == ["kernel_size"]
    with pytest.raises(TypeError, match="positional argument"):
        layer(64, 3)


@pytest.mark.no_backend
@pytest.mark.parametrize("name", LAYERS)
def test_attributes_carry_the_names_of_arguments_before_build(name):
    layer, case = made(name), FIRST[name]
    for argument in set(inspect.signature(type(layer)).parameters) - {"args", "kwargs"}:
        if argument not in ("name", "dtype") and not hasattr(keras.layers, name):
            assert hasattr(layer, argument), argument
    for argument, value in case.config.items():
        kept = getattr(layer, argument)
        assert kept == value or set(kept) == {value} or argument == "activation"


@pytest.mark.parametrize("name", LAYERS)
def test_name_dtype_and_activity_regularizer_work(name):
    options = {"name": "mine", "dtype": "mixed_float16", "activity_regularizer": "l2"}
    layer = made(name, **options)
    y = layer(inputs(name))
    assert layer.name == "mine"
    assert keras.backend.standardize_dtype(y.dtype) == "float16"
    assert len(layer.losses) == 1
    assert float(keras.ops.convert_to_numpy(layer.losses[0])) > 0
    again = type(layer).from_config(layer.get_config())
    assert again.name == "mine"
    assert again.dtype_policy.name == "mixed_float16"
    assert isinstance(again.activity_regularizer, keras.regularizers.L2)


@pytest.mark.parametrize("name", [name for name in LAYERS if name != "BatchNormalization"])
def test_none_for_an_initializer_regularizer_or_constraint_is_the_default_of_keras(name):
    arguments = inspect.signature(getattr(ksn.layers, name)).parameters
    kinds = ("_initializer", "_regularizer", "_constraint")
    nothing = dict.fromkeys(argument for argument in arguments if argument.endswith(kinds))
    layer = made(name, **nothing)
    assert np.isfinite(keras.ops.convert_to_numpy(layer(inputs(name)))).all()
    again = type(layer).from_config(layer.get_config())
    assert again.get_config() == layer.get_config()


@pytest.mark.parametrize("dtype", ["uint8", "int32", "bool"])
@pytest.mark.parametrize(
    "name", [n for n in LAYERS if n not in ("Structure", "Destructure", "BatchNormalization")]
)
def test_integers_give_what_the_same_numbers_give_as_floats(name, dtype):
    layer = made(name)
    x = (np.abs(inputs(name)) * 3).astype(dtype)
    expected = keras.ops.convert_to_numpy(layer(x.astype("float32")))
    y = layer(x)
    assert keras.backend.standardize_dtype(y.dtype) == "float32"
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(y), expected)
    assert layer.compute_output_spec(keras.KerasTensor(x.shape, dtype)).dtype == "float32"


@pytest.mark.parametrize("name", [name for name in STENCILS if name.endswith("2D")])
def test_a_number_of_filters_in_the_place_of_the_kernel_size_is_refused(name):
    with pytest.raises(ValueError, match="no `filters`"):
        getattr(ksn.layers, name)(64)(keras.Input((32, 32, 3)))


def test_order_and_beta_exist_before_build_and_are_weights_after_it():
    similarity, mex = ksn.layers.Similarity(2, p=1.5, trainable_p=True), ksn.layers.MEX(2, beta=0.5)
    assert (similarity.p, mex.beta) == (1.5, 0.5)
    mex(similarity(np.ones((1, 3), "float32")))
    assert similarity.p is similarity.trainable_weights[-1]
    assert mex.beta is mex.trainable_weights[-1]
    assert (similarity.get_config()["p"], mex.get_config()["beta"]) == (1.5, 0.5)


def test_similarities_of_dilated_patches_compare_every_other_pixel():
    dilated = ksn.layers.Similarity2D(3, 2, dilation_rate=2)
    x = np.random.default_rng(0).normal(size=(1, 4, 4, 2)).astype("float32")
    y = keras.ops.convert_to_numpy(dilated(x))
    assert y.shape == dilated.compute_output_shape(x.shape) == (1, 2, 2, 3)
    plain = ksn.layers.Similarity2D(3, 2)
    plain.build((1, 2, 2, 2))
    plain.set_weights(dilated.get_weights())
    expected = keras.ops.convert_to_numpy(plain(x[:, 1::2, 0::2]))
    np.testing.assert_allclose(y[:, 1:, :1], expected, rtol=1e-6)
    same = ksn.layers.Similarity2D(3, 3, padding="same", dilation_rate=2)(x)
    assert tuple(same.shape) == (1, 4, 4, 3)


def test_keepdims_keeps_the_spatial_axes():
    layer = ksn.layers.GlobalMEXPooling2D(keepdims=True)
    y = layer(np.ones((2, 3, 4, 5), "float32"))
    assert tuple(y.shape) == layer.compute_output_shape((2, 3, 4, 5)) == (2, 1, 1, 5)


def test_copies_of_a_layer_draw_sparse_weights_of_their_own():
    inputs_ = keras.Input((9,))
    model = keras.Model(inputs_, ksn.layers.Similarity(20)(inputs_))
    copies = [keras.models.clone_model(model).layers[1] for _ in range(2)]
    first, second = (keras.ops.convert_to_numpy(layer.similarity_weights) for layer in copies)
    assert not np.array_equal(first, second)
    assert ksn.initializers.SparseWeights(seed=5).get_config()["seed"] == 5
    assert ksn.initializers.SparseWeights().get_config()["seed"] is None
