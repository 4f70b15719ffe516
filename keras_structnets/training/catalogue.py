"""The zoo on the command line: tables of models, of trained weights and of layers, and a card for one."""

import re
from typing import Any

import keras

from keras_structnets import checks, zoo
from keras_structnets.training import report
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


def model_rows(pattern: str | None = None) -> list[dict[str, Any]]:
    """A row for each name that matches `pattern`, the parameters at 10 classes.

    Raises:
        ValueError: if no name matches.

    Example:
        >>> from keras_structnets.training import catalogue
        >>> [row["parameters"] for row in catalogue.model_rows("linear_mix_*")]
        [195146, 421738, 742730]
    """
    names = zoo.list_models(pattern)
    if not names:
        raise ValueError(_no_match(pattern, zoo.list_models(), "model"))
    return [_row(zoo.info(name)) for name in names]


def record_rows(pattern: str | None = None) -> list[dict[str, Any]]:
    """`zoo.results(pattern)`.

    Raises:
        ValueError: if no record matches.

    Example:
        >>> from keras_structnets.training import catalogue
        >>> [row["epochs"] for row in catalogue.record_rows("nin_compact_cifar10")]
        [30]
    """
    rows = zoo.results(pattern)
    if not rows:
        raise ValueError(_no_match(pattern, [row["name"] for row in zoo.results()], "record"))
    return rows


def in_short(row: dict[str, Any]) -> dict[str, Any]:
    """The columns of a row of `record_rows` that fit a terminal, their numbers with units."""
    return {
        "record": row["name"],
        "accuracy": f"{row['accuracy']:.1f}%",
        "epochs": row["epochs"],
        "parameters": row["parameters"],
        "FLOPs": f"{row['flops'] / 1e6:.1f}M" if row["flops"] else None,
        "MB": f"{row['megabytes']:.2f}",
    }


def _row(info):
    reached = [100 * report.mean(record.runs) for record in info.records.values()]
    return {
        "name": info.name,
        "parameters": _or_what_is_missing(lambda: parameter_count(info.name)),
        "accuracy": f"{max(reached):.1f}%" if reached else None,
        "paper": info.paper,
        "summary": info.summary,
    }


def _no_match(pattern, names, what):
    close = checks.did_you_mean(pattern, names)
    return f"list: no {what} matches {pattern!r}.{close} Use wildcards, as in 'simnet*'."


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
    if info.printed_accuracy:
        rows = (f"{value}% on {dataset}" for dataset, value in info.printed_accuracy.items())
        lines.append(f"accuracy as the paper prints it: {', '.join(rows)}")
    printed = f" (printed {info.printed_flops[10]})" if 10 in info.printed_flops else ""
    lines.append(f"operations for one image: {_flops(name)}{printed}")
    lines += [
        f"record: {report.spread(record.runs)} on {report.title(dataset)}, weights={dataset!r}"
        for dataset, record in info.records.items()
    ]
    return "\n".join(lines)


def layer_rows(model: keras.Model) -> list[dict[str, Any]]:
    """A row for each layer: its name, type, output shape and parameters.

    Example:
        >>> from keras_structnets.training import catalogue
        >>> catalogue.layer_rows(ksn.zoo.build("simnet_mlp"))[-1]["layer"]
        'classifier'
    """
    return [
        {
            "layer": layer.name,
            "type": type(layer).__name__,
            "output": _shape(layer.output),
            "parameters": layer.count_params(),
        }
        for layer in model.layers
    ]


def _shape(output):
    """Sizes after the batch: '32 x 32 x 3'."""
    outputs = output if isinstance(output, list) else [output]
    return ", ".join(" x ".join(map(str, tensor.shape[1:])) for tensor in outputs)


def _count(name, num_classes=10):
    found = _or_what_is_missing(lambda: parameter_count(name, num_classes))
    return f"{found:,}" if isinstance(found, int) else found


def _flops(name):
    return _or_what_is_missing(lambda: str(zoo.info(name).flops))


def _or_what_is_missing(measure):
    try:
        return measure()
    except ImportError as error:
        package = re.search(r"keras_structnets\[\w+\]", str(error))
        return f"needs {package.group() if package else error.name or 'more libraries'}"
