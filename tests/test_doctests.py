"""Every public object has an example, and what the examples show is what comes out."""

import doctest
import importlib

import keras
import numpy as np
import pytest

import keras_structnets as ksn
from tests.unit.tiny_model import own_registry

PACKAGES = ("ops", "layers", "blocks", "zoo", "pretraining", "training")
MODULES = [importlib.import_module(f"keras_structnets.{package}") for package in PACKAGES]
PUBLIC = {
    f"{module.__name__}.{name}": getattr(module, name)
    for module in MODULES
    for name in module.__all__
}


def examples():
    """The examples of public objects, of their methods and of the packages; each text once.

    Layers of one, two and three dimensions share their docstring.
    """
    found = {}
    for name, thing in {**PUBLIC, **{module.__name__: module for module in MODULES}}.items():
        finder = doctest.DocTestFinder(recurse=name in PUBLIC)
        for test in finder.find(thing, name, globs={"keras": keras, "ksn": ksn, "np": np}):
            found.setdefault(test.docstring, test)
    return found.values()


@pytest.mark.parametrize("name", PUBLIC)
def test_a_public_object_has_an_example(name):
    assert doctest.DocTestParser().get_examples(PUBLIC[name].__doc__ or "")


@pytest.mark.parametrize("example", examples(), ids=lambda example: example.name)
def test_an_example_shows_what_comes_out(example, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # some write files
    keras.utils.clear_session(free_memory=False)  # so that names of layers begin anew
    said = []
    with own_registry():  # some register a name
        doctest.DocTestRunner().run(example, out=said.append)
    assert not said, "".join(said)
