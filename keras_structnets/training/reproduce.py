"""The result tables of the papers as recipes: one row for each printed accuracy.

| table | rows |
|---|---|
| `lowcost-table2` | Low-cost parameterizations, Table 2 |
| `gconv-table2`, `gconv-table2-unaugmented` | GConvNets, Table 2, with and without augmentation |
| `simnets-table1` | Deep SimNets, Table 1 (section 6.3) |
| `simnets-table2` | Deep SimNets, Table 2 (section 6.4) |
| `simnets-section6.4` | the compact networks at the end of section 6.4 |
| `simnets-figure2b` | one-layer networks by number of channels (section 6.2); the figure prints no numbers |
"""

import dataclasses
from collections.abc import Iterator
from typing import Any

from keras_structnets import checks, zoo
from keras_structnets.training.recipe import Recipe
from keras_structnets.zoo.papers import GCONV_TABLE_2


@dataclasses.dataclass(frozen=True)
class Row:
    """One row of a result table.

    Attributes:
        table: a name of `TABLES`.
        model: the network, with the number of its channels for the rows of a figure.
        dataset: a name that `training.load` knows.
        recipe: trains it as the paper describes.
        accuracy: what the paper prints, in percent; None if it prints no number.
    """

    table: str
    model: str
    dataset: str
    recipe: Recipe
    accuracy: float | None = None

    def shortened(self, epochs: int) -> Recipe:
        """The recipe with fewer epochs; its drops of the learning rate come earlier in proportion."""
        share = epochs / self.recipe.epochs
        drops = tuple(sorted({max(1, round(share * drop)) for drop in self.recipe.drop_epochs}))
        return dataclasses.replace(self.recipe, epochs=epochs, drop_epochs=drops)

    def in_short(self) -> dict[str, str | None]:
        """The row as the command line lists it."""
        printed = None if self.accuracy is None else f"{self.accuracy}%"
        return {
            "table": self.table,
            "model": self.model,
            "data": self.dataset,
            "paper's accuracy": printed,
        }


# Section 4: Adam, 300 epochs, mini-batches of 100, rate 0.01 halved every 60 epochs
LOWCOST: dict[str, Any] = {
    "epochs": 300,
    "batch_size": 100,
    "learning_rate": 0.01,
    "schedule": "step",
    "drop_epochs": (60, 120, 180, 240),
    "drop_factor": 0.5,
    "augmentation": ("resized_crop", "flip"),
}
# Section 4: Adam at 1e-3, mini-batches of 32; Table 2: the accuracy at the epoch of the lowest validation
# loss, whose number is printed; section 4.1: images resized to 42x42, crops of 38x38, flips;
# section 4.3 (Tiny ImageNet): 80x80 and 64x64
GCONV: dict[str, Any] = {"batch_size": 32, "learning_rate": 1e-3, "select": "best_val_loss"}
UNAUGMENTED: dict[str, Any] = {"normalize": False}  # section 4
GCONV_CROPS = {"cifar10": (42, 38), "cifar100": (42, 38), "tiny_imagenet": (80, 64)}
# Section 6.1
SIMNETS: dict[str, Any] = {
    "epochs": 300,
    "batch_size": 128,
    "optimizer": "nesterov",
    "learning_rate": 0.01,
    "schedule": "step",
    "drop_epochs": (200, 250),
    "weight_decay": 1e-4,
}
# Section 6.3: "the values that come built-in to Caffe". These are the settings of its solver
# cifar10_full: 60,000, 5,000 and 5,000 steps of 100 images.
CAFFE: dict[str, Any] = {
    "epochs": 140,
    "batch_size": 100,
    "optimizer": "sgd",
    "learning_rate": 1e-3,
    "schedule": "step",
    "drop_epochs": (120, 130),
    "weight_decay": 4e-3,
}
AUGMENTED: dict[str, Any] = {"augmentation": ("crop", "flip")}
MIXTURE: dict[str, Any] = {"pretrain": "mixture"}


def rows(
    table: str | None = None, model: str | None = None, dataset: str | None = None
) -> list[Row]:
    """The rows of one table, network and data set; None for all.

    Raises:
        ValueError: if there is none.

    Example:
        >>> from keras_structnets.training import reproduce
        >>> reproduce.rows("lowcost-table2", "explicit_rd_a", "cifar10")[0].accuracy
        88.9
    """
    chosen = [row for name in TABLES for row in TABLES[name](name)]
    for key, value in (("table", table), ("model", model), ("dataset", dataset)):
        choices = list(dict.fromkeys(getattr(row, key) for row in chosen))
        if value is not None and value not in choices:
            raise ValueError(
                f"reproduce: there is no `{key}` {value!r}.{checks.did_you_mean(value, choices)} "
                f"Use one of {', '.join(choices)}."
            )
        chosen = [row for row in chosen if value in (None, getattr(row, key))]
    return chosen


def _lowcost(table: str) -> Iterator[Row]:
    for name in zoo.list_models():
        info = zoo.info(name)
        if info.paper == "Low-cost parameterizations":
            for dataset, accuracy in info.printed_accuracy.items():
                yield _row(table, name, dataset, LOWCOST, accuracy=accuracy)


def _gconv(table: str) -> Iterator[Row]:
    for dataset, printed in GCONV_TABLE_2.items():
        resized, crop = GCONV_CROPS[dataset]
        augmented = {
            "image_size": (resized, resized),
            "crop_size": (crop, crop),
            "pad": 0,
            **AUGMENTED,
        }
        for name, (_, accuracy, _, epochs, _) in printed.items():
            yield _row(
                table, name, dataset, GCONV, augmented, {"epochs": epochs}, accuracy=accuracy
            )


def _gconv_unaugmented(table: str) -> Iterator[Row]:
    for dataset, printed in GCONV_TABLE_2.items():
        for name, (_, _, accuracy, _, epochs) in printed.items():
            options = UNAUGMENTED | {"epochs": epochs}
            yield _row(table, name, dataset, GCONV, options, accuracy=accuracy)


def _simnets_table_1(table: str) -> Iterator[Row]:
    for dataset in ("cifar10", "svhn", "cifar100"):
        yield _row(table, "caffe_convnet", dataset, CAFFE)
        yield _row(table, "simnet_2layer", dataset, SIMNETS, MIXTURE)


def _simnets_table_2(table: str) -> Iterator[Row]:
    yield _row(table, "nin", "cifar10", SIMNETS, AUGMENTED)
    yield _row(table, "simnet_3layer", "cifar10", SIMNETS, AUGMENTED, MIXTURE)


def _simnets_compact(table: str) -> Iterator[Row]:
    yield _row(table, "nin_compact", "cifar10", SIMNETS, AUGMENTED)
    yield _row(table, "simnet_3layer_compact", "cifar10", SIMNETS, AUGMENTED, MIXTURE)


def _simnets_figure_2b(table: str) -> Iterator[Row]:
    for name, size, most, options in (
        ("convnet_1layer", "filters", 3200, {}),
        ("simnet_1layer_l1", "templates", 800, MIXTURE),
        ("simnet_1layer_l2", "templates", 800, MIXTURE),
    ):
        for n in (50, 100, 200, 400, 800, 1600, 3200):
            if n <= most:
                recipe = Recipe(name, "cifar10", sizes={size: n}, **SIMNETS, **options)
                yield Row(table, f"{name}_{n}", "cifar10", recipe)


def _row(
    table: str, name: str, dataset: str, *settings: dict[str, Any], accuracy: float | None = None
) -> Row:
    options = {key: value for part in settings for key, value in part.items()}
    if accuracy is None:
        accuracy = zoo.info(name).printed_accuracy.get(dataset)
    return Row(table, name, dataset, Recipe(name, dataset, **options), accuracy)


TABLES = {
    "lowcost-table2": _lowcost,
    "gconv-table2": _gconv,
    "gconv-table2-unaugmented": _gconv_unaugmented,
    "simnets-table1": _simnets_table_1,
    "simnets-table2": _simnets_table_2,
    "simnets-section6.4": _simnets_compact,
    "simnets-figure2b": _simnets_figure_2b,
}
