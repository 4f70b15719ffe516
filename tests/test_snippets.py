"""What a reader copies from a page into an empty file runs, and makes a model."""

import re
import runpy
from unittest import mock

import keras
import numpy as np
import pytest

from keras_structnets.training.augment import OPERATIONS
from keras_structnets.training.datasets import DATASETS
from tests.readme import README, RECORDS, ROOT
from tests.unit.tiny_model import own_registry

pytestmark = [
    pytest.mark.no_backend,
    pytest.mark.filterwarnings("ignore:FastICA did not converge"),  # few images
]
PAGES = [README, RECORDS, *sorted((ROOT / "docs").rglob("*.md"))]
SNIPPETS = [
    pytest.param(code, id=f"{path.relative_to(ROOT).with_suffix('')}-{i}")
    for path in PAGES
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


@pytest.fixture
def one_epoch(monkeypatch):
    """Training without waiting."""
    fit = keras.Model.fit
    monkeypatch.setattr(keras.Model, "fit", lambda *args, **kw: fit(*args, **kw | {"epochs": 1}))


@pytest.mark.parametrize("code", SNIPPETS)
@pytest.mark.usefixtures("few_images", "one_epoch")
def test_a_snippet_runs_by_itself(code, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "snippet.py").write_text(code, encoding="utf-8")
    with own_registry(), mock.patch.dict(DATASETS), mock.patch.dict(OPERATIONS):  # some register
        before = {*DATASETS, *OPERATIONS}
        names = runpy.run_path("snippet.py")
        registered = {*DATASETS, *OPERATIONS} - before
    assert registered or isinstance(names["model"], keras.Model)
