"""A recipe: everything that decides what a training run does, in one TOML file."""

import dataclasses
import json
import pathlib
import tomllib
from collections.abc import Sequence
from typing import Any, Self

import keras

from keras_structnets import checks
from keras_structnets.signatures import Path
from keras_structnets.training import files
from keras_structnets.training.augment import AUGMENTATIONS, MIXES

OPTIMIZERS = {
    "adam": keras.optimizers.Adam,
    "adamw": keras.optimizers.AdamW,
    "sgd": keras.optimizers.SGD,
    "nesterov": lambda *args, **kwargs: keras.optimizers.SGD(
        *args, momentum=0.9, nesterov=True, **kwargs
    ),
}
CHOICES = {
    "optimizer": tuple(OPTIMIZERS),
    "schedule": ("constant", "cosine", "step"),
    "augmentation": AUGMENTATIONS,
    "mix": MIXES,
    "pretrain": ("none", "whitening", "mixture"),
}


@dataclasses.dataclass(frozen=True)
class Recipe:
    """What to train, on what, and how.

    Args:
        model: a name of the zoo.
        dataset: "digits", "cifar10", "cifar100", "svhn", "stl10", "tiny_imagenet", or the path of a
            folder with one sub-folder of images per class, of such a folder as .tar or .zip, or of a
            .npz, see `load`.
        epochs: passes over the training images.
        batch_size: images per step.
        optimizer: "adam", "adamw", "sgd" or "nesterov" (SGD with Nesterov momentum 0.9).
        learning_rate: the first learning rate.
        schedule: "constant"; "cosine", down to zero at the end; or "step", times `drop_factor`
            after each of `drop_epochs`.
        warmup_epochs: in which the rate of the cosine schedule first rises from zero.
        drop_epochs: epochs after which the step schedule lowers the rate.
        drop_factor: what the step schedule multiplies the rate by.
        weight_decay: decay per step as a share of each weight, times the learning rate.
        augmentation: "none"; "crop", each image padded with zeros and cropped at a random place of
            its own; "crop_flip", the same and half of the images mirrored; "resized_crop_flip", a
            random part of each image resized to the whole, and half of them mirrored; "rand_augment",
            after "crop_flip" two operations of RandAugment (Cubuk et al. 2019), drawn for each batch.
        pad: pixels that the crop pads on each side.
        crop_size: (height, width) of the crops and of the model's input, at most `image_size`; None for
            whole images. Held-out images are cropped in the middle.
        crop_area: smallest share of the image's area that a resized crop takes.
        mix: "none", or "mixup" or "cutmix" by Keras' layers of these names.
        label_smoothing: share of each label that is spread over all classes.
        ema: momentum of an exponential moving average of the weights, which replaces them in
            validation and at the end; 0 for none.
        pretrain: what of a SimNet starts from the training images, without their labels: "none",
            "whitening" for its convolutions, or "mixture" for its similarities too.
        seed: of the initial weights and of the order and augmentation of the images.
        image_size: (height, width) that all images are resized to; None for that of the first one.
        validation_fraction: share of each class that is held out of a folder.
        holdout_last_per_class: hold out the last so many images of each class by file name instead.
        sizes: the architecture's own arguments, see `keras_structnets.zoo.info(model).sizes`.

    Raises:
        ValueError: for a value that cannot be, naming the key.

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
    augmentation: str = "none"
    pad: int = 4
    crop_size: Sequence[int] | None = None
    crop_area: float = 0.64
    mix: str = "none"
    label_smoothing: float = 0.0
    ema: float = 0.0
    pretrain: str = "none"
    seed: int = 0
    image_size: Sequence[int] | None = None
    validation_fraction: float = 0.2
    holdout_last_per_class: int = 0
    sizes: dict[str, Any] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, check in _CHECKS.items():
            object.__setattr__(self, name, check(name, getattr(self, name)))
        if self.warmup_epochs and (self.schedule != "cosine" or self.warmup_epochs >= self.epochs):
            raise ValueError(
                f"Recipe: `warmup_epochs` is {self.warmup_epochs:g} with schedule={self.schedule!r} "
                f"and epochs={self.epochs}. Use it with 'cosine', and fewer than `epochs`."
            )

        size = self.image_size or (0, 0)
        if self.crop_size and any(c > n for c, n in zip(self.crop_size, size, strict=True)):
            raise ValueError(
                f"Recipe: `crop_size` is {self.crop_size} with image_size={self.image_size}. Give an "
                "image_size that is at least as large."
            )

    @classmethod
    def read(cls, path: Path) -> Self:
        """The recipe in the TOML file `path`."""
        try:
            values = tomllib.loads(pathlib.Path(path).read_text(encoding="utf-8"))
        except ValueError as error:
            raise ValueError(f"Recipe: {str(path)!r} is not TOML: {error}.") from error
        known = [field.name for field in dataclasses.fields(cls)]
        for name in values:
            checks.one_of(f"Recipe {str(path)!r}", "key", name, known)
        if "model" not in values:
            raise ValueError(
                f"Recipe {str(path)!r}: the key `model` is missing. Add for example "
                'model = "simnet_2layer".'
            )
        return cls(**values)

    def write(self, path: Path, header: str = "") -> None:
        """Write the TOML file `path`; `header` goes on top as comments."""
        files.write(path, self.text(header))

    def text(self, header: str = "") -> str:
        """The recipe as TOML; `header` goes on top as comments."""
        values = {k: v for k, v in dataclasses.asdict(self).items() if v is not None}
        sizes = values.pop("sizes")
        lines = [f"# {line}" for line in header.splitlines()] + _lines(values)
        if sizes:
            lines += ["", "[sizes]", *_lines(sizes)]
        return "\n".join(lines) + "\n"

    def difference(self, other: Self) -> list[str]:
        """The keys whose values differ from those of another recipe."""
        values = dataclasses.asdict(other)
        return [key for key, value in dataclasses.asdict(self).items() if value != values[key]]

    def make_optimizer(self, steps_per_epoch: int) -> keras.optimizers.Optimizer:
        """The Keras optimizer, its rate following the schedule."""
        rate = self.learning_rate
        if self.schedule == "cosine":
            steps = self.epochs * steps_per_epoch
            warmup = round(self.warmup_epochs * steps_per_epoch)
            rising = {"warmup_target": rate, "warmup_steps": warmup} if warmup else {}
            rate = keras.optimizers.schedules.CosineDecay(
                0.0 if warmup else rate, steps - warmup, **rising
            )
        elif self.schedule == "step" and self.drop_epochs:
            rate = keras.optimizers.schedules.PiecewiseConstantDecay(
                [epoch * steps_per_epoch for epoch in self.drop_epochs],
                [rate * self.drop_factor**i for i in range(len(self.drop_epochs) + 1)],
            )
        average = {"use_ema": True, "ema_momentum": self.ema} if self.ema else {}
        return OPTIMIZERS[self.optimizer](rate, weight_decay=self.weight_decay or None, **average)


def _lines(values):
    """`key = value` of TOML for strings, numbers, booleans and lists of them."""
    return [f"{key} = {_toml(value)}" for key, value in values.items()]


def _toml(value):
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(_toml, value))}]"
    if isinstance(value, (bool, str)):
        return json.dumps(value, ensure_ascii=False)
    return repr(value)


def _text(name, value):
    if not isinstance(value, str) or not value:
        raise ValueError(f"Recipe: `{name}` must be a text, got {value!r}. See the zoo and README.")
    return value


def _integer(minimum):
    return lambda name, value: checks.integer("Recipe", name, value, minimum)


def _choice(name, value):
    return checks.one_of("Recipe", name, value, CHOICES[name])


def _positive(name, value):
    return checks.positive("Recipe", name, value)


def _fraction(name, value):
    if _positive(name, value) >= 1:
        raise ValueError(
            f"Recipe: `{name}` must be above 0 and below 1, got {value!r}. Use for example 0.2."
        )
    return float(value)


def _or(limit, check):
    """`check`, which leaves out one end of its range, and that end too."""

    def with_limit(name, value):
        is_limit = value == limit and not isinstance(value, bool)
        return float(limit) if is_limit else check(name, value)

    return with_limit


def _epochs(name, value):
    values = tuple(value) if isinstance(value, (list, tuple)) else (value,)
    values = tuple(checks.integer("Recipe", name, v) for v in values)
    if list(values) != sorted(set(values)):
        raise ValueError(
            f"Recipe: `{name}` must increase, got {value!r}. Use for example [60, 80]."
        )
    return values


def _image_size(name, value):
    return None if value is None else checks.integers("Recipe", name, value, 2)


def _table(name, value):
    if not isinstance(value, dict):
        raise ValueError(
            f"Recipe: `{name}` must be a table of the model's arguments, got {value!r}. "
            "Use for example sizes = { channels = 32 }."
        )
    return dict(value)


_CHECKS = {
    "model": _text,
    "dataset": _text,
    "epochs": _integer(1),
    "batch_size": _integer(1),
    "optimizer": _choice,
    "learning_rate": _positive,
    "schedule": _choice,
    "warmup_epochs": _or(0, _positive),
    "drop_epochs": _epochs,
    "drop_factor": _positive,
    "weight_decay": _or(0, _positive),
    "augmentation": _choice,
    "pad": _integer(0),
    "crop_size": _image_size,
    "crop_area": _or(1, _fraction),
    "mix": _choice,
    "label_smoothing": _or(0, _fraction),
    "ema": _or(0, _fraction),
    "pretrain": _choice,
    "seed": _integer(0),
    "image_size": _image_size,
    "validation_fraction": _fraction,
    "holdout_last_per_class": _integer(0),
    "sizes": _table,
}
