"""The zoo on the command line: a table of all models, and a card for one."""

import re
from typing import Any

from keras_structnets import checks, zoo
from keras_structnets.training import report
from keras_structnets.training._io import require
from keras_structnets.zoo.registry import of_skeleton, parameters_of


def parameter_count(name: str, num_classes: int = 10) -> int:
    """Trainable parameters of `name` at its default sizes. Quick: builds shapes, no weights.

    Raises:
        ValueError: for a name that is not in the zoo.
        ImportError: for a baseline whose library is not installed.

    Example:
        >>> from keras_structnets.training import catalogue
        >>> catalogue.parameter_count("simnet_2layer", num_classes=100)
        70338
    """
    return of_skeleton(parameters_of, name, num_classes)


def model_table(pattern: str | None = None) -> Any:
    """A rich table of the names that match `pattern`: paper, parameters at 10 classes, summary.

    Raises:
        ValueError: if no name matches.
        ImportError: if the extra `train` is not installed.

    Example:
        >>> from keras_structnets.training import catalogue
        >>> table = catalogue.model_table("linear_mix_*")
        >>> table.row_count, [column.header for column in table.columns][:3]
        (3, ['name', 'paper', 'parameters'])
    """
    names = zoo.list_models(pattern)
    if not names:
        raise ValueError(
            f"list: no model matches {pattern!r}.{checks.did_you_mean(pattern, zoo.list_models())} "
            "Use wildcards, as in 'simnet*'."
        )
    escape = require("rich.markup").escape  # square brackets stay as they are
    grid = require("rich.table").Table()
    for column in ("name", "paper"):
        grid.add_column(column, no_wrap=column == "name")
    for column in ("parameters", "printed"):
        grid.add_column(column, justify="right", no_wrap=True)
    grid.add_column("summary")
    for name in names:
        info = zoo.info(name)
        printed = str(info.printed.get(10, "-"))
        grid.add_row(*map(escape, (name, info.paper, _count(name), printed, info.summary)))
    return grid


def model_card(name: str) -> str:
    """What the zoo knows of `name`, as text: paper, sizes, and parameters by number of classes.

    Raises:
        ValueError: for a name that is not in the zoo.

    Example:
        >>> from keras_structnets.training import catalogue
        >>> print(catalogue.model_card("simnet_mlp"))
        simnet_mlp: similarity and MEX on whole images (Figure 1a)
        paper: Deep SimNets
        input: (32, 32, 3), raw pixels 0..255
        sizes: units=100, p=2.0, scale=8.0, offset_stddev=4.0
        parameters at 10 classes: 615,401
        parameters at 100 classes: 624,401
        operations for one image: 1,237,844 (618,482 multiplications, 619,362 additions)
    """
    info = zoo.info(name)
    sizes = ", ".join(f"{key}={value!r}" for key, value in info.sizes.items())
    lines = [
        f"{name}: {info.summary}",
        f"paper: {info.paper}",
        f"input: {info.input_shape}, raw pixels 0..255",
        f"sizes: {sizes or 'none'}",
    ]
    for num_classes in sorted({10, 100, *info.printed}):
        printed = info.printed.get(num_classes)
        lines.append(
            f"parameters at {num_classes} classes: {_count(name, num_classes)}"
            + (f" (printed {printed})" if printed else "")
        )
    lines.append(f"operations for one image: {_flops(name)}")
    lines += [
        f"record: {report.spread(record.runs)} on {report.title(dataset)}, weights={dataset!r}"
        for dataset, record in info.records.items()
    ]
    return "\n".join(lines)


def _count(name, num_classes=10):
    return _or_what_is_missing(lambda: f"{parameter_count(name, num_classes):,}")


def _flops(name):
    return _or_what_is_missing(lambda: str(zoo.info(name).flops))


def _or_what_is_missing(text):
    try:
        return text()
    except ImportError as error:
        package = re.search(r"keras_structnets\[\w+\]", str(error))
        return f"needs {package.group() if package else error.name or 'more libraries'}"
