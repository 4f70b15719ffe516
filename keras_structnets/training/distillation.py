"""Distillation: a model that learns from a teacher beside the labels."""

from typing import Any

import keras
import numpy as np

from keras_structnets.training.finetune import teacher_of
from keras_structnets.training.recipe import Recipe
from keras_structnets.training.saved import class_names, file_of

SMALLEST = 1e-30  # probabilities below it have no logarithm of use in float32
SAMPLE = 8  # images that show whether outputs are probabilities


def distilled(model: keras.Model, recipe: Recipe, data: Any) -> keras.Model:
    """A `Distiller` of `model` and the recipe's teacher; its outputs are logits.

    Raises:
        ValueError: if there is no such teacher, or it is for other images or classes.
    """
    teacher = _teacher(model, recipe, data)
    sample = data.x_val[:SAMPLE]
    return keras.distillation.Distiller(
        as_logits(teacher, sample),
        as_logits(model, sample),
        loss_of(recipe.distillation_temperature),
        student_loss_weight=1 - recipe.distillation,
    )


def loss_of(temperature: float) -> keras.distillation.DistillationLoss:
    """Divergence of both softmax distributions, times the square of the temperature.

    By its name, Keras 3.15 takes the divergence of the logits themselves.
    """
    return keras.distillation.LogitsDistillation(temperature, keras.losses.KLDivergence())


def _teacher(model, recipe, data):
    teacher, owner = teacher_of(recipe), f"train: the `teacher` {recipe.teacher!r}"
    if teacher.input_shape[1:] != model.input_shape[1:]:
        raise ValueError(
            f"{owner} takes inputs of {teacher.input_shape[1:]}, and {recipe.model!r} of "
            f"{model.input_shape[1:]}. Give the `image_size` and `channels` of the teacher."
        )
    names = class_names(file_of(recipe.teacher))
    if teacher.output_shape != model.output_shape or names not in (None, data.class_names):
        raise ValueError(
            f"{owner} knows {teacher.output_shape[-1]} classes, {names or 'without names'}, and "
            f"{recipe.dataset!r} has {data.class_names}. Give a teacher of the same classes in the same "
            "order."
        )
    return teacher


def as_logits(model: keras.Model, sample: np.ndarray) -> keras.Model:
    """The model; or one on the same layers with the logarithms of its outputs, if these are probabilities."""
    if not gives_probabilities(model, sample):
        return model
    y = keras.ops.maximum(keras.ops.cast(model.outputs[0], "float32"), SMALLEST)
    return keras.Model(model.inputs, keras.ops.log(y))


def gives_probabilities(model: keras.Model, sample: np.ndarray) -> bool:
    """Whether the outputs for some images are shares that sum to 1."""
    y = keras.ops.convert_to_numpy(model(sample, training=False)).astype("float64")
    return bool(y.min() >= 0 and np.allclose(y.sum(axis=-1), 1, atol=1e-2))
