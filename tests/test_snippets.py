"""What a reader copies from the READMEs into an empty file runs."""

import re
import runpy

import keras
import numpy as np
import pytest

from tests.readme import README, RECORDS

pytestmark = pytest.mark.no_backend
SNIPPETS = [
    pytest.param(code, id=f"{'zoo' if path == RECORDS else 'README'}-{i}")
    for path in (README, RECORDS)
    for i, code in enumerate(
        re.findall("```python\n(.*?)```", path.read_text(encoding="utf-8"), re.DOTALL)
    )
]


@pytest.fixture
def few_images(monkeypatch):
    """CIFAR-10 without its download: forty images."""
    rng = np.random.default_rng(0)
    part = rng.integers(0, 256, (40, 32, 32, 3), "uint8"), np.arange(40)[:, None] % 10
    monkeypatch.setattr(keras.datasets.cifar10, "load_data", lambda: (part, part))


@pytest.mark.parametrize("code", SNIPPETS)
def test_a_snippet_runs_by_itself(code, tmp_path, monkeypatch, few_images):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "snippet.py").write_text(code, encoding="utf-8")
    names = runpy.run_path("snippet.py")
    assert isinstance(names["model"], keras.Model)


def test_there_are_snippets():
    assert len(SNIPPETS) >= 3
