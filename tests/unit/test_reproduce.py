"""The result tables of the papers as recipes."""

import collections
import dataclasses
import json

import numpy as np
import pytest

from keras_structnets import training, zoo
from keras_structnets.__main__ import main
from keras_structnets.training import reproduce
from keras_structnets.zoo.registry import of_skeleton

pytestmark = pytest.mark.no_backend
ROWS = reproduce.rows()


def test_there_is_a_row_for_each_result_of_the_papers():
    assert collections.Counter(row.table for row in ROWS) == {
        "lowcost-table2": 36,
        "gconv-table2": 39,
        "gconv-table2-unaugmented": 39,
        "simnets-table1": 6,
        "simnets-table2": 2,
        "simnets-section6.4": 2,
        "simnets-figure2b": 17,
    }


def test_every_printed_accuracy_has_a_row():
    printed = {
        (name, dataset, accuracy)
        for name in zoo.list_models()
        for dataset, accuracy in zoo.info(name).printed_accuracy.items()
    }
    unaugmented = " without augmentation"
    found = {
        (row.model, row.dataset + unaugmented * row.table.endswith("unaugmented"), row.accuracy)
        for row in ROWS
        if row.accuracy
    }
    assert found == printed


def test_a_row_is_trained_as_its_paper_says():
    (row,) = reproduce.rows("gconv-table2", "g_conv_net", "tiny_imagenet")
    assert (row.recipe.image_size, row.recipe.crop_size, row.recipe.pad) == ((80, 80), (64, 64), 0)
    assert (row.recipe.epochs, row.accuracy) == (75, 48.5)
    assert (row.recipe.select, row.recipe.normalize) == ("best_val_loss", True)
    (row,) = reproduce.rows("gconv-table2-unaugmented", "g_conv_net", "cifar10")
    assert (row.recipe.select, row.recipe.normalize) == ("best_val_loss", False)
    (row,) = reproduce.rows("lowcost-table2", "linear_mix_b", "cifar100")
    assert (row.recipe.epochs, row.recipe.drop_factor, row.accuracy) == (300, 0.5, 67.9)
    (row,) = reproduce.rows("simnets-figure2b", "convnet_1layer_1600")
    assert (row.recipe.model, row.recipe.sizes) == ("convnet_1layer", {"filters": 1600})


@pytest.mark.parametrize(
    ("chosen", "words"),
    [
        (("lowcost-table1",), ["`table`", "lowcost-table2"]),
        (("lowcost-table2", "g_conv_net"), ["`model`", "linear_mix_a"]),
        (("lowcost-table2", "linear_mix_a", "svhn"), ["`dataset`", "stl10"]),
    ],
)
def test_an_unknown_row_is_refused_with_what_there_is(chosen, words):
    with pytest.raises(ValueError) as error:
        reproduce.rows(*chosen)
    assert all(word in str(error.value) for word in words), error.value


def test_a_shorter_recipe_drops_the_rate_earlier():
    (row,) = reproduce.rows("lowcost-table2", "linear_mix_a", "cifar10")
    assert row.shortened(10).drop_epochs == (2, 4, 6, 8)
    assert row.shortened(1).epochs == 1


SIZES = {"tiny_imagenet": 64, "stl10": 96}  # of images; of the others 32
OF_EACH_TABLE = {row.table: row for row in reversed(ROWS)}.values()


def input_size(row):
    """(height, width) of the row's network."""
    size = SIZES.get(row.dataset, 32)
    return tuple(row.recipe.crop_size or row.recipe.image_size or (size, size))


@pytest.mark.parametrize("name", sorted({row.recipe.model for row in ROWS}))
def test_every_row_builds_its_model_and_its_optimizer(name):
    rows = [row for row in ROWS if row.recipe.model == name]
    assert all(row.recipe.make_optimizer(steps_per_epoch=3) for row in rows)
    layouts = {(input_size(row), *row.recipe.sizes.items()) for row in rows}
    for size, *sizes in layouts:
        options = {"input_shape": (*size, 3), **dict(sizes)}
        assert of_skeleton(lambda model: model.output_shape, name, **options) == (None, 10)


@pytest.mark.parametrize("row", OF_EACH_TABLE, ids=lambda row: row.table)
def test_a_row_of_each_table_is_trained_for_an_epoch_on_made_images(row, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    x = np.random.default_rng(0).integers(0, 255, (12, 32, 32, 3)).astype("uint8")
    np.savez("made.npz", x_train=x, y_train=np.arange(12) % 2, x_val=x, y_val=np.arange(12) % 2)
    options = ["--dataset", "made.npz", "--epochs", "1"]
    assert main(["reproduce", row.table, row.model, row.dataset, *options]) in (None, 0)
    folder = tmp_path / "runs" / "_".join((row.table, row.model, row.dataset))
    recipe = training.Recipe.read(folder / "recipe.toml")
    assert recipe == dataclasses.replace(row.shortened(1), dataset="made.npz")


def test_the_command_lists_rows_and_trains_one(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["reproduce", "simnets-section6.4"]) in (None, 0)
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["simnets-section6.4", "nin_compact", "cifar10", "72.3%"] in lines
    row = ["simnets-section6.4", "nin_compact", "cifar10"]
    assert main(["reproduce", *row, "--dataset", "digits", "--epochs", "1"]) in (None, 0)
    assert "the paper's accuracy is 72.3%, after 300 epochs" in capsys.readouterr().out
    results = json.loads((tmp_path / "runs" / "_".join(row) / "results.json").read_text("utf-8"))
    assert results["runs"][0]["epochs"] == 1
