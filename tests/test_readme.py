"""The READMEs say what the zoo is and what its records reached; the records are whole."""

import json

import numpy as np
import pytest

from keras_structnets import tables, training, zoo
from keras_structnets.training import report
from keras_structnets.zoo import records
from tests.readme import MODELS, README, RECORDS, RESULTS, models_table, with_table, zoo_table

pytestmark = pytest.mark.no_backend

FOLDERS = sorted(path.parent for path in RECORDS.parent.glob("*/results.json"))
ANEW = "write it anew with: python -m tests.readme"


@pytest.mark.parametrize(
    ("path", "table"),
    [(README, zoo_table), (MODELS, models_table), (RECORDS, report.records_table)],
    ids=["trained", "models", "records"],
)
def test_the_tables_are_current(path, table):
    text = path.read_text(encoding="utf-8")
    assert with_table(text, table()) == text, ANEW


def test_the_file_of_results_is_current():
    assert RESULTS.read_text(encoding="utf-8") == tables.csv_table(zoo.results()), ANEW


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_a_record_is_whole_and_its_card_is_current(folder):
    results = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    info = zoo.info(results["model"])
    assert (folder / "card.md").read_text(encoding="utf-8") == report.record_card_of(folder), ANEW
    assert results["parameters"] == info.parameters
    assert results["flops"] == info.flops.total
    assert training.Recipe.read(folder / "recipe.toml").seed == results["runs"][0]["seed"]
    assert results["weights"]["bytes"] <= 8e6


PAPERS = sorted(RECORDS.parent.glob("*/paper.toml"))


@pytest.mark.parametrize("path", PAPERS, ids=lambda path: path.parent.name)
def test_a_papers_own_recipe_can_be_run(path):
    recipe = training.Recipe.read(path)
    assert path.parent.name.removesuffix("_jpeg") == f"{recipe.model}_cifar10"
    assert recipe.dataset == "cifar10"
    optimizer = recipe.make_optimizer(steps_per_epoch=450)
    assert float(optimizer.learning_rate) == pytest.approx(recipe.learning_rate)
    text = path.read_text(encoding="utf-8")
    assert text.startswith(f"# structnets train zoo/{path.parent.name}/paper.toml\n")


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_the_weights_of_a_record_load_and_tell_images_apart(folder):
    record = records.read(folder)
    model = zoo.build(record.model, weights=record.dataset)
    images = np.random.default_rng(0).integers(0, 256, (8, *record.input_shape))
    outputs = model.predict(images.astype("float32"), verbose=0)
    assert outputs.shape == (8, len(record.class_names))
    np.testing.assert_allclose(outputs.sum(-1), 1, atol=1e-5)
    assert outputs.std(0).max() > 1e-4


def test_a_trained_network_of_another_depth_is_refused():
    with pytest.raises(ValueError, match="the trained weights do not fit"):
        zoo.build("linear_mix_a", weights="cifar10", n_steps=3)
