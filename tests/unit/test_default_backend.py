"""Which backend is taken where nobody chose one."""

import json
import sys

import pytest

from keras_structnets import default_backend


@pytest.fixture
def nobody_chose(monkeypatch, tmp_path):
    monkeypatch.delitem(sys.modules, "keras", raising=False)
    monkeypatch.setenv("KERAS_BACKEND", "any")  # so that it is put back afterwards
    monkeypatch.delenv("KERAS_BACKEND")
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize(
    ("installed", "taken"),
    [
        (("tensorflow", "jax", "torch"), None),
        (("jax", "torch"), "jax"),
        (("torch",), "torch"),
        ((), None),
    ],
)
def test_an_installed_backend_is_taken(installed, taken, nobody_chose, monkeypatch):
    monkeypatch.setattr(default_backend, "_is_installed", lambda name: name in installed)
    default_backend.choose()
    assert default_backend.os.environ.get("KERAS_BACKEND") == taken


def test_the_configuration_file_of_keras_has_the_say(nobody_chose, monkeypatch):
    (nobody_chose / "keras.json").write_text(json.dumps({"backend": "torch"}))
    monkeypatch.setattr(default_backend, "_is_installed", lambda name: name in ("jax", "torch"))
    default_backend.choose()
    assert "KERAS_BACKEND" not in default_backend.os.environ


def test_a_choice_is_kept(nobody_chose, monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", "tensorflow")
    monkeypatch.setattr(default_backend, "_is_installed", lambda name: name == "jax")
    default_backend.choose()
    assert default_backend.os.environ["KERAS_BACKEND"] == "tensorflow"
