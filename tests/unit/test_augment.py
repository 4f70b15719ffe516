"""Augmentation: what changes, what stays, and that the same seed gives the same."""

import dataclasses

import keras
import numpy as np
import pytest
from PIL import Image, ImageFilter

from keras_structnets import training
from keras_structnets.training import transforms
from keras_structnets.training.augment import OPERATIONS, Batches, Draw, register
from keras_structnets.training.transforms import center_crop

RECIPE = training.Recipe("tiny", batch_size=4)


def test_each_image_is_cropped_at_a_place_of_its_own():
    images = np.arange(1, 1 + 64 * 5 * 4, dtype="int32").reshape(64, 5, 4, 1)
    crops = transforms.random_crops(images, np.random.default_rng(0), pad=2)
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
    recipe = dataclasses.replace(RECIPE, flip=flip)
    draw = Draw(np.random.default_rng(epoch), epoch, np.arange(len(images)), images.shape[1:3])
    changed = OPERATIONS["flip"](recipe)(images, draw)
    same = (changed == images).all((1, 2, 3))
    mirrored = (changed == images[:, :, ::-1]).all((1, 2, 3))
    assert (same ^ mirrored).all()
    return mirrored


@pytest.mark.parametrize("flip", ["random", "alternate"])
def test_half_of_the_images_are_mirrored(flip):
    images = np.random.default_rng(0).integers(0, 255, (200, 3, 4, 2)).astype("uint8")
    first, second, third = (flipped(images, flip, epoch) for epoch in range(3))
    assert 70 < first.sum() < 130
    assert (first == ~second).all() == (flip == "alternate")
    assert (first == third).all() == (flip == "alternate")


def test_no_padding_and_crops_of_the_whole_change_nothing():
    images = np.random.default_rng(0).integers(0, 255, (20, 3, 4, 2)).astype("uint8")
    crops = transforms.random_crops(images, np.random.default_rng(0), pad=0)
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


@pytest.mark.parametrize("name", transforms.rand_augment_operations())
def test_an_operation_of_rand_augment_changes_images_and_keeps_what_they_are(name):
    images = np.random.default_rng(0).integers(20, 200, (4, 12, 10, 3)).astype("uint8")
    operation = transforms.rand_augment_operations()[name]
    for given in (images, images.astype("float32"), images[..., :1]):
        changed, again = (operation(given, np.random.default_rng(1)) for _ in range(2))
        assert changed.shape == given.shape
        assert changed.dtype == given.dtype
        assert changed.min() >= 0
        assert changed.max() <= 255
        assert (changed != given).any(axis=(1, 2, 3)).all() or given.shape[-1] == 1
        np.testing.assert_array_equal(changed, again)


def test_rand_augment_has_the_operations_of_keras():
    layer, ours = keras.layers.RandAugment((0, 255)), transforms.rand_augment_operations()
    names = layer.get_random_transformation(np.zeros((1, 4, 4, 3), "float32"))["transforms"]
    theirs = {type(getattr(layer, name)) for name in names}
    moves = {"RandomShear", "RandomTranslation", "RandomRotation"}
    apart = moves | {"RandomSharpness", "Equalization"}
    taken = {type(o.layer) for o in ours.values() if isinstance(o, transforms.ByKeras)}
    assert taken == {kind for kind in theirs if kind.__name__ not in apart}
    assert len(ours) == len(theirs)


class Fixed:
    """A generator that draws the same for each image."""

    def __init__(self, *drawn):
        self.drawn = np.array(drawn)

    def uniform(self, low, high, size):
        assert (low <= self.drawn).all()
        assert (self.drawn <= high).all()
        return np.broadcast_to(self.drawn, size)


def test_images_are_turned_and_shifted_as_by_the_layers_of_keras():
    images = np.random.default_rng(0).uniform(0, 255, (2, 12, 10, 3)).astype("float32")
    for changed, layer in (
        (transforms.rotated(images, Fixed(0.15)), keras.layers.RandomRotation((-0.15, -0.15))),
        (
            transforms.translated(images, Fixed(0.3, -0.25)),
            keras.layers.RandomTranslation((0.25, 0.25), (-0.3, -0.3)),
        ),
    ):
        expected = keras.ops.convert_to_numpy(layer(images, training=True))
        np.testing.assert_allclose(changed, expected, atol=0.05)


def test_a_slanted_image_is_shifted_by_its_distance_from_the_middle():
    y, x = np.mgrid[:12, :10].astype("float32")
    images = np.stack([x, y], -1)[None]  # each pixel says where it is
    slanted = transforms.sheared(images, Fixed(0.2, -0.1))
    expected = np.stack([x + 0.2 * (y - 5.5), y - 0.1 * (x - 4.5)], -1)
    np.testing.assert_allclose(slanted[0, 3:-3, 3:-3], expected[3:-3, 3:-3], atol=1e-3)


def test_an_image_is_moved_without_a_look_at_the_one_below_it():
    images = np.zeros((20, 12, 10, 3), "uint8")
    images[::2] = 255  # bright and dark ones, one by one
    rng = np.random.default_rng(0)
    for change in (transforms.sheared, transforms.translated, transforms.rotated):
        np.testing.assert_array_equal(change(images, rng), images)
    np.testing.assert_array_equal(transforms.random_resized_crops(images, rng, area=0.5), images)


def test_an_image_is_smoothed_as_by_pillow():
    images = np.random.default_rng(0).integers(0, 256, (3, 7, 9, 3)).astype("uint8")
    smooth = np.stack([Image.fromarray(image).filter(ImageFilter.SMOOTH) for image in images])
    np.testing.assert_array_equal(transforms.sharpened(images, Fixed(1.0)), smooth)
    half = transforms.sharpened(images.astype("float32"), Fixed(0.5))
    np.testing.assert_allclose(half, images + 0.5 * (smooth - images.astype("float32")), atol=0.3)
    small = images[:, :2, :1]  # no pixel with eight neighbours
    np.testing.assert_array_equal(transforms.sharpened(small, Fixed(1.0)), small)


def test_an_image_is_equalized_by_itself_and_as_keras_does_it():
    rng = np.random.default_rng(0)
    dark, bright = rng.integers(0, 90, (7, 9, 3)), rng.integers(100, 256, (7, 9, 3))
    images = np.stack([dark, bright, np.full((7, 9, 3), 17)]).astype("float32")
    equal = transforms.equalized(images)
    layer = keras.layers.Equalization()
    for image, other in zip(images, equal, strict=True):
        alone = keras.ops.convert_to_numpy(layer(image[None]))[0]
        np.testing.assert_array_equal(other, alone)
    together = keras.ops.convert_to_numpy(layer(images))
    assert together[0].max() < 200 < equal[0].max()  # why it is not Keras' layer


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
    crops = transforms.random_resized_crops(images, np.random.default_rng(0), area=0.25)
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
    whole = transforms.random_resized_crops(images, np.random.default_rng(0), area=1.0)
    np.testing.assert_allclose(whole, images, atol=1e-4)


def test_labels_that_are_not_one_hot_would_be_spoilt_by_mixup_so_they_are():
    _, labels = batch_of(mix="mixup")
    assert labels.dtype == "float32"
    assert keras.ops.shape(labels) == (8, 4)
