"""The result tables of the papers as recipes."""

import collections
import json

import pytest

from keras_structnets import zoo
from keras_structnets.__main__ import main
from keras_structnets.training import reproduce

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


def test_the_command_lists_rows_and_trains_one(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["reproduce", "simnets-section6.4"]) in (None, 0)
    assert "simnets-section6.4 nin_compact cifar10  72.3%" in capsys.readouterr().out
    row = ["simnets-section6.4", "nin_compact", "cifar10"]
    assert main(["reproduce", *row, "--dataset", "digits", "--epochs", "1"]) in (None, 0)
    assert "the paper prints 72.3%" in capsys.readouterr().out
    results = json.loads((tmp_path / "runs" / "_".join(row) / "results.json").read_text("utf-8"))
    assert results["runs"][0]["epochs"] == 1
