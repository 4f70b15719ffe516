"""The command line, in process where possible."""

import csv
import dataclasses
import io
import json
import re
import subprocess
import sys
import warnings

import keras
import numpy as np
import pytest
from PIL import Image

import keras_structnets as ksn
from keras_structnets import commands, recipe_options, tables, training
from keras_structnets.__main__ import in_a_shell, main
from keras_structnets.arguments import COMMANDS

OTHER_BACKEND = "jax" if keras.backend.backend() != "jax" else "torch"

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
    header, row = capsys.readouterr().out.splitlines()
    assert header.split() == ["name", "parameters", "accuracy", "paper", "summary"]
    assert row.split() == ["tiny", "2,970", "none", "one", "convolution"]


def test_list_says_what_a_model_needs(capsys):
    assert main(["list", "bookish"]) == 0
    assert "needs keras_structnets[books]" in capsys.readouterr().out


def test_list_prints_json_and_csv(capsys):
    assert main(["list", "tiny", "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert (row["name"], row["parameters"], row["accuracy"]) == ("tiny", 2970, None)
    assert main(["list", "tiny", "--csv"]) == 0
    (again,) = csv.DictReader(io.StringIO(capsys.readouterr().out))
    assert again["parameters"] == "2970"


@pytest.mark.no_backend
def test_trained_weights_are_listed_by_accuracy(capsys):
    assert main(["list", "--pretrained", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    found = [row["accuracy"] for row in rows]
    assert found == sorted(found, reverse=True)
    assert {"name", "weights", "epochs", "parameters", "flops", "megabytes"} <= set(rows[0])
    assert main(["list", "--pretrained"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    assert [line.split()[0] for line in lines] == ["record", *(row["name"] for row in rows)]
    assert main(["list", "--pretrained", rows[0]["name"], "--csv"]) == 0
    (again,) = csv.DictReader(io.StringIO(capsys.readouterr().out))
    assert float(again["accuracy"]) == found[0]


def test_a_table_fits_the_terminal_and_is_whole_elsewhere():
    rows = [{"name": "short", "size": 12_345, "text": "a long sentence about it"}] * 2
    whole = tables.text_table(rows).splitlines()
    assert whole[0] == "name     size  text"
    assert whole[1] == "short  12,345  a long sentence about it"
    assert tables.text_table(rows, 30).splitlines()[1] == "short  12,345  a long sentenc…"
    assert tables.text_table(rows, 20).splitlines()[1] == "short  12,345"


def test_show_prints_card_and_layers(capsys):
    assert main(["show", "tiny"]) == 0
    text = capsys.readouterr().out
    assert "parameters at 10 classes: 2,970 (printed 3.0K)" in text
    assert "parameters at 100 classes: 28,980" in text
    assert "filters=8" in text
    assert ["convolution", "Conv2D", *["6", "x", "6", "x", "8", "80"]] in [
        line.split() for line in text.splitlines()
    ]


def test_show_prints_the_paper_s_operations_beside_ours(capsys):
    assert main(["show", "simnet_2layer"]) == 0
    printed = capsys.readouterr().out
    assert "accuracy as the paper prints it: 85.5% on cifar10, 54.6% on cifar100" in printed
    assert re.search(r"^operations for one image: .*\(printed 14\.2M\)$", printed, re.MULTILINE)


def test_train_overrides_a_recipe_by_the_command_line(trained, tmp_path, capsys):
    recipe, out = trained / "recipe.toml", tmp_path / "again"
    assert "filters = 4" in recipe.read_text()
    assert main(["train", str(recipe), "--set", "epochs=1", "--out", str(out)]) == 0
    text = (out / "recipe.toml").read_text()
    assert "filters = 4" in text
    assert "epochs = 1" in text
    assert "learning_rate = 0.01" in text
    printed = capsys.readouterr().out
    for words in ("val_accuracy", "validation accuracy", "predicts the same"):
        assert words in printed
    assert not {"\b", "\r", "\x1b"} & set(printed)


@pytest.mark.no_backend
def test_train_takes_the_recipe_of_a_record(tmp_path):
    out = tmp_path / "again"
    options = ["--dataset", "digits", "--epochs", "2", "--pretrain", "none", "--out", str(out)]
    assert main(["train", "simnet_3layer_compact_cifar10", *options]) == 0
    record = ksn.zoo.info("simnet_3layer_compact").records["cifar10"]
    recorded = training.Recipe.read(record.weights.with_name("recipe.toml"))
    changed = {"dataset": "digits", "epochs": 2, "pretrain": "none"}
    assert training.Recipe.read(out / "recipe.toml") == dataclasses.replace(recorded, **changed)


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
    header, *rows = [line.split() for line in printed.out.splitlines()]
    assert header == ["image", "class", "probability"]
    assert [row[0] for row in rows] == [images[0], images[2]]
    assert all(row[1] in "0123456789" and 0 <= float(row[2]) <= 1 for row in rows)
    assert printed.err.startswith("structnets: warning: left out 1 of 3 files")
    assert "broken.png" in printed.err


def test_predict_takes_folders_and_prints_the_best_classes_as_json(trained, tmp_path, capsys):
    for name in ("a10.png", "a2.png"):
        Image.fromarray(np.zeros((8, 8), "uint8")).save(tmp_path / name)
    command = ["predict", str(trained), str(tmp_path), "--top", "3", "--json"]
    assert main(command) == 0
    rows = json.loads(capsys.readouterr().out)
    names = [name for name in ("a2.png", "a10.png") for _ in range(3)]
    assert [row["image"] for row in rows] == [str(tmp_path / name) for name in names]
    found = [row["probability"] for row in rows[:3]]
    assert found == sorted(found, reverse=True)
    assert len({row["class"] for row in rows[:3]}) == 3


def test_a_photo_far_larger_than_the_network_takes_gets_a_note(trained, tmp_path, capsys):
    Image.fromarray(np.zeros((64, 90), "uint8")).save(tmp_path / "photo.png")
    assert main(["predict", str(trained), str(tmp_path / "photo.png")]) == 0
    assert "photo.png of 90 x 64 pixels, are far larger than the 8 x 8" in capsys.readouterr().err


def test_a_model_without_weights_and_an_unknown_one_list_what_there_is(tmp_path, capsys):
    model = "simnet_3layer_compact"
    found = error_of(capsys, "predict", model, tmp_path)
    assert "Give --weights 'cifar10" in found
    found = error_of(capsys, "predict", model, tmp_path, "--weights", "cifar")
    assert "none of that name" in found
    assert "Give --weights 'cifar10" in found
    found = error_of(capsys, "evaluate", "simnet_3layer_compct")
    assert "Did you mean 'simnet_3layer_compact" in found
    assert f"{model}_cifar10" in found
    assert "Trained are caffe_convnet" in error_of(capsys, "predict", "tiny", tmp_path)


def test_errors_name_options_and_commands_of_a_shell(capsys):
    assert "train: --learning-rate must be" in error_of(capsys, "train", "tiny", "--lr", "-1")
    assert "Run `structnets list`" in error_of(capsys, "show", "tinny")
    assert in_a_shell("Give `dataset`: digits") == "Give --dataset digits"
    assert "--backend is" in error_of(capsys, "list", "--backend", OTHER_BACKEND)


def test_errors_are_one_line_with_a_remedy(trained, tmp_path, capsys):
    assert "Did you mean 'tiny'" in error_of(capsys, "show", "tinny")
    assert "Use wildcards" in error_of(capsys, "list", "nothing*")
    assert "give the NAME" in error_of(capsys, "train")
    assert "Did you mean 'tiny'" in error_of(capsys, "train", "tinny", "--out", tmp_path / "a")
    assert "Use --epochs 1 or more" in error_of(capsys, "train", "tiny", "--epochs", "0")
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


@pytest.mark.parametrize("command", COMMANDS)
def test_help_says_what_a_command_does_with_an_example(command, capsys):
    with pytest.raises(SystemExit) as exit_:
        main([command, "--help"])
    assert exit_.value.code == 0
    text = capsys.readouterr().out
    assert f"example: structnets {command}" in text


@pytest.mark.no_backend
def test_every_key_of_a_recipe_is_an_option_with_its_sentence(capsys):
    fields = {field.name: field for field in dataclasses.fields(training.Recipe)}
    keys = {key.name: key for key in recipe_options.recipe_keys()}
    assert [*fields] == ["model", *keys, "sizes"]
    for name, key in keys.items():
        assert key.default == fields[name].default
        assert len(key.sentence) > 10
    with pytest.raises(SystemExit):
        main(["train", "--help"])
    text = capsys.readouterr().out
    for option in ("--lr", "--milestones", "--learning-rate", "--no-freeze"):
        assert option in text


@pytest.mark.no_backend
@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["trian"], "Did you mean 'train' or 'pretrain'? See"),
        ([], "See structnets --help"),
        (["train", "tiny", "--epochs", "x"], "--epochs: invalid int value: 'x'"),
    ],
)
def test_arguments_that_do_not_parse_are_refused_in_one_line(argv, message, capsys):
    with pytest.raises(SystemExit) as exit_:
        main(argv)
    assert exit_.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line


@pytest.mark.no_backend
def test_help_imports_neither_keras_nor_numpy():
    command = [sys.executable, "-X", "importtime", "-m", "keras_structnets", "train", "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "usage: structnets train" in done.stdout
    assert not {"keras", "numpy"} & {line.split()[-1] for line in done.stderr.splitlines()}


@pytest.mark.no_backend
@pytest.mark.parametrize("kind", [TypeError, KeyError, MemoryError, RecursionError, EOFError])
def test_unexpected_errors_are_one_line_of_printable_text(kind, monkeypatch, capsys):
    def fail(**options):
        warnings.warn("forged\rby \x1b[2J", stacklevel=1)
        raise kind("no\n\x1b[2J")

    monkeypatch.setattr("keras_structnets.commands.list_models", fail)
    assert main(["list"]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    assert all(line.isprintable() and "[2J" in line for line in lines)
    assert kind.__name__ in lines[1] or kind is RecursionError


def test_predict_prints_names_that_the_terminal_cannot(trained, tmp_path, monkeypatch):
    Image.new("L", (8, 8)).save(tmp_path / "\u96ea.png")
    printed = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", printed)
    assert main(["predict", str(trained), str(tmp_path / "\u96ea.png")]) == 0
    assert b"\\u96ea.png" in printed.buffer.getvalue()


@pytest.mark.no_backend
def test_bench_does_not_run_programs_of_the_current_folder(tmp_path, monkeypatch):
    (tmp_path / "benchmarks").mkdir()
    for name in ("__init__.py", "run.py"):
        (tmp_path / "benchmarks" / name).write_text("raise AssertionError")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    for name in [name for name in sys.modules if name.split(".")[0] == "benchmarks"]:
        monkeypatch.delitem(sys.modules, name)
    assert commands._benchmarks().main
