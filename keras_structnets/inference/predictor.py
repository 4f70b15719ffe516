"""Fast prediction by a model whose weights do not change."""

from collections.abc import Callable

import keras
import numpy as np
from keras import ops

from keras_structnets import checks
from keras_structnets.inference.graph import graph as graph_of
from keras_structnets.signatures import Tensor


def predictor(model: keras.Model, batch_size: int = 32) -> Callable[[Tensor], np.ndarray]:
    """A function that predicts as `model.predict` does, without Keras' overhead in each call.

    It computes the inference form of the model, see `simplify`, by the fastest operations of the backend;
    a layer without a rule is called as it is. The weights are a snapshot: make a new predictor after you
    train the model or load weights. On TensorFlow the first call compiles, on JAX that for each new number
    of images.

    Shapes: images [n, *input] -> predictions [n, *output], for any n from 1 on.

    Args:
        model: a Functional or Sequential `keras.Model` of one input, whose size is known, and one output.
        batch_size: how many images are computed at a time. The intermediate results of 32 small images
            stay in the caches of a CPU; a GPU may do better with more.

    Returns:
        A function from images, an array of NumPy or a tensor, to a NumPy array.

    Raises:
        ValueError: for another kind of model; the function raises it for images of another shape.

    Example:
        >>> model = ksn.zoo.build("simnet_mlp", input_shape=(8, 8, 1))
        >>> predict = ksn.zoo.predictor(model)
        >>> images = np.random.default_rng(0).uniform(0, 255, (3, 8, 8, 1))
        >>> predict(images).shape
        (3, 10)
        >>> bool(np.allclose(predict(images), model.predict(images, verbose=0), atol=1e-5))
        True
    """
    size, dtype = size_and_type("predictor", model)
    batch_size = checks.integer("predictor", "batch_size", batch_size)
    graph = graph_of(model)

    def predict(images: Tensor) -> np.ndarray:
        images = images if hasattr(images, "shape") else np.asarray(images)
        if tuple(images.shape[1:]) != size or not images.shape[0]:
            raise ValueError(
                f"predictor: `images` must have the shape (n, {', '.join(map(str, size))}), n at least 1, "
                f"got {tuple(images.shape)}. Use images[None] for a single image."
            )
        batches = [
            images[start : start + batch_size] for start in range(0, images.shape[0], batch_size)
        ]
        outputs = [
            ops.convert_to_numpy(graph(ops.convert_to_tensor(batch, dtype))) for batch in batches
        ]
        return outputs[0] if len(outputs) == 1 else np.concatenate(outputs)

    return predict


def size_and_type(owner, model):
    """The size of an image, and its type, of a model of one input and one output."""
    if not isinstance(model, keras.Model):
        raise ValueError(
            f"{owner}: `model` must be a keras.Model, got {model!r}. "
            "Use for example keras_structnets.zoo.build(name)."
        )
    inputs, outputs = (
        [tuple(tensor.shape) for tensor in getattr(model, name, None) or ()]
        for name in ("inputs", "outputs")
    )
    if len(inputs) != 1 or len(outputs) != 1 or inputs[0][0] or None in inputs[0][1:]:
        raise ValueError(
            f"{owner}: `model` must have one input of known size, for any number of images, and one "
            f"output, got {inputs} -> {outputs}. Use a Functional or Sequential model that starts with "
            "keras.Input(shape)."
        )
    return inputs[0][1:], model.inputs[0].dtype
