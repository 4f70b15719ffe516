"""Augmentation: what changes, what stays, and that the same seed gives the same."""

import dataclasses

import keras
import numpy as np
import pytest
from PIL import Image

from keras_structnets import training
from keras_structnets.training import augment
from keras_structnets.training.augment import OPERATIONS, Batches, Draw, center_crop, register

RECIPE = training.Recipe("tiny", batch_size=4)


def changed_by(operation, images, seed=0, epoch=0, size=None, **settings):
    """`images` after an operation."""
    draw = Draw(
        np.random.default_rng(seed), epoch, np.arange(len(images)), size or images.shape[1:3]
    )
    return OPERATIONS[operation](dataclasses.replace(RECIPE, **settings))(images, draw)


def test_each_image_is_cropped_at_a_place_of_its_own():
    images = np.arange(1, 1 + 64 * 5 * 4, dtype="int32").reshape(64, 5, 4, 1)
    crops = changed_by("crop", images, pad=2)
    padded = np.pad(images, ((0, 0), (2, 2), (2, 2), (0, 0)))
    places = set()
    for crop, image in zip(crops, padded, strict=True):
        found = [
            (i, j)
            for i in range(5)
            for j in range(5)
            if np.array_equal(crop, image[i : i + 5, j : j + 4])
        ]
        assert len(found) == 1
        places.update(found)
    assert len(places) > 15  # of 25


def flipped(images, flip, epoch=0):
    """Which images the operation "flip" mirrors in an epoch."""
    changed = changed_by("flip", images, seed=epoch, epoch=epoch, flip=flip)
    same = (changed == images).all((1, 2, 3))
    mirrored = (changed == images[:, :, ::-1]).all((1, 2, 3))
    assert (same ^ mirrored).all()
    return mirrored


@pytest.mark.parametrize("spatial", [(5,), (3, 4, 5)])
def test_series_and_volumes_are_cropped_and_mirrored(spatial):
    x = np.arange(1, 1 + 20 * int(np.prod(spatial))).reshape(20, *spatial, 1)
    size = tuple(n - 2 for n in spatial)
    crops = changed_by("crop", x, pad=0, size=size)
    origins = crops.reshape(20, -1)[:, 0] - x.reshape(20, -1)[:, 0]
    places = np.unravel_index(origins, spatial)
    assert all(set(place) == {0, 1, 2} for place in places)
    assert crops.shape == (20, *size, 1)
    mirrored = changed_by("flip", x)
    same = (mirrored == x).reshape(20, -1).all(1)
    assert 0 < same.sum() < 20
    np.testing.assert_array_equal(mirrored[~same], x[~same][..., ::-1, :])


@pytest.mark.parametrize("flip", ["random", "alternate"])
def test_half_of_the_images_are_mirrored(flip):
    images = np.random.default_rng(0).integers(0, 255, (200, 3, 4, 2)).astype("uint8")
    first, second, third = (flipped(images, flip, epoch) for epoch in range(3))
    assert 70 < first.sum() < 130
    assert (first == ~second).all() == (flip == "alternate")
    assert (first == third).all() == (flip == "alternate")


def test_no_padding_and_crops_of_the_whole_change_nothing():
    images = np.random.default_rng(0).integers(0, 255, (20, 3, 4, 2)).astype("uint8")
    crops = changed_by("crop", images, pad=0)
    np.testing.assert_array_equal(crops, images)


def test_operations_are_applied_in_order():
    images = np.arange(8, dtype="uint8").reshape(8, 1, 1, 1).repeat(2, 2)

    def operation(change):
        return lambda recipe: lambda images, draw: change(images)

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(OPERATIONS, "double", operation(lambda x: 2 * x))
        patch.setitem(OPERATIONS, "add", operation(lambda x: x + 1))
        (first, _), (second, _) = (
            batch_of(images, augmentation=names) for names in (["double", "add"], ["add", "double"])
        )
    np.testing.assert_array_equal(second, first + 1)
    with pytest.raises(ValueError, match="'crop' exists"):
        register("crop")


def test_batches_hold_each_image_once_and_repeat_with_seed_and_epoch():
    images = np.arange(10, dtype="float32").reshape(10, 1, 1, 1)

    def epochs(seed):
        batches = Batches(images, np.arange(10), 10, dataclasses.replace(RECIPE, seed=seed))
        for epoch in range(2):
            batches.start(epoch)
            rows = [batches[i] for i in range(len(batches))]
            x, y = (np.concatenate(part) for part in zip(*rows, strict=True))
            np.testing.assert_array_equal(y, np.eye(10)[x.ravel().astype(int)])
            order = list(x.ravel())
            assert sorted(order) == list(range(10))
            yield order

    first, second = epochs(0)
    assert first != second
    assert [first, second] == list(epochs(0))
    assert [first, second] != list(epochs(1))


def batch_of(images=None, epoch=0, **settings):
    """The first batch of a recipe with these settings, of images that differ from each other."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (8, 12, 10, 3)).astype("uint8") if images is None else images
    recipe = dataclasses.replace(RECIPE, batch_size=8, **settings)
    batches = Batches(images, np.arange(8) % 4, 4, recipe)
    batches.start(epoch)
    return batches[0]


SETTINGS = pytest.mark.parametrize(
    "settings",
    [
        {},
        {"augmentation": ["crop"]},
        {"augmentation": ["crop", "flip"], "pad": 2},
        {"augmentation": ["resized_crop", "flip"], "crop_area": 0.3},
        {"augmentation": ["crop", "flip", "rand_augment"]},
        {"augmentation": ["flip"], "flip": "alternate"},
        {"augmentation": ["crop", "flip"], "mix": "mixup"},
        {"augmentation": ["crop", "flip"], "mix": "cutmix"},
    ],
    ids=lambda settings: "-".join(map(str, settings.values())),
)


@SETTINGS
def test_each_augmentation_repeats_and_keeps_shape_range_and_labels(settings):
    first, again, later = batch_of(**settings), batch_of(**settings), batch_of(epoch=1, **settings)
    for one, other in zip(first, again, strict=True):
        np.testing.assert_array_equal(one, other)
    assert not np.array_equal(first[0], later[0])
    images, labels = first
    assert images.shape == (8, 12, 10, 3)
    assert images.dtype == "uint8"
    assert images.min() >= 0
    assert images.max() <= 255
    assert labels.shape == (8, 4)
    np.testing.assert_allclose(labels.sum(-1), 1, rtol=1e-6)
    mixed = (labels.max(-1) < 1).any()
    assert mixed == ("mix" in settings)


@SETTINGS
def test_a_batch_depends_on_no_batch_before_it(settings):
    images = np.random.default_rng(0).integers(0, 256, (8, 12, 10, 3)).astype("uint8")
    recipe = dataclasses.replace(RECIPE, batch_size=4, **settings)
    alone, after = (Batches(images, np.arange(8) % 4, 4, recipe) for _ in range(2))
    first = after[0]
    for one, other in zip(alone[1], after[1], strict=True):
        np.testing.assert_array_equal(one, other)
    assert not np.array_equal(first[0], after[1][0])


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", augment.rand_augment_operations())
def test_an_operation_of_rand_augment_changes_a_picture_and_keeps_what_it_is(name, channels):
    pixels = np.random.default_rng(0).integers(20, 200, (24, 20, channels)).astype("uint8")
    picture = Image.fromarray(pixels.squeeze())
    changed = [augment.rand_augment_operations()[name](picture, s) for s in (-1.0, 0.6)]
    assert all((image.size, image.mode) == (picture.size, picture.mode) for image in changed)
    same = [np.array_equal(image, picture) for image in changed]
    assert not any(same) or (name == "color" and channels == 1)


def test_a_picture_is_moved_about_its_middle_and_grey_outside():
    y, x = np.mgrid[:12, :10].astype("uint8")
    operations = augment.rand_augment_operations()
    picture = Image.fromarray(10 * x)
    moved = np.asarray(operations["translate_x"](picture, 1.0)).astype(int)
    np.testing.assert_array_equal(moved[:, :7], 10 * (x[:, :7] + 3))
    np.testing.assert_array_equal(moved[:, 7:], 128)
    slanted = np.asarray(operations["shear_x"](picture, 0.5)).astype(float)
    expected = 10 * (x + 0.15 * (y - 5.5))
    np.testing.assert_allclose(slanted[3:-3, 3:-3], expected[3:-3, 3:-3], atol=1)


def test_rand_augment_draws_for_each_image_and_keeps_the_type():
    images = np.random.default_rng(0).integers(20, 200, (1, 12, 10, 3)).repeat(40, 0)
    for given in (images.astype("uint8"), images.astype("float32"), images[..., :1]):
        changed = changed_by("rand_augment", given)
        assert changed.shape == given.shape
        assert changed.dtype == given.dtype
        assert len(np.unique(changed, axis=0)) > 30
        np.testing.assert_array_equal(changed, changed_by("rand_augment", given))
    dark_and_bright = np.zeros((20, 12, 10, 3), "uint8")
    dark_and_bright[::2] = 250
    found = changed_by("rand_augment", dark_and_bright).reshape(20, -1)
    assert np.median(found[::2].max(1)) > 200 > 100 > np.median(found[1::2].min(1))


def test_crops_are_as_large_as_asked_and_held_out_images_are_cropped_in_the_middle():
    images, _ = batch_of(
        augmentation=["crop", "flip"], pad=0, image_size=(12, 10), crop_size=(7, 6)
    )
    assert images.shape == (8, 7, 6, 3)
    ramp = np.arange(5 * 6).reshape(1, 5, 6, 1)
    np.testing.assert_array_equal(center_crop(ramp, (3, 2)), ramp[:, 1:4, 2:4])
    np.testing.assert_array_equal(center_crop(ramp, (5, 6)), ramp)


def test_a_resized_crop_is_a_part_of_the_image_in_its_proportions():
    height, width = 16, 24
    y, x = np.mgrid[:height, :width].astype("float32")
    images = np.repeat(np.stack([y, x], -1)[None], 200, 0)  # each pixel says where it is
    crops = changed_by("resized_crop", images, crop_area=0.25)
    assert crops.shape == images.shape
    inner = crops[:, 4:-4, 4:-4]  # at the border of an image there is less to interpolate
    steps = np.diff(inner[:, :, 0, 0], axis=1), np.diff(inner[:, 0, :, 1], axis=1)
    share = steps[0].mean(1)
    np.testing.assert_allclose(steps[0], share[:, None] + 0 * steps[0], atol=1e-4)
    np.testing.assert_allclose(steps[1], share[:, None] + 0 * steps[1], atol=1e-4)
    assert 0.5 - 1e-3 < share.min() < 0.6  # a quarter of the area is half of each side
    assert 0.9 < share.max() < 1 + 1e-3
    middle = crops[:, 7:9, 11:13].mean((1, 2)) - [(height - 1) / 2, (width - 1) / 2]
    reach = 0.5 * (1 - share[:, None]) * [height, width]
    assert (np.abs(middle) <= reach + 1e-3).all()
    assert (np.abs(middle) > 0.8 * reach).any(0).all()
    whole = changed_by("resized_crop", images, crop_area=1.0)
    np.testing.assert_allclose(whole, images, atol=1e-4)


def test_labels_that_are_not_one_hot_would_be_spoilt_by_mixup_so_they_are():
    _, labels = batch_of(mix="mixup")
    assert labels.dtype == "float32"
    assert keras.ops.shape(labels) == (8, 4)
