"""What the zoo puts before and after the body of a network: pixels, pooling, classifier."""

import keras

from keras_structnets import checks
from keras_structnets.ranks import of_rank, rank_of
from keras_structnets.signatures import Identifier, Tensor

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

POOLINGS = {"avg": "GlobalAveragePooling", "max": "GlobalMaxPooling"}


def dense_head(features: Tensor, num_classes: int) -> Tensor:
    """Global average pooling and a dense layer: [b, *spatial, c] -> logits [b, num_classes]."""
    x = pooled(features, "avg")
    return keras.layers.Dense(num_classes, name="logits")(x)


def classifier(logits: Tensor, activation: Identifier) -> Tensor:
    """The activation of the outputs, in float32."""
    return keras.layers.Activation(activation, dtype="float32", name="classifier")(logits)


def pooled(features: Tensor, pooling: str | None) -> Tensor:
    """Features [b, c]; those of a network on vectors are already."""
    if pooling is None or len(features.shape) == 2:
        return features
    layer = of_rank(keras.layers, POOLINGS[pooling], rank_of(features))
    return layer(name="global_pooling")(features)


def preprocess(pixels: Tensor, how: bool | str = True) -> Tensor:
    """Raw pixels to ImageNet's mean and deviation, or to -1..1 where there are not three channels.

    With "rescale" to 0..1.
    """
    if how is not True:
        checks.one_of("build", "include_preprocessing", how, ("rescale",))
        return keras.layers.Rescaling(1 / 255, name="pixel_normalization")(pixels)
    if pixels.shape[-1] != 3:
        return keras.layers.Rescaling(1 / 127.5, -1.0, name="pixel_normalization")(pixels)
    scale = [1 / (255 * std) for std in IMAGENET_STD]
    offset = [-mean / std for mean, std in zip(IMAGENET_MEAN, IMAGENET_STD, strict=True)]
    return keras.layers.Rescaling(scale, offset, name="pixel_normalization")(pixels)
