"""The tutorials run from top to bottom, what they claim holds, and their notebooks are current."""

import runpy

import pytest

from tests import notebooks
from tests.unit.tiny_model import own_registry

TUTORIALS = sorted(notebooks.TUTORIALS.glob("*.py"))


@pytest.mark.parametrize("path", TUTORIALS, ids=lambda path: path.stem)
def test_a_tutorial_runs_and_its_claims_hold(path, monkeypatch, capsys):
    pyplot = pytest.importorskip("matplotlib.pyplot", reason="tutorials need the extra `train`")
    pyplot.switch_backend("agg")
    shown = []
    monkeypatch.setattr(pyplot, "show", lambda: shown.append(pyplot.get_fignums()))
    try:
        with own_registry():  # some register a name
            runpy.run_path(str(path))
    finally:
        pyplot.close("all")
    assert all(shown), "a figure was shown that is not there"
    assert "all claims hold" in capsys.readouterr().out


@pytest.mark.no_backend
@pytest.mark.parametrize("path", TUTORIALS, ids=lambda path: path.stem)
def test_the_notebook_of_a_tutorial_is_current(path):
    pytest.importorskip("jupytext", reason="notebooks need the extra `tools`")
    written = path.with_suffix(".ipynb")
    assert written.is_file(), "write it with: python -m tests.notebooks"
    current = written.read_text(encoding="utf-8") == notebooks.notebook(path)
    assert current, "write it anew with: python -m tests.notebooks"
