"""Series and volumes are read and trained on."""

import numpy as np
import pytest

from keras_structnets import training

LAYOUTS = {"series": (12, 2), "volumes": (6, 6, 6, 1)}


def write(path, shape, n=24):
    rng, y = np.random.default_rng(0), np.arange(n) % 2
    x = rng.normal(size=(n, *shape)) + y.reshape(-1, *[1] * len(shape))
    if len(shape) == 4:
        x = (x * 30 + 100).clip(0, 255).astype("uint8")
    np.savez(path, x_train=x, y_train=y)


@pytest.mark.parametrize("kind", LAYOUTS)
def test_a_network_trains_on_them(kind, tmp_path):
    write(tmp_path / "x.npz", LAYOUTS[kind])
    assert training.load(tmp_path / "x.npz").x_train.shape[1:] == LAYOUTS[kind]
    sizes = {"widths": (4, 8), "n_steps": 1}
    recipe = training.Recipe(
        "linear_mix_a", dataset=str(tmp_path / "x.npz"), sizes=sizes, epochs=1, batch_size=8
    )
    results = training.train(recipe, tmp_path / "run", verbose=0)
    assert tuple(results["input_shape"]) == LAYOUTS[kind]
    assert (tmp_path / "run" / "card.md").is_file()
    assert (tmp_path / "run" / "run.keras").is_file()


@pytest.mark.no_backend
@pytest.mark.parametrize("option", [{"augmentation": ("flip",)}, {"mix": "mixup"}], ids=str)
def test_augmentation_of_images_is_refused(option, tmp_path):
    write(tmp_path / "x.npz", LAYOUTS["series"])
    recipe = training.Recipe("linear_mix_a", dataset=str(tmp_path / "x.npz"), epochs=1, **option)
    with pytest.raises(ValueError, match=f"`{next(iter(option))}` .* works on images"):
        training.train(recipe, tmp_path / "run", verbose=0)


@pytest.mark.no_backend
def test_series_are_not_resized(tmp_path):
    write(tmp_path / "x.npz", LAYOUTS["series"])
    with pytest.raises(ValueError, match="`image_size` .* resizes images"):
        training.load(tmp_path / "x.npz", image_size=(8, 8))


@pytest.mark.no_backend
def test_series_of_the_ucr_archive_have_their_class_first(tmp_path):
    (tmp_path / "A_TRAIN.tsv").write_text("2\t0.5\t1\t2\n-1\t3\t4\t5\n")
    (tmp_path / "A_TEST.tsv").write_text("2\t7\t8\t9\n")
    data = training.load(tmp_path / "A_TRAIN.tsv")
    assert (data.class_names, data.y_train.tolist(), data.y_val.tolist()) == (
        ["-1", "2"],
        [1, 0],
        [1],
    )
    assert data.x_train[..., 0].tolist() == [[0.5, 1, 2], [3, 4, 5]]
    (tmp_path / "B_TRAIN.tsv").write_text("1\t0.5\tNaN\n")
    with pytest.raises(ValueError, match="finite series of one length"):
        training.load(tmp_path / "B_TRAIN.tsv")
