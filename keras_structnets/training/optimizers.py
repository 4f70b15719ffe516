"""Optimizers and learning rate schedules of recipes, by name."""

import functools

import keras

OPTIMIZERS = {
    "adam": keras.optimizers.Adam,
    "adamw": keras.optimizers.AdamW,
    "sgd": keras.optimizers.SGD,
    "nesterov": functools.partial(keras.optimizers.SGD, momentum=0.9, nesterov=True),
}


def optimizer(recipe, steps_per_epoch):
    """The recipe's Keras optimizer, its rate following the schedule."""
    options = {"weight_decay": recipe.weight_decay or None, "clipnorm": recipe.clipnorm or None}
    if recipe.optimizer == "adamw":  # refuses None
        options["weight_decay"] = recipe.weight_decay
    if recipe.ema:
        options |= {"use_ema": True, "ema_momentum": recipe.ema}
    rate = SCHEDULES[recipe.schedule](recipe, steps_per_epoch)
    return OPTIMIZERS[recipe.optimizer](rate, **options)


def _constant(recipe, steps_per_epoch):
    return recipe.learning_rate


def _cosine(recipe, steps_per_epoch):
    steps, warmup = recipe.epochs * steps_per_epoch, recipe.warmup_epochs * steps_per_epoch
    return _rise_and_fall(recipe.learning_rate, 0.0, steps, round(warmup))


def _one_cycle(recipe, steps_per_epoch):
    steps, rise = recipe.epochs * steps_per_epoch, recipe.warmup_epochs or 0.3 * recipe.epochs
    return _rise_and_fall(
        recipe.learning_rate, recipe.learning_rate / 25, steps, round(rise * steps_per_epoch)
    )


def _rise_and_fall(rate, start, steps, warmup):
    if not warmup:
        return keras.optimizers.schedules.CosineDecay(rate, steps)
    return keras.optimizers.schedules.CosineDecay(
        start, steps - warmup, warmup_target=rate, warmup_steps=warmup
    )


def _step(recipe, steps_per_epoch):
    if not recipe.drop_epochs:
        return recipe.learning_rate
    return keras.optimizers.schedules.PiecewiseConstantDecay(
        [epoch * steps_per_epoch for epoch in recipe.drop_epochs],
        [recipe.learning_rate * recipe.drop_factor**i for i in range(len(recipe.drop_epochs) + 1)],
    )


SCHEDULES = {"constant": _constant, "cosine": _cosine, "one_cycle": _one_cycle, "step": _step}
