"""Pairs of a convolution and a similarity, which pre-training initializes together."""

import dataclasses

import keras

from keras_structnets import layers

_CONVOLUTIONS = (keras.layers.Conv1D, keras.layers.Conv2D, keras.layers.Conv3D)
_SIMILARITIES = (layers.Similarity1D, layers.Similarity2D, layers.Similarity3D)
_PASSED = (  # between a convolution and its similarity; the identity when the model predicts
    keras.layers.Dropout,
    keras.layers.GaussianDropout,
    keras.layers.GaussianNoise,
)


@dataclasses.dataclass(frozen=True)
class Pair:
    """A convolution, normalizations before and after it (or None), its similarity, a MEX after that."""

    before: keras.layers.Layer | None
    convolution: keras.layers.Layer
    normalization: keras.layers.Layer | None
    similarity: keras.layers.Layer
    mex: keras.layers.Layer | None


def find_pairs(model: keras.Model) -> list[Pair]:
    """The convolution -> 1x1 similarity pairs of a model, in the order of computation.

    Raises:
        ValueError: if there are none.

    Example:
        >>> convolution, similarity = keras.layers.Conv2D(4, 3), ksn.layers.Similarity2D(4)
        >>> model = keras.Sequential([keras.Input((8, 8, 1)), convolution, similarity])
        >>> pairs = ksn.pretraining.find_pairs(model)
        >>> pairs[0].convolution is convolution, pairs[0].similarity is similarity
        (True, True)
    """
    made_by = {id(layer.output): layer for layer in model.layers}
    pairs = []
    for similarity in model.layers:
        if not isinstance(similarity, _SIMILARITIES) or set(similarity.kernel_size) != {1}:
            continue
        source, normalization = _behind_normalization(similarity, made_by)
        if isinstance(source, _CONVOLUTIONS) and _is_affine(source):
            before = _behind_normalization(source, made_by)[1]
            followers = [a for a in model.layers if getattr(a, "input", None) is similarity.output]
            mex = next((a for a in followers if isinstance(a, layers.MEX)), None)
            pairs.append(Pair(before, source, normalization, similarity, mex))
    if not pairs:
        raise ValueError(
            f"pretrain: the `model` {model.name!r} has no convolution (with bias, without activation, "
            "in one group) followed by a 1x1 similarity. Use for example "
            "keras_structnets.zoo.build('simnet_2layer')."
        )
    return pairs


def _behind_normalization(layer, made_by):
    """What makes the input of `layer`, noise and normalization aside, and that normalization or None."""
    source, normalization = made_by.get(id(layer.input)), None
    while isinstance(source, (*_PASSED, keras.layers.BatchNormalization)):
        if isinstance(source, keras.layers.BatchNormalization):
            normalization = source
        source = made_by.get(id(source.input))
    return source, normalization


def _is_affine(convolution):
    linear = convolution.activation in (None, keras.activations.linear)
    return linear and convolution.use_bias and convolution.groups == 1
