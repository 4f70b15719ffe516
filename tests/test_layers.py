"""What holds for every layer of the catalogue."""

import inspect

import keras
import pytest

import keras_structnets as ksn
from tests.cases import LAYERS, catalogue

FIRST = {case.layer: case for case in reversed(catalogue())}


@pytest.mark.parametrize("case", FIRST.values(), ids=str)
def test_a_configuration_makes_the_same_layer(case):
    layer = getattr(ksn.layers, case.layer)(**case.config)
    config = layer.get_config()
    again = type(layer).from_config(config)
    assert again.get_config() == config
    for key, value in case.config.items():
        given = tuple(value) if isinstance(value, (tuple, list)) else value
        kept = tuple(config[key]) if isinstance(config[key], (tuple, list)) else config[key]
        if isinstance(given, int) and isinstance(kept, tuple):
            given = (given,) * len(kept)
        assert kept == given, key


@pytest.mark.parametrize("name", LAYERS)
def test_every_argument_of_a_layer_is_in_its_configuration(name):
    layer = getattr(ksn.layers, name)
    arguments = set(inspect.signature(layer).parameters) - {"args", "kwargs"}
    case = FIRST[name]
    assert arguments <= set(layer(**case.config).get_config())


PARTS = [
    (module, name)
    for module in (ksn.layers, ksn.constraints, ksn.initializers)
    for name in module.__all__
]


@pytest.mark.parametrize(("module", "name"), PARTS)
def test_what_models_are_made_of_is_registered_under_the_package_and_documented(module, name):
    layer = getattr(module, name)
    assert keras.saving.get_registered_name(layer) == f"keras_structnets>{name}"
    assert len(layer.__doc__) > 100
