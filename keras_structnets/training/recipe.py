"""A recipe: everything that decides what a training run does, in one TOML file."""

import dataclasses
import inspect
import math
import pathlib
import tomllib
from collections.abc import Sequence
from typing import Any, Self

import keras

from keras_structnets import checks
from keras_structnets.signatures import Path
from keras_structnets.training import _io
from keras_structnets.training.augment import FLIPS, MIXES, OPERATIONS
from keras_structnets.training.optimizers import OPTIMIZERS, SCHEDULES, optimizer

CHOICES = {
    "optimizer": OPTIMIZERS,
    "schedule": SCHEDULES,
    "flip": FLIPS,
    "mix": MIXES,
    "pretrain": ("none", "whitening", "mixture", "log_density"),
    "select": ("last", "best_val_loss"),
}


@dataclasses.dataclass(frozen=True)
class Recipe:
    """What to train, on what, and how.

    Args:
        model: a name of the zoo; or a trained model to train further, a `.keras` file or the folder of
            a run or of `structnets convert`.
        dataset: "digits", "cifar10", "cifar100", "svhn", "stl10", "tiny_imagenet", or the path of a
            folder with one sub-folder of images per class, of such a folder as .tar or .zip, or of a
            .npz, see `load`.
        epochs: passes over the training images.
        batch_size: images per step.
        optimizer: "adam", "adamw", "sgd" or "nesterov" (SGD with Nesterov momentum 0.9).
        learning_rate: the initial learning rate, or with a warm-up the highest.
        schedule: "constant"; "cosine", down to zero at the end; "one_cycle", a linear rise from 1/25 of
            the rate over the first 30% of the steps, then a cosine down to zero (Smith and Topin 2019);
            or "step", times `drop_factor` after each of `drop_epochs`.
        warmup_epochs: epochs in which the rate of "cosine" rises from zero, or that of "one_cycle" from
            1/25. With 0, "cosine" has no warm-up, and that of "one_cycle" takes 30% of the steps.
        drop_epochs: epochs after which the step schedule lowers the rate.
        drop_factor: the step schedule multiplies the rate by this factor.
        weight_decay: decoupled weight decay, as in AdamW: each step subtracts `learning_rate *
            weight_decay * weight` from each weight.
        l2: L2 regularization: `l2 * weight` is added to the gradient of each weight, as by `weight_decay`
            in Caffe and in the papers. With a momentum of 0.9 it acts like a `weight_decay` ten times as
            large.
        clipnorm: the gradient of each weight is clipped to this norm, see `keras.optimizers.Optimizer`;
            0 for no clipping.
        augmentation: operations, applied in this order: "crop" pads each image with zeros and crops it at
            a random place; "flip" mirrors half of the images; "resized_crop" resizes a random part of
            each image to the whole size; "rand_augment" applies two random operations of RandAugment
            (Cubuk et al. 2019) to each image. `augment.register` adds others.
        pad: number of pixels that "crop" adds on each side.
        flip: which images "flip" mirrors: "random", a random half in each epoch; "alternate", each image in
            every second epoch, beginning with the first or the second at random.
        crop_size: (height, width) of the crops and of the model's input, at most `image_size`, (steps,) for
            series, (depth, height, width) for volumes; None for whole images. Validation images are cropped
            in the middle.
        crop_area: smallest area of a resized crop, as a fraction of the image's area.
        small_crop_size: a smaller `crop_size` for the first `small_crop_epochs`, for models whose weights do
            not depend on the image size; None for no small crops.
        small_crop_epochs: epochs of training on small crops.
        mix: "none", or "mixup" or "cutmix" by Keras' layers of these names.
        label_smoothing: fraction of each label that is spread over all classes.
        ema: momentum of an exponential moving average of the weights. The average is validated and saved
            instead of the weights. 0 for no average.
        select: the epoch whose weights and accuracy are kept: "last"; or "best_val_loss", the epoch of the
            lowest validation loss, whose validation accuracy is slightly optimistic.
        normalize: whether to normalize pixels by ImageNet's mean and standard deviation; False only
            divides them by 255.
        pretrain: unsupervised pre-training of a SimNet on the training images: "none"; "whitening" of its
            convolutions; "mixture" of its templates too; or "log_density" of all that section 5 of the
            paper describes, see `keras_structnets.pretraining.pretrain`.
        pretrain_temperature: with "log_density", weights and offsets are divided by it; 1 for the log
            densities of the paper.
        pretrain_offset_spread: with "log_density", the deviation of the random part of the offsets.
        pretrain_reg: with a mixture, the smallest variance of a component.
        weights: the data set of a record of the model, such as "cifar10", or the path of a weights file, to
            start from; None for random weights. Without `image_size`, images are resized to the
            size of the record. For other classes the classifier starts from random weights.
        freeze: whether to train only the classifier; all other weights stay as they are in `weights`.
        teacher: a trained model to distill: the folder of a run, the name or folder of a record, or a
            `.keras` file, for the same input shape and classes. Use the teacher's own split of the data
            set. Otherwise it was trained on some of the validation images.
        distillation: weight of the teacher's loss, between 0 and 1; the labels have the rest.
        distillation_temperature: both logits are divided by it in the teacher's loss, see
            `keras.distillation.LogitsDistillation`.
        seed: seed of the initial weights, and of the order and augmentation of the images.
        image_size: (height, width) to resize all images to; None for the size of the first image.
        channels: 1 for grey and 3 for colour images; None for colour if any image has it, see `load`.
        validation_fraction: fraction of each class of a folder that is used for validation.
        holdout_last_per_class: number of images of each class, the last by file name, that are used for
            validation instead.
        sizes: the architecture's own arguments, see `keras_structnets.zoo.info(model).sizes`.

    Raises:
        ValueError: for an invalid value, naming the key.

    Example:
        >>> recipe = ksn.training.Recipe("simnet_2layer", epochs=30, schedule="cosine")
        >>> recipe.write("recipe.toml")
        >>> ksn.training.Recipe.read("recipe.toml") == recipe
        True
    """

    model: str
    dataset: str = "digits"
    epochs: int = 20
    batch_size: int = 64
    optimizer: str = "adam"
    learning_rate: float = 1e-3
    schedule: str = "constant"
    warmup_epochs: float = 0.0
    drop_epochs: Sequence[int] = ()
    drop_factor: float = 0.1
    weight_decay: float = 0.0
    l2: float = 0.0
    clipnorm: float = 0.0
    augmentation: Sequence[str] = ()
    pad: int = 4
    flip: str = "random"
    crop_size: Sequence[int] | None = None
    crop_area: float = 0.64
    small_crop_size: Sequence[int] | None = None
    small_crop_epochs: int = 0
    mix: str = "none"
    label_smoothing: float = 0.0
    ema: float = 0.0
    select: str = "last"
    normalize: bool = True
    pretrain: str = "none"
    pretrain_temperature: float = 1.0
    pretrain_offset_spread: float = 1.0
    pretrain_reg: float = 1e-3
    weights: str | None = None
    freeze: bool = False
    teacher: str | None = None
    distillation: float = 0.5
    distillation_temperature: float = 3.0
    seed: int = 0
    image_size: Sequence[int] | None = None
    channels: int | None = None
    validation_fraction: float = 0.2
    holdout_last_per_class: int = 0
    sizes: dict[str, Any] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        for names, check in _CHECKS.items():
            for name in names.split():
                object.__setattr__(self, name, check(name, getattr(self, name)))
        warms_up = self.schedule in ("cosine", "one_cycle")
        if self.warmup_epochs and (not warms_up or self.warmup_epochs >= self.epochs):
            raise ValueError(
                f"Recipe: `warmup_epochs` is {self.warmup_epochs:g} with schedule={self.schedule!r} "
                f"and epochs={self.epochs}. Use it with 'cosine' or 'one_cycle', and fewer than `epochs`."
            )
        if bool(self.small_crop_size) != bool(self.small_crop_epochs) or (
            self.small_crop_epochs >= self.epochs
        ):
            raise ValueError(
                f"Recipe: `small_crop_size` is {self.small_crop_size} and `small_crop_epochs` "
                f"{self.small_crop_epochs}, with epochs={self.epochs}. Give both, and fewer than `epochs`."
            )
        if self.small_crop_size and self.select != "last":
            raise ValueError(
                f"Recipe: `select` {self.select!r} would compare losses on images of two sizes. Leave "
                "`small_crop_size` out, or use select='last'."
            )
        if self.weights is None and self.freeze:
            raise ValueError(
                "Recipe: `freeze` is True without `weights`, and would keep random ones. Give `weights`, the "
                "data set of a record, or use freeze=False."
            )
        if self.weights is not None and self.pretrain != "none":
            raise ValueError(
                f"Recipe: `pretrain` {self.pretrain!r} would replace the `weights` {self.weights!r}. Use one "
                "of the two."
            )
        self._fits("crop_size", self.image_size or (0, 0))
        self._fits("small_crop_size", self.crop_size or self.image_size or (math.inf, math.inf))

    def _fits(self, name, size):
        crop = getattr(self, name)
        fits_rank = crop and len(crop) == len(size)  # else the data says what it takes
        if fits_rank and any(c > n for c, n in zip(crop, size, strict=True)):
            raise ValueError(
                f"Recipe: `{name}` is {crop} with image_size={self.image_size} and crop_size="
                f"{self.crop_size}. Use crops that are smaller, or give a larger image_size."
            )

    @classmethod
    def read(cls, path: Path) -> Self:
        """The recipe in the TOML file `path`."""
        return cls.from_text(
            pathlib.Path(path).read_text(encoding="utf-8"), f"Recipe {str(path)!r}"
        )

    @classmethod
    def from_text(cls, text: str, owner: str = "Recipe") -> Self:
        """The recipe in the TOML `text`; `owner` names it in errors."""
        try:
            values = tomllib.loads(text)
        except ValueError as error:
            raise ValueError(f"{owner} is not TOML: {error}.") from error
        known = [field.name for field in dataclasses.fields(cls)]
        for name in values:
            checks.one_of(owner, "key", name, known)
        if "model" not in values:
            raise ValueError(
                f'{owner}: the key `model` is missing. Add for example model = "simnet_2layer".'
            )
        return cls(**values)

    def write(self, path: Path, header: str = "") -> None:
        """Write the TOML file `path`; `header` goes on top as comments."""
        _io.write(path, self.text(header))

    def text(self, header: str = "") -> str:
        """The recipe as TOML; `header` goes on top as comments."""
        values = {k: v for k, v in dataclasses.asdict(self).items() if v is not None}
        if not values["sizes"]:
            del values["sizes"]
        comments = [f"# {line}\n" for line in header.splitlines()]
        return "".join(comments) + _io.require("tomli_w").dumps(values)

    def difference(self, other: Self) -> list[str]:
        """The keys whose values differ from those of another recipe."""
        values = dataclasses.asdict(other)
        return [key for key, value in dataclasses.asdict(self).items() if value != values[key]]

    def make_optimizer(self, steps_per_epoch: int) -> keras.optimizers.Optimizer:
        """The Keras optimizer, its rate following the schedule."""
        return optimizer(self, steps_per_epoch)


def _text_or_none(name, value):
    return None if value is None else _text(name, value)


def _text(name, value):
    return _of_type(str, "a text", name, value)


def _bool(name, value):
    return _of_type(bool, "true or false", name, value)


def _integer(minimum):
    return lambda name, value: checks.integer("Recipe", name, value, minimum)


def _number(low=0.0, high=math.inf, includes=()):
    """A float in the open interval (low, high), or one of the ends in `includes`."""

    def check(name, value):
        is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if not is_number or not (low < value < high or value in includes):
            left, right = ("[" if low in includes else "("), ("]" if high in includes else ")")
            raise ValueError(
                f"Recipe: `{name}` must be a number in {left}{low:g}, {high:g}{right}, got {value!r}."
            )
        return float(value)

    return check


def _choice(name, value):
    return checks.one_of("Recipe", name, value, CHOICES[name])


def _epochs(name, value):
    values = tuple(value) if isinstance(value, (list, tuple)) else (value,)
    values = tuple(checks.integer("Recipe", name, v) for v in values)
    if list(values) != sorted(set(values)):
        raise ValueError(
            f"Recipe: `{name}` must increase, got {value!r}. Use for example [60, 80]."
        )
    return values


def _operations(name, value):
    _of_type((list, tuple), 'a list of operations, as ["crop", "flip"]', name, value)
    return tuple(checks.one_of("Recipe", name, operation, OPERATIONS) for operation in value)


def _sizes(name, value):
    _of_type(dict, "a table, as { channels = 32 }", name, value)
    if value:
        from keras_structnets import zoo  # imports Keras
    for key in value:
        if key in inspect.signature(zoo.build).parameters:
            raise ValueError(
                f"Recipe: `{name}` has {key!r}, which is an argument of `build` and no size. "
                "Use the arguments of the model alone, see `info(model).sizes`."
            )
    return dict(value)


def _of_type(kind, what, name, value):
    if not isinstance(value, kind) or value == "":
        raise ValueError(f"Recipe: `{name}` must be {what}, got {value!r}.")
    return value


def _image_size(name, value):
    return None if value is None else checks.integers("Recipe", name, value, 2)


def _crop_size(name, value):
    if value is None:
        return None
    rank = len(value) if isinstance(value, (list, tuple)) and 1 <= len(value) <= 3 else 2
    return checks.integers("Recipe", name, value, rank)


def _channels(name, value):
    return None if value is None else checks.one_of("Recipe", name, value, (1, 3))


_CHECKS = {
    "model dataset": _text,
    "weights teacher": _text_or_none,
    "freeze normalize": _bool,
    "epochs batch_size": _integer(1),
    "pad small_crop_epochs seed holdout_last_per_class": _integer(0),
    "optimizer schedule flip mix pretrain select": _choice,
    "learning_rate drop_factor distillation_temperature": _number(),
    "pretrain_temperature pretrain_reg": _number(),
    "warmup_epochs weight_decay l2 clipnorm pretrain_offset_spread": _number(includes=(0,)),
    "crop_area distillation": _number(0, 1, includes=(1,)),
    "label_smoothing ema": _number(0, 1, includes=(0,)),
    "validation_fraction": _number(0, 1),
    "drop_epochs": _epochs,
    "augmentation": _operations,
    "image_size": _image_size,
    "crop_size small_crop_size": _crop_size,
    "channels": _channels,
    "sizes": _sizes,
}
