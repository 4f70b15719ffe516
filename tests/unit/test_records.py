"""Records: from finished runs to weights that load by name."""

import dataclasses
import json
import pathlib

import keras
import numpy as np
import pytest
from PIL import Image

from keras_structnets import training, zoo
from keras_structnets.training import catalogue, report
from keras_structnets.zoo import records, weights

RECORDS = pathlib.Path(__file__).parents[2] / "zoo"
RECIPE = training.Recipe("tiny", epochs=2, batch_size=128, learning_rate=0.01)


pytestmark = [pytest.mark.no_backend, pytest.mark.usefixtures("tiny_models")]


@pytest.fixture(scope="module")
def runs(tiny_models, tmp_path_factory):
    """Two runs that differ in their seed, and one of other sizes."""
    folder = tmp_path_factory.mktemp("runs")
    recipes = [RECIPE, dataclasses.replace(RECIPE, seed=1)]
    recipes.append(dataclasses.replace(RECIPE, sizes={"filters": 3}))
    for i, recipe in enumerate(recipes):
        training.train(recipe, folder / f"run{i}", verbose=0)
    return [folder / f"run{i}" for i in range(3)]


@pytest.fixture(scope="module")
def place(runs, tmp_path_factory):
    """A folder of records, where the package finds them."""
    place = tmp_path_factory.mktemp("records")
    training.publish(runs[:2], place / "tiny_digits")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(records, "_PLACES", (place,))
        records._all.cache_clear()
        yield place
    records._all.cache_clear()


@pytest.fixture(scope="module")
def images():
    return training.load("digits").x_val


def test_a_record_holds_all_runs_a_card_and_half_precision_weights(place, runs):
    folder = place / "tiny_digits"
    results = json.loads((folder / "results.json").read_text())
    assert [run["seed"] for run in results["runs"]] == [0, 1]
    assert results["weights"]["dtype"] == "float16"
    assert results["weights"]["bytes"] == (folder / "tiny_digits.weights.h5").stat().st_size
    assert results["flops"] == zoo.info("tiny").flops.total
    card = (folder / "card.md").read_text()
    assert card == report.record_card_of(folder)
    found = [run["accuracy"] for run in results["runs"]]
    for text in (f"{np.mean(found):.2%} (mean of 2 seeds", f"{max(found):.2%})", "2 epochs", "359"):
        assert text in card
    assert training.Recipe.read(folder / "recipe.toml") == RECIPE
    assert (folder / "history.csv").read_bytes() == (runs[0] / "history.csv").read_bytes()


def test_weights_load_by_the_name_of_their_data_set(place, runs, images):
    model = zoo.build("tiny", weights="digits")
    trained = keras.saving.load_model(runs[0] / "run0.keras", compile=False)
    expected = trained.predict(images, verbose=0)
    np.testing.assert_allclose(model.predict(images, verbose=0), expected, atol=5e-3)
    assert zoo.info("tiny").records["digits"].class_names == list("0123456789")
    logits = zoo.build("tiny", weights="digits", classifier_activation=None)
    softmax = keras.ops.softmax(logits.predict(images, verbose=0))
    np.testing.assert_allclose(
        keras.ops.convert_to_numpy(softmax), model.predict(images, verbose=0), atol=1e-5
    )


def test_a_record_without_normalization_loads_without_it(runs, images, tmp_path, monkeypatch):
    recipe = dataclasses.replace(RECIPE, normalize=False)
    training.train(recipe, tmp_path / "run", verbose=0)
    training.publish([tmp_path / "run"], tmp_path / "records" / "tiny_digits")
    monkeypatch.setattr(records, "_PLACES", (tmp_path / "records",))
    records._all.cache_clear()
    trained = keras.saving.load_model(tmp_path / "run" / "run.keras", compile=False)
    found = zoo.build("tiny", weights="digits").predict(images, verbose=0)
    np.testing.assert_allclose(found, trained.predict(images, verbose=0), atol=5e-3)
    by_hand = zoo.build("tiny", weights="digits", include_preprocessing=False)
    np.testing.assert_allclose(by_hand.predict(images / 255, verbose=0), found, atol=1e-5)
    records._all.cache_clear()


def test_another_number_of_classes_keeps_the_trunk_and_says_so(place):
    with pytest.warns(UserWarning, match=r"\['logits'\] start from random weights"):
        model = zoo.build("tiny", weights="digits", num_classes=3)
    assert model.output_shape == (None, 3)
    trunk = zoo.build("tiny", weights="digits", include_top=False)
    trained = zoo.build("tiny", weights="digits")
    for other in (model, trunk):
        for one, two in zip(
            other.get_layer("convolution").get_weights(),
            trained.get_layer("convolution").get_weights(),
            strict=True,
        ):
            np.testing.assert_array_equal(one, two)


def test_weights_of_another_shape_or_name_are_refused(place):
    with pytest.raises(ValueError, match=r"do not fit the layers \['convolution'\]"):
        zoo.build("tiny", weights="digits", filters=5)
    with pytest.raises(ValueError, match=r"do not fit the layers \['logits'\]"):
        zoo.build("tiny", weights="digits", input_shape=(9, 9, 1))
    with pytest.raises(ValueError, match="Did you mean 'digits'"):
        zoo.build("tiny", weights="digit")


@pytest.mark.parametrize("weights", ["cifar10", True, False, 3, b"digits"])
@pytest.mark.parametrize("model", ["tiny", "forgetful"])
def test_weights_that_are_no_record_list_the_records(place, model, weights):
    with pytest.raises(
        ValueError, match="`weights` .* is not a file.*trained weights of tiny_digits"
    ):
        zoo.build(model, weights=weights)


@pytest.mark.parametrize("file", ["../other/x.weights.h5", "/tmp/x.weights.h5", "", ".."])
def test_a_record_whose_weights_lie_elsewhere_is_refused(place, tmp_path, file):
    results = json.loads((place / "tiny_digits" / "results.json").read_text())
    results["weights"]["file"] = file
    (tmp_path / "results.json").write_text(json.dumps(results))
    with pytest.raises(ValueError, match="`file` .* is not in its folder"):
        records.read(tmp_path)
    for text in ("{", "[]", "{}"):
        (tmp_path / "results.json").write_text(text)
        with pytest.raises(ValueError, match=r"results\.json is damaged"):
            records.read(tmp_path)


@pytest.mark.parametrize("ending", [".keras", ".weights.h5"])
def test_weights_that_are_not_finite_are_refused(place, tmp_path, ending):
    model = zoo.build("tiny", weights="digits")
    weights = model.get_weights()
    weights[0][0, 0] = np.nan
    model.set_weights(weights)
    path = tmp_path / f"tiny{ending}"
    model.save(path) if ending == ".keras" else model.save_weights(path)
    with pytest.raises(ValueError, match="kernel' is not finite"):
        zoo.build("tiny", weights=path)


def test_weights_that_were_changed_or_lost_are_refused(place):
    path = place / "tiny_digits" / "tiny_digits.weights.h5"
    whole = path.read_bytes()
    try:
        path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
        with pytest.raises(ValueError, match="is not the file that was recorded"):
            zoo.build("tiny", weights="digits")
        path.unlink()
        with pytest.raises(ValueError, match="is missing"):
            zoo.build("tiny", weights="digits")
    finally:
        path.write_bytes(whole)


def test_weights_come_from_an_address_with_a_checksum(place, tmp_path, monkeypatch):
    monkeypatch.setattr(weights, "CACHE", str(tmp_path))
    path = place / "tiny_digits" / "tiny_digits.weights.h5"
    checksum = records.sha256(path)
    address = path.resolve().as_uri()
    model = zoo.build("tiny", weights=f"{address}#sha256={checksum}")
    expected = zoo.build("tiny", weights="digits")
    for one, two in zip(model.get_weights(), expected.get_weights(), strict=True):
        np.testing.assert_array_equal(one, two)
    with pytest.raises(ValueError, match="has no checksum"):
        zoo.build("tiny", weights=address)
    wrong = "0" * 64
    with pytest.raises(ValueError, match="cannot be had"):
        zoo.build("tiny", weights=f"{address}#sha256={wrong}")


def test_a_record_is_evaluated_and_predicts_by_its_name(place, images, tmp_path):
    results = json.loads((place / "tiny_digits" / "results.json").read_text())
    found = training.evaluate("tiny_digits")
    assert found["accuracy"] == results["weights"]["accuracy"]
    assert training.evaluate(place / "tiny_digits") == found
    Image.fromarray(images[0, ..., 0].astype("uint8")).save(tmp_path / "digit.png")
    ((_, name, _),) = training.predict("tiny_digits", [tmp_path / "digit.png"])
    assert name in "0123456789"


def test_the_card_of_a_model_tells_its_records(place):
    (line,) = [row for row in catalogue.model_card("tiny").splitlines() if row.startswith("record")]
    assert "(mean of 2 seeds" in line
    assert "on Digits, weights='digits'" in line


def test_the_card_has_budget_standard_error_and_test_accuracy(place):
    folder = place / "tiny_digits"
    results = json.loads((folder / "results.json").read_text())
    found = np.mean([run["accuracy"] for run in results["runs"]])
    card = report.record_card_of(folder)
    assert "| budget | 2 epochs of 1,438 images" in card
    assert f"| its standard error | {np.sqrt(found * (1 - found) / 359):.2%} |" in card
    assert "confusion.png" in card
    assert "test accuracy" not in card
    path = place / "test_accuracy.json"
    entry = {"sha256": results["weights"]["sha256"], "accuracy": 0.9123}
    try:
        path.write_text(json.dumps({"tiny_digits": entry}))
        assert "| test accuracy | 91.23% |" in report.record_card_of(folder)
        assert "| 91.23% |" in report.records_table()
        path.write_text(json.dumps({"tiny_digits": entry | {"sha256": "0" * 64}}))
        with pytest.raises(ValueError, match="'tiny_digits'.*Measure it again"):
            report.records_table()
    finally:
        path.unlink()


def test_the_card_has_the_difference_from_the_paper():
    card = report.record_card_of(RECORDS / "linear_mix_a_cifar10")
    assert "| paper's accuracy | 91.3% |" in card
    assert "| validation accuracy | 89.22% (one seed) |" in card
    assert "| difference from the paper | -2.1 points |" in card


def test_a_record_takes_runs_of_one_recipe_and_nothing_else(runs, tmp_path, place):
    with pytest.raises(ValueError, match=r"run2' has sizes=.*filters.*run0"):
        training.publish([runs[0], runs[2]], tmp_path / "record")
    with pytest.raises(ValueError, match="holds no finished run"):
        training.publish([tmp_path], tmp_path / "record")
    with pytest.raises(ValueError, match="holds an earlier run"):
        training.publish(runs[:1], place / "tiny_digits")
    assert not (tmp_path / "record").exists()


def test_a_record_of_a_model_that_does_not_reach_its_results_is_refused(runs, tmp_path):
    changed = tmp_path / "run0"
    changed.mkdir()
    for path in runs[0].iterdir():
        (changed / path.name).write_bytes(path.read_bytes())
    text = json.loads((changed / "results.json").read_text())
    text["runs"][0]["accuracy"] = 1.0
    (changed / "results.json").write_text(json.dumps(text))
    with pytest.raises(ValueError, match="reaches .* but its results say 100"):
        training.publish([changed], tmp_path / "record")
