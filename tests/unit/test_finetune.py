"""Fine-tuning from the weights of a record, and what else a trained network is good for."""

import json
import warnings

import keras
import numpy as np
import pytest
from PIL import Image

import keras_structnets as ksn
from keras_structnets import training, zoo
from keras_structnets.__main__ import main
from keras_structnets.training.finetune import body

RECORD = next(row for row in zoo.results() if row["model"] == "mobilenet_a")
COLOURS = {"blue": (40, 80, 200), "red": (200, 50, 40)}


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """A folder of photos of two classes, 40 x 48 pixels."""
    folder, rng = tmp_path_factory.mktemp("data") / "photos", np.random.default_rng(0)
    for name, colour in COLOURS.items():
        (folder / name).mkdir(parents=True)
        for i in range(12):
            pixels = np.clip(rng.normal(colour, 20, (40, 48, 3)), 0, 255).astype("uint8")
            Image.fromarray(pixels).save(folder / name / f"{i}.png")
    return folder


@pytest.fixture(scope="module")
def tuned(photos, tmp_path_factory):
    """The folder of a run that the command line fine-tuned with a frozen body."""
    out = tmp_path_factory.mktemp("runs") / "tuned"
    options = ["--dataset", str(photos), "--epochs", "10", "--lr", "0.01", "--batch-size", "8"]
    command = ["train", RECORD["model"], "--weights", RECORD["weights"], "--freeze", *options]
    assert main([*command, "--out", str(out)]) == 0
    return out


def weights_of(layers):
    return [weight for layer in layers for weight in layer.get_weights()]


def test_a_frozen_body_keeps_its_weights_and_the_head_learns(tuned):
    model = keras.saving.load_model(tuned / "tuned.keras", compile=False)
    recipe = training.Recipe.read(tuned / "recipe.toml")
    assert (recipe.weights, recipe.freeze) == (RECORD["weights"], True)
    assert recipe.image_size == model.input_shape[1:3]
    trained = zoo.build(RECORD["model"], weights=RECORD["weights"])
    n_body = len(body(trained, recipe))
    kept = [weights_of(network.layers[:n_body]) for network in (model, trained)]
    for one, two in zip(*kept, strict=True):
        np.testing.assert_array_equal(one, two)
    assert all(layer.trainable for layer in model.layers)
    results = json.loads((tuned / "results.json").read_text())
    assert results["runs"][0]["accuracy"] == 1
    assert results["parameters"] == sum(np.prod(w.shape) for w in model.trainable_variables)


def test_class_names_travel_inside_the_model(tuned, photos, tmp_path, capsys):
    alone = tmp_path / "alone.keras"
    alone.write_bytes((tuned / "tuned.keras").read_bytes())
    assert main(["predict", str(alone), str(photos / "red" / "0.png"), "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert row["class"] == "red"
    assert row["probability"] > 0.5


@pytest.mark.no_backend
def test_weights_that_are_not_frozen_all_move_and_a_queue_resumes_them(
    photos, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    recipe = training.Recipe(
        RECORD["model"], str(photos), epochs=1, batch_size=8, weights=RECORD["weights"]
    )
    recipe.write(tmp_path / "moving.toml")
    recipe.write(tmp_path / "other.toml")
    command = ["train", str(tmp_path / "moving.toml"), str(tmp_path / "other.toml")]
    assert main(command) == 0
    assert main(command) == 0
    model = keras.saving.load_model(tmp_path / "runs" / "moving" / "moving.keras", compile=False)
    trained = zoo.build(RECORD["model"], weights=RECORD["weights"])
    n_body = len(body(trained, recipe))
    moved = [
        np.abs(one - two).max() > 0
        for one, two in zip(
            *(weights_of(network.layers[:n_body]) for network in (model, trained)), strict=True
        )
    ]
    assert np.mean(moved) > 0.9


@pytest.mark.no_backend
def test_freezing_without_weights_and_pretraining_with_them_are_refused():
    with pytest.raises(ValueError, match="`freeze` is True without `weights`"):
        training.Recipe("simnet_2layer", freeze=True)
    with pytest.raises(ValueError, match="`pretrain` 'mixture' would replace the `weights`"):
        training.Recipe("simnet_2layer", weights="cifar10", pretrain="mixture")
    with pytest.raises(ValueError, match="`freeze` must be true or false"):
        training.Recipe("simnet_2layer", freeze="yes")


@pytest.mark.no_backend
def test_unknown_weights_are_refused_before_a_folder_is_made(photos, tmp_path, capsys):
    out = tmp_path / "run"
    command = ["train", RECORD["model"], "--weights", "cifar", "--dataset", str(photos)]
    assert main([*command, "--out", str(out)]) == 2
    assert RECORD["weights"] in capsys.readouterr().err
    assert not out.exists()


def test_a_folder_with_some_of_the_classes_is_evaluated_on_those(tmp_path, capsys):
    record = zoo.info(RECORD["model"]).records[RECORD["weights"]]
    names, pixels = record.class_names[5:2:-2], np.zeros((32, 32, 3), "uint8")
    for name in names:
        (tmp_path / "some" / name).mkdir(parents=True)
        Image.fromarray(pixels).save(tmp_path / "some" / name / "0.png")
    found = training.evaluate(RECORD["name"], tmp_path / "some")
    predicted = training.predict(RECORD["name"], [tmp_path / "some"])
    assert found["classes"] == 2
    hits = [name == names[i] for i, (_, name, _) in enumerate(predicted)]
    assert found["accuracy"] == np.mean(hits)
    (tmp_path / "some" / "unicorn").mkdir()
    Image.fromarray(pixels).save(tmp_path / "some" / "unicorn" / "0.png")
    with pytest.raises(ValueError, match="unicorn.*are not among those of the model"):
        training.evaluate(RECORD["name"], tmp_path / "some")


@pytest.mark.no_backend
def test_a_record_whose_images_are_missing_says_how_to_get_them(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    records = [row for row in zoo.results() if row["weights"] == "cifar10_jpeg"]
    assert main(["evaluate", records[0]["name"]]) == 2
    error = capsys.readouterr().err
    assert "the images of CIFAR-10 (JPEG) are not at" in error
    assert "give --dataset cifar10, which is downloaded once" in error


def test_feature_maps_of_each_size_share_weights_with_the_model():
    model = zoo.build(RECORD["model"])
    maps = ksn.zoo.features(model)
    x = np.random.default_rng(0).uniform(0, 255, (2, *model.input_shape[1:]))
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        sizes, name = [tuple(found.shape[1:3]) for found in maps(x).values()], "logits"
    assert len(sizes) > 1
    assert len(set(sizes)) == len(sizes)
    inner = ksn.zoo.features(model, [name])
    logits = keras.ops.convert_to_numpy(inner(x)[name])
    probabilities = keras.ops.softmax(logits, axis=-1)
    np.testing.assert_allclose(
        keras.ops.convert_to_numpy(model(x)), keras.ops.convert_to_numpy(probabilities), atol=1e-6
    )
    with pytest.raises(ValueError, match="Did you mean 'logits'"):
        ksn.zoo.features(model, ["logit"])
    vectors = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    with pytest.raises(ValueError, match="has no feature maps"):
        ksn.zoo.features(vectors)


@pytest.mark.no_backend
@pytest.mark.parametrize("name", zoo.list_models(pretrained=True))
def test_trained_features_are_pooled_to_vectors(name):
    (weights, *_) = zoo.info(name).records
    options = {"weights": weights, "include_top": False, "pooling": "avg"}
    assert len(zoo.build(name, **options).output_shape) == 2
