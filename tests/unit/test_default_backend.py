"""Which backend is taken where nobody chose one."""

import json
import sys

import pytest

import keras_structnets as ksn
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


@pytest.mark.no_backend
@pytest.mark.parametrize(
    ("argv", "orig_argv", "expected"),
    [
        (["/usr/bin/structnets", "list"], ["python", "/usr/bin/structnets", "list"], True),
        (["-m", "list"], ["python", "-m", "keras_structnets", "list"], True),
        (["structnets.py"], ["python", "structnets.py"], False),
        (["-m"], ["python", "-m", "pytest"], False),
        ([""], ["python"], False),
    ],
)
def test_the_command_line_is_told_from_other_programs(argv, orig_argv, expected, monkeypatch):
    monkeypatch.setattr(sys, "argv", argv)
    monkeypatch.setattr(sys, "orig_argv", orig_argv)
    assert default_backend.is_command_line() is expected


@pytest.mark.no_backend
def test_the_package_shows_its_public_names_alone():
    assert dir(ksn) == sorted([*ksn.__all__, "__version__"])
    assert {"pretraining", "training"} <= set(dir(ksn))
    with pytest.raises(AttributeError, match="no attribute 'trainig'"):
        ksn.trainig  # noqa: B018
