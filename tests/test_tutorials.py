"""The tutorials run from top to bottom, and what they claim at their end holds."""

import pathlib
import runpy

import pytest

TUTORIALS = sorted((pathlib.Path(__file__).parents[1] / "tutorials").glob("*.py"))


@pytest.mark.parametrize("path", TUTORIALS, ids=lambda path: path.stem)
def test_a_tutorial_runs_and_its_claims_hold(path, monkeypatch, capsys):
    pyplot = pytest.importorskip("matplotlib.pyplot", reason="tutorials need the extra `train`")
    pyplot.switch_backend("agg")
    shown = []
    monkeypatch.setattr(pyplot, "show", lambda: shown.append(pyplot.get_fignums()))
    try:
        runpy.run_path(str(path))
    finally:
        pyplot.close("all")
    assert all(shown), "a figure was shown that is not there"
    assert "all claims hold" in capsys.readouterr().out
