"""The command line, in process where possible."""

import os
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from keras_structnets import training
from keras_structnets.__main__ import _COMMANDS, main

pytestmark = pytest.mark.usefixtures("tiny_models")


@pytest.fixture(scope="module")
def trained(tiny_models, tmp_path_factory):
    """The folder of a run that the command line made."""
    out = tmp_path_factory.mktemp("runs") / "first"
    command = ["train", "tiny", "--dataset", "digits", "--epochs", "2", "--learning-rate", "0.01"]
    assert main([*command, "--set", "sizes.filters=4", "--out", str(out)]) == 0
    return out


def error_of(capsys, *argv):
    """The one line that the command prints to stderr as it fails."""
    assert main([str(argument) for argument in argv]) == 2
    lines = capsys.readouterr().err.splitlines()
    lines = [line for line in lines if not line.startswith("structnets: warning")]
    assert len(lines) == 1
    assert lines[0].startswith("structnets: ")
    return lines[0]


def test_list_prints_a_row_for_each_match(capsys):
    assert main(["list", "tiny*"]) == 0
    table = capsys.readouterr().out
    for text in (
        "name",
        "paper",
        "parameters",
        "printed",
        "summary",
        "2,970",
        "3.0K",
        "convolution",
    ):
        assert text in table
    assert "bookish" not in table


def test_list_says_what_a_model_needs(capsys):
    assert main(["list", "bookish"]) == 0
    assert "needs keras_structnets[books]" in capsys.readouterr().out


def test_show_prints_card_and_layers(capsys):
    assert main(["show", "tiny"]) == 0
    text = capsys.readouterr().out
    assert "parameters at 10 classes: 2,970 (printed 3.0K)" in text
    assert "parameters at 100 classes: 28,980" in text
    assert "filters=8" in text
    assert "Conv2D" in text


def test_train_overrides_a_recipe_by_the_command_line(trained, tmp_path, capsys):
    recipe, out = trained / "recipe.toml", tmp_path / "again"
    assert "filters = 4" in recipe.read_text()
    assert main(["train", str(recipe), "--set", "epochs=1", "--out", str(out)]) == 0
    text = (out / "recipe.toml").read_text()
    assert "filters = 4" in text
    assert "epochs = 1" in text
    assert "learning_rate = 0.01" in text
    printed = capsys.readouterr().out
    for words in ("val_accuracy", "validation accuracy", "predictions are unchanged"):
        assert words in printed


@pytest.mark.no_backend
def test_adamw_needs_no_other_option(tmp_path):
    command = ["train", "tiny", "--optimizer", "adamw", "--augmentation", "crop", "flip"]
    assert main([*command, "--epochs", "1", "--out", str(tmp_path / "run")]) == 0
    assert training.Recipe.read(tmp_path / "run" / "recipe.toml").augmentation == ("crop", "flip")


SMALL = ("simnet_3layer_compact", "--dataset", "digits")


@pytest.mark.no_backend  # pre-training itself is tested on each
def test_pretrain_writes_a_model_and_its_report(tmp_path, capsys):
    out = tmp_path / "started"
    assert main(["pretrain", *SMALL, "--out", str(out)]) == 0
    assert "log-likelihood" in capsys.readouterr().out
    assert {path.name for path in out.iterdir()} == {
        "started.keras",
        "pretraining.txt",
        "pretraining.png",
    }
    assert "holds an earlier run" in error_of(capsys, "pretrain", *SMALL, "--out", out)
    assert main(["pretrain", *SMALL, "--only-whitening", "--out", str(out), "--overwrite"]) == 0
    assert (out / "pretraining.txt").read_text().count("no mixture") == 3


@pytest.mark.no_backend
def test_train_starts_from_the_images_where_asked(tmp_path, capsys):
    command = ["train", *SMALL, "--pretrain", "--epochs", "1", "--out", str(tmp_path / "run")]
    assert main(command) == 0
    assert "no mixture" in capsys.readouterr().out
    assert 'pretrain = "whitening"' in (tmp_path / "run" / "recipe.toml").read_text()
    wrong = ("train", *SMALL, "--pretrain", "mixtures", "--out", tmp_path / "other")
    assert "Did you mean 'mixture'" in error_of(capsys, *wrong)


def test_evaluate_prints_the_accuracy_of_the_run(trained, capsys):
    assert main(["evaluate", str(trained)]) == 0
    assert "% on 359 images of digits" in capsys.readouterr().out


def test_predict_prints_a_line_for_each_image_and_names_what_is_none(trained, tmp_path, capsys):
    for i in range(2):
        Image.fromarray(np.full((8, 8), 99 * i, "uint8")).save(tmp_path / f"{i}.png")
    (tmp_path / "broken.png").write_text("no picture")
    images = [str(tmp_path / name) for name in ("0.png", "broken.png", "1.png")]
    assert main(["predict", str(trained), *images]) == 0
    printed = capsys.readouterr()
    rows = [line.split("\t") for line in printed.out.splitlines()]
    assert [row[0] for row in rows] == [images[0], images[2]]
    assert all(row[1] in "0123456789" and 0 <= float(row[2]) <= 1 for row in rows)
    assert printed.err.startswith("structnets: warning: left out 1 of 3 files")
    assert "broken.png" in printed.err


def test_errors_are_one_line_with_a_remedy(trained, tmp_path, capsys):
    assert "Did you mean 'tiny'" in error_of(capsys, "show", "tinny")
    assert "Use wildcards" in error_of(capsys, "list", "nothing*")
    assert "give the NAME" in error_of(capsys, "train")
    assert "Did you mean 'tiny'" in error_of(capsys, "train", "tinny", "--out", tmp_path / "a")
    assert "`epochs`" in error_of(capsys, "train", "tiny", "--epochs", "0")
    assert "Did you mean 'epochs'" in error_of(capsys, "train", "tiny", "--set", "epoch=1")
    assert "Leave out" in error_of(capsys, "train", "tiny", "--resume", trained)
    assert "no run to resume" in error_of(capsys, "train", "--resume", tmp_path / "none")
    assert "Did you mean 'cosine'" in error_of(capsys, "train", "tiny", "--schedule", "cosin")
    wrong_size = ("train", "tiny", "--set", "sizes.filter=3", "--out", tmp_path / "a")
    assert "Did you mean 'filters'" in error_of(capsys, *wrong_size)
    assert "is missing" in error_of(capsys, "train", "tiny", "--dataset", tmp_path / "none")
    assert "--overwrite" in error_of(capsys, "train", "tiny", "--out", trained)
    assert "pip install" in error_of(capsys, "train", "bookish", "--out", tmp_path / "a")
    assert "is missing" in error_of(capsys, "evaluate", tmp_path / "none")
    assert "none.png" in error_of(capsys, "predict", trained, tmp_path / "none.png")
    (tmp_path / "empty").mkdir()
    assert "Put the images" in error_of(capsys, "train", "tiny", "--dataset", tmp_path / "empty")
    assert not (tmp_path / "a").exists()


@pytest.mark.parametrize("command", _COMMANDS)
def test_help_says_what_a_command_does_with_an_example(command, capsys):
    with pytest.raises(SystemExit) as exit_:
        main([command, "--help"])
    assert exit_.value.code == 0
    text = capsys.readouterr().out
    assert f"example: structnets {command}" in text


@pytest.mark.parametrize(("argv", "message"), [(["trian"], "Did you mean 'train'"), ([], "usage")])
def test_an_unknown_or_missing_command_is_refused(argv, message, capsys):
    with pytest.raises(SystemExit) as exit_:
        main(argv)
    assert exit_.value.code == 2
    assert message in capsys.readouterr().err


@pytest.mark.no_backend
def test_the_package_runs_as_a_module():
    done = subprocess.run(
        [sys.executable, "-m", "keras_structnets", "--version"],
        capture_output=True,
        text=True,
        env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"},
        check=False,
    )
    assert done.returncode == 0
    assert done.stdout.startswith("keras_structnets 0.")
