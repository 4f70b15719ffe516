"""Every public object has an example, and what the examples show is what comes out."""

import doctest

import keras
import numpy as np
import pytest

import keras_structnets as ksn
from tests.public import MODULES, PUBLIC
from tests.unit.tiny_model import own_registry


def examples():
    """The examples of packages, public objects and their methods; each text once.

    Layers of one, two and three dimensions share their docstring.
    """
    found = {}
    for name, thing in {**MODULES, **PUBLIC}.items():
        finder = doctest.DocTestFinder(recurse=name in PUBLIC)
        for test in finder.find(thing, name, globs={"keras": keras, "ksn": ksn, "np": np}):
            found.setdefault(test.docstring, test)
    return found.values()


@pytest.mark.no_backend
@pytest.mark.parametrize("name", PUBLIC)
def test_a_public_object_has_an_example(name):
    assert doctest.DocTestParser().get_examples(PUBLIC[name].__doc__ or "")


@pytest.mark.parametrize("example", examples(), ids=lambda example: example.name)
def test_an_example_shows_what_comes_out(example, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # some write files
    said = []
    with own_registry():  # some register a name
        doctest.DocTestRunner().run(example, out=said.append)
    assert not said, "".join(said)
