"""The tutorials run, their claims hold, and their notebooks are current."""

import json
import re
import runpy

import keras
import pytest

from keras_structnets import blocks, layers
from tests import notebooks
from tests.unit.tiny_model import own_registry

EACH = pytest.mark.parametrize("source", notebooks.SOURCES, ids=lambda path: path.stem)


@pytest.mark.no_backend
@pytest.mark.filterwarnings("ignore:FastICA did not converge")
@EACH
def test_a_tutorial_runs_and_its_claims_hold(source, capsys, monkeypatch):
    pyplot = pytest.importorskip("matplotlib.pyplot", reason="tutorials need the extra `train`")
    pyplot.switch_backend("agg")
    figures = []
    monkeypatch.setattr(pyplot, "show", lambda: figures.extend(pyplot.get_fignums()))
    with own_registry():  # some register a name
        runpy.run_path(str(source))
    pyplot.close("all")
    assert figures
    assert "all claims hold" in capsys.readouterr().out.splitlines()[-1]


@pytest.mark.no_backend
@EACH
def test_a_tutorial_imports_the_library_before_keras(source):
    imported = re.findall(r"^(?:import|from) (keras\w*)", source.read_text("utf-8"), re.MULTILINE)
    assert imported[0] == "keras_structnets"  # so that it runs with any one backend


@pytest.mark.no_backend
@EACH
def test_the_notebook_of_a_tutorial_is_current(source):
    pytest.importorskip("nbformat", reason="notebooks need the extra `tools`")
    assert notebooks.is_current(source), "write it with: make notebooks"


@pytest.mark.no_backend
def test_every_layer_has_a_current_picture():
    pictures = pytest.importorskip("tests.pictures", reason="pictures need the extra `train`")
    index = json.loads(pictures.INDEX.read_text("utf-8"))
    shown = {name for name in layers.__all__ if not name.endswith(("1D", "3D"))}
    assert set(index["layers"]) == shown
    assert index["source"] == pictures.checksum(), "draw them with: make notebooks"


@pytest.mark.no_backend
def test_diagrams_show_what_each_layer_takes():
    diagrams = pytest.importorskip("tests.diagrams", reason="pictures need the extra `train`")
    assert all((diagrams.PICTURES / f"{draw.__name__}.png").is_file() for draw in diagrams.DIAGRAMS)
    x = keras.Input((8, 8, 1, 3, 1))
    shown, edges = diagrams.boxes_of(
        keras.Model(x, blocks.gconv_skip_block(x, 2, structure=(2, 2)))
    )
    kinds = [type(layer).__name__ for layer in shown]
    assert (kinds.count("GConv2D"), kinds.count("Add")) == (4, 2)  # one is the projection
    into_sums = [shown[start] for start, end in edges if kinds[end] == "Add"]
    assert len(into_sums) == 4
