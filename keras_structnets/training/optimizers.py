"""Optimizers and learning rate schedules of recipes, by name."""

import keras


def _with_l2(base):
    """`base` with an option `l2`: that share of each weight is added to its (clipped) gradient."""

    @keras.saving.register_keras_serializable("keras_structnets", f"{base.__name__}WithL2")
    class WithL2(base):
        def __init__(self, *arguments, l2=0.0, **options):
            super().__init__(*arguments, **options)
            self.l2 = l2

        def update_step(self, gradient, variable, learning_rate):
            gradient = gradient + self.l2 * keras.ops.cast(variable, gradient.dtype)
            super().update_step(gradient, variable, learning_rate)

        def get_config(self):
            return super().get_config() | {"l2": self.l2}

    return WithL2


_OPTIMIZERS = {  # by name: the class, and options
    "adam": (keras.optimizers.Adam, {}),
    "adamw": (keras.optimizers.AdamW, {}),
    "sgd": (keras.optimizers.SGD, {}),
    "nesterov": (keras.optimizers.SGD, {"momentum": 0.9, "nesterov": True}),
}
OPTIMIZERS = tuple(_OPTIMIZERS)
SCHEDULES = ("constant", "cosine", "one_cycle", "step")
_WITH_L2 = {kind: _with_l2(kind) for kind, _ in _OPTIMIZERS.values()}


def optimizer(recipe, steps_per_epoch):
    """The recipe's Keras optimizer, its rate following the schedule."""
    kind, options = _OPTIMIZERS[recipe.optimizer]
    options = options | {"weight_decay": recipe.weight_decay, "clipnorm": recipe.clipnorm or None}
    if kind is not keras.optimizers.AdamW:  # which refuses None
        options["weight_decay"] = recipe.weight_decay or None
    if recipe.ema:
        options |= {"use_ema": True, "ema_momentum": recipe.ema}
    if recipe.l2:
        kind, options["l2"] = _WITH_L2[kind], recipe.l2
    return kind(_schedule(recipe, steps_per_epoch), **options)


def _schedule(recipe, steps_per_epoch):
    """The learning rate, or how it follows the steps."""
    rate, schedules = recipe.learning_rate, keras.optimizers.schedules
    if recipe.schedule == "step" and recipe.drop_epochs:
        rates = [rate * recipe.drop_factor**i for i in range(len(recipe.drop_epochs) + 1)]
        ends = [epoch * steps_per_epoch for epoch in recipe.drop_epochs]
        return schedules.PiecewiseConstantDecay(ends, rates)
    if recipe.schedule not in ("cosine", "one_cycle"):
        return rate
    one_cycle = recipe.schedule == "one_cycle"
    rise = recipe.warmup_epochs or (0.3 * recipe.epochs if one_cycle else 0)
    steps, warmup = recipe.epochs * steps_per_epoch, round(rise * steps_per_epoch)
    if not warmup:
        return schedules.CosineDecay(rate, steps)
    start = rate / 25 if one_cycle else 0.0
    return schedules.CosineDecay(start, steps - warmup, warmup_target=rate, warmup_steps=warmup)
