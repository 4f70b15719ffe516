"""The notebooks run from top to bottom, what they claim holds, and they and their pages are current."""

import pytest

from tests import notebooks
from tests.unit.tiny_model import own_registry

EACH = pytest.mark.parametrize(
    "path", sorted(notebooks.TUTORIALS.glob("*.py")), ids=lambda path: path.stem
)


@EACH
def test_a_notebook_runs_and_its_claims_hold(path):
    pytest.importorskip("IPython", reason="notebooks need the extra `tools`")
    pytest.importorskip("matplotlib", reason="tutorials need the extra `train`")
    figures = []
    with own_registry():  # some register a name
        printed = list(notebooks.run(path.with_suffix(".ipynb"), figures.append))
    assert figures
    assert "all claims hold" in printed[-1]


@pytest.mark.no_backend
@EACH
def test_the_notebook_of_a_tutorial_is_current(path):
    pytest.importorskip("jupytext", reason="notebooks need the extra `tools`")
    written = path.with_suffix(".ipynb")
    assert written.is_file(), "write it with: python -m tests.notebooks"
    current = written.read_text(encoding="utf-8") == notebooks.notebook(path)
    assert current, "write it anew with: python -m tests.notebooks"


@pytest.mark.no_backend
@EACH
def test_the_outputs_on_the_page_of_a_tutorial_are_of_its_present_source(path):
    assert notebooks.has_outputs(path), "write them with: python -m tests.notebooks --outputs"
