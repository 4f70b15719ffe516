"""Data sets of scikit-learn and Keras: digits, CIFAR-10 and CIFAR-100."""

import keras

from keras_structnets.training._io import require
from keras_structnets.training.datasets.registry import Source, register

CIFAR10 = "airplane automobile bird cat deer dog frog horse ship truck"
CIFAR100 = """apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus
butterfly camel can castle caterpillar cattle chair chimpanzee clock cloud cockroach couch crab crocodile
cup dinosaur dolphin elephant flatfish forest fox girl hamster house kangaroo keyboard lamp lawn_mower
leopard lion lizard lobster man maple_tree motorcycle mountain mouse mushroom oak_tree orange orchid otter
palm_tree pear pickup_truck pine_tree plain plate poppy porcupine possum rabbit raccoon ray road rocket
rose sea seal shark shrew skunk skyscraper snail snake spider squirrel streetcar sunflower sweet_pepper
table tank telephone television tiger tractor train trout tulip turtle wardrobe whale willow_tree wolf
woman worm"""


@register("digits", title="Digits")
def digits():
    """scikit-learn's 1797 scans of handwritten digits, 8x8, of 17 grey levels."""
    data = require("sklearn.datasets").load_digits()
    images = data.images[..., None].astype("float32") * (255 / 16)
    return Source(images, data.target.astype("int32"), [str(name) for name in data.target_names])


@register("cifar10", title="CIFAR-10")
def cifar10():
    """60,000 photos of 10 classes, 32x32 (Krizhevsky 2009)."""
    return _source(keras.datasets.cifar10.load_data(), CIFAR10.split())


@register("cifar100", title="CIFAR-100")
def cifar100():
    """60,000 photos of 100 classes, 32x32 (Krizhevsky 2009)."""
    return _source(keras.datasets.cifar100.load_data(), CIFAR100.split())


def _source(parts, names):
    (x, y), (x_val, y_val) = parts
    return Source(x, y.reshape(-1).astype("int32"), names, x_val, y_val.reshape(-1).astype("int32"))
