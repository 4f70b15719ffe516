"""`analysis.stability` agrees with dense eigenvalues."""

import keras
import numpy as np
import pytest

import keras_structnets as ksn

LAYERS = {
    "explicit": (ksn.layers.ExplicitDiffusion2D, {}),
    "explicit_periodic": (ksn.layers.ExplicitDiffusion2D, {"padding": "periodic"}),
    "circulant": (ksn.layers.CirculantDiffusion2D, {}),
    "implicit": (ksn.layers.ImplicitDiffusion2D, {}),
}


def model_of(layer, scale, **options):
    model = keras.Sequential([keras.Input((6, 5, 2)), layer(3, step_size=0.4, **options)])
    kernel = np.random.default_rng(0).normal(scale=scale, size=model.weights[0].shape)
    model.set_weights([kernel])
    return model


def matrix_of(model):
    """The step as a dense matrix [60, 60]."""
    basis = np.eye(60, dtype="float32").reshape(60, 6, 5, 2)
    return model.predict(basis, verbose=0).reshape(60, 60).astype("float64")


@pytest.mark.parametrize("scale", [0.2, 1.0])
@pytest.mark.parametrize(("layer", "options"), LAYERS.values(), ids=LAYERS)
def test_radius_and_norm_are_those_of_the_dense_matrix(layer, options, scale):
    model = model_of(layer, scale, **options)
    (row,) = ksn.analysis.stability(model).layers
    step = matrix_of(model)
    eigenvalues = np.linalg.eigvalsh((step + step.T) / 2)
    if layer is ksn.layers.ImplicitDiffusion2D:
        radius = (1 / eigenvalues.min() - 1) / 0.4
    else:
        radius = (1 - eigenvalues.min()) / 0.4
    assert row.spectral_radius == pytest.approx(radius, rel=1e-3)
    assert row.step_norm == pytest.approx(np.linalg.norm(step, 2), rel=1e-4)
    assert row.product == pytest.approx(0.4 * radius, rel=1e-3)


def test_the_table_has_a_row_per_diffusion_layer():
    table = str(ksn.analysis.stability(model_of(ksn.layers.ExplicitDiffusion2D, 1.0)))
    assert table.count("\n") == 1
    assert "radius" in table


def test_models_without_a_fixed_size_or_a_diffusion_are_refused():
    with pytest.raises(ValueError, match="no diffusion layer"):
        ksn.analysis.stability(keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)]))
    layer = ksn.layers.ExplicitDiffusion2D(3)
    with pytest.raises(ValueError, match="fixed `input_shape`"):
        ksn.analysis.stability(keras.Sequential([keras.Input((None, None, 2)), layer]))
