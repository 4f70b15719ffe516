"""Conversion of a whole model."""

import dataclasses
import fnmatch
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from keras_structnets import checks
from keras_structnets.conversion.graph import copied, input_shape_of, is_graph, layers_of, watched
from keras_structnets.conversion.registry import SAVING, Options, Replacement, conversion_of
from keras_structnets.conversion.report import ConvertedLayer, Report
from keras_structnets.conversion.statistics import set_statistics
from keras_structnets.zoo.flops import flops

BATCH = 32
NOISE = 8  # inputs to measure on, where no images are given


def convert(
    model: keras.Model,
    to: str = "linear_mix",
    *,
    where: str | Callable[[keras.layers.Layer], bool] | None = None,
    images: Any = None,
    min_channels: int = 8,
    budget: float = 0.5,
    beta: float = 1e6,
) -> tuple[keras.Model, Report]:
    """Convert layers of a trained model to cheaper ones. The model itself does not change.

    | `to` | replaces | by |
    |---|---|---|
    | "linear_mix" | convolutions | `LinearMixConv` for as many filters as channels, else a pair |
    | "separable" | convolutions | a depthwise and a 1x1 convolution |
    | "low_rank" | convolutions | two convolutions: spatial SVD or channel SVD |
    | "circulant" | convolutions | `CirculantConv` |
    | "mex_pooling" | maximum and average pooling | `MEXPooling` with a learned beta |

    The pair of "linear_mix" is a 1x1 convolution and a depthwise one after it. The new weights are the
    closest to the old kernel: its orthogonal projection, or its truncated SVD. With `images` the
    weights (of a pair, those of its second convolution) are the least-squares fit of the layer's
    output before its activation, on what reaches the layer in `model`: in closed form, from sums over
    batches. Circulant convolutions are always projected. Means and variances of batch normalization are
    estimated again on the images, if that lowers the error of the model's output.

    A convolution is replaced only where that saves parameters or FLOPs.

    Args:
        model: a functional or Sequential model, which may hold other models and shared layers.
        to: the conversion, one of `conversion.list_conversions()`.
        where: the layers to convert: a pattern of names such as "stage2_*", or a function of the layer.
        images: an array [n, ...] as the model takes it, or a list of arrays for several inputs. A few
            hundred are enough for most layers.
        min_channels: layers with fewer channels, in or out, are kept.
        budget: of "low_rank", the share of a layer's parameters that it keeps, between 0 and 1.
        beta: of "mex_pooling", the initial beta of maximum pooling. 1e6 is exact in float32, but training
            does not change it; it does change 10.

    Returns:
        The new model, not compiled, and a `conversion.Report`.

    Raises:
        ValueError: for a subclassed model or one that is not built, images of another shape, a value
            out of range, or if there is nothing to convert.

    Example:
        >>> convolution = keras.layers.Conv2D(32, 3, padding="same", name="conv")
        >>> model = keras.Sequential([keras.Input((8, 8, 32)), convolution])
        >>> converted, report = ksn.convert(model, to="linear_mix")
        >>> type(converted.layers[0]).__name__, report.parameters
        ('LinearMixConv2D', (9248, 1344))

    Reference: Low-cost parameterizations of deep convolutional neural networks, section 3.1.
    """
    _check_model(model)
    options = _options(min_channels, budget, beta)
    targets = _targets(model, to, where, options)
    data = _noise(model) if images is None else _checked_images(model, images)
    if images is not None:
        _fit(model, targets, data)
    new_model = copied(model, {key: target.replacement for key, target in targets.items()})
    what = f"{NOISE} inputs of noise" if images is None else f"{len(data[0])} images"
    errors = _errors(model, new_model, targets, data)
    if images is not None:
        errors = _with_statistics(model, new_model, targets, data, errors)
    rows = [_row(target, errors[key]) for key, target in targets.items()]
    parameters = (model.count_params(), new_model.count_params())
    counts = _both(_flops(model), _flops(new_model))
    return new_model, Report(to, rows, parameters, counts, errors[id(model)], what)


@dataclasses.dataclass
class _Target:
    """A layer that is replaced; (parameters, FLOPs or None) before and after."""

    layer: keras.layers.Layer
    replacement: Replacement
    before: tuple[int, int | None]
    after: tuple[int, int | None]

    @property
    def saves(self):
        """Whether parameters or FLOPs fall."""
        flops_before, flops_after = self.before[1], self.after[1]
        counted = flops_before is not None and flops_after is not None
        return self.after[0] < self.before[0] or (counted and flops_after < flops_before)


def _check_model(model):
    if not is_graph(model):
        raise ValueError(
            f"convert: `model` is a {type(model).__name__}, whose layers are not a graph. Use a "
            "Sequential or functional model, for example keras.Model(inputs, outputs)."
        )
    if not model.built or not model.inputs:
        raise ValueError(
            f"convert: the `model` {model.name!r} is not built. Start it with keras.Input(shape)."
        )


def _options(min_channels, budget, beta):
    min_channels = checks.integer("convert", "min_channels", min_channels)
    budget = checks.positive("convert", "budget", budget)
    if budget >= 1:
        raise ValueError(
            f"convert: `budget` must lie between 0 and 1, got {budget}. Use for example budget=0.5."
        )
    return Options(min_channels, budget, checks.positive("convert", "beta", beta))


def _targets(model, to, where, options):
    """{id of a layer: its `_Target`}."""
    conversion = conversion_of(to)
    found: dict[int, _Target] = {}
    for layer in filter(_chosen(where), layers_of(model)):
        replacement = conversion(layer, options)
        if replacement:
            costs = _cost(layer, layer), _cost(replacement.layer, layer)
            target = _Target(layer, replacement, *costs)
            if target.saves or to not in SAVING:
                found[id(layer)] = target
    if not found:
        raise ValueError(
            f"convert: there is nothing to convert to {to!r} in the model {model.name!r}"
            + ("" if where is None else f" where={where!r}")
            + f", with min_channels={options.min_channels}. Use another `where`, a smaller "
            "`min_channels`, or another of the conversions that `convert` describes."
        )
    return found


def _chosen(where):
    if where is None:
        return lambda layer: True
    if isinstance(where, str):
        return lambda layer: fnmatch.fnmatch(layer.name, where)
    if callable(where):
        return where
    raise ValueError(
        f"convert: `where` must be a pattern of names or a function of a layer, got {where!r}. Use for "
        "example where='block3_*'."
    )


def _cost(layer, old):
    """(parameters, FLOPs or None) of a copy of a layer, for what reaches the `old` one."""
    shape = input_shape_of(old)
    if shape is None:
        return 0, None
    copy = layer.__class__.from_config(layer.get_config())
    alone = keras.Sequential([keras.Input(shape[1:]), copy])
    return alone.count_params(), _flops(alone)


def _flops(model):
    try:
        return flops(model).total
    except (ValueError, AttributeError):  # a layer without a rule, of unknown size, or shared
        return None


def _checked_images(model, images):
    data = list(images) if isinstance(images, (list, tuple)) else [images]
    data = [np.asarray(array) for array in data]
    expected = [tuple(x.shape) for x in model.inputs]
    fits = len(data) == len(expected) and all(map(_fits, data, expected))
    if not fits or len({len(array) for array in data}) != 1 or not len(data[0]):
        raise ValueError(
            f"convert: `images` of shape {', '.join(str(a.shape) for a in data)} do not fit the model "
            f"{model.name!r}, which takes {', '.join(map(str, expected))}. Resize the images, or use "
            "those that the model was trained on."
        )
    return data


def _fits(array, shape):
    same = (n is None or n == m for n, m in zip(shape[1:], array.shape[1:], strict=False))
    return array.ndim == len(shape) and all(same)


def _noise(model):
    rng = np.random.default_rng(0)
    shapes = [[NOISE, *(n or 32 for n in x.shape[1:])] for x in model.inputs]
    return [rng.normal(size=shape).astype("float32") for shape in shapes]


def _batches(data):
    for i in range(0, len(data[0]), BATCH):
        batch = [array[i : i + BATCH] for array in data]
        yield batch[0] if len(batch) == 1 else batch


def _fit(model, targets, data):
    """Let each replacement see what reaches its layer, and take the weights that fit."""
    fitted = {key: target for key, target in targets.items() if target.replacement.fit}

    def see(layer: Any, x: Any, y: Any) -> None:
        fitted[id(layer)].replacement.fit.add(_numpy(x))

    with watched([target.layer for target in fitted.values()], see):
        for batch in _batches(data):
            model(batch, training=False)
    for target in fitted.values():
        weights = target.replacement.fit.weights()
        target.replacement = Replacement(target.replacement.layer, weights)


def _errors(model, new_model, targets, data):
    """The relative error of each layer and of the model, by their `id`."""
    squares = {key: np.zeros(2) for key in [id(model), *targets]}

    def see(layer: Any, x: Any, y: Any) -> None:
        squares[id(layer)] += _squares(y, targets[id(layer)].replacement.layer(x))

    with watched([target.layer for target in targets.values()], see):
        for batch in _batches(data):
            old = keras.tree.flatten(model(batch, training=False))
            new = keras.tree.flatten(new_model(batch, training=False))
            squares[id(model)] += sum(map(_squares, old, new))
    return {key: float(np.sqrt(d / n)) if n else 0.0 for key, (d, n) in squares.items()}


def _with_statistics(model, new_model, targets, data, errors):
    """The errors after the statistics of batch normalization are estimated again, if that helps."""
    found = [errors]

    def is_better() -> bool:
        changed = _errors(model, new_model, targets, data)
        if changed[id(model)] < errors[id(model)]:
            found.append(changed)
        return len(found) > 1

    set_statistics(new_model, _batches(data), is_better)
    return found[-1]


def _row(target, error):
    new = target.replacement.layer
    inner = new.layers if is_graph(new) else [new]
    name = " + ".join(type(part).__name__ for part in inner)
    parameters = (target.layer.count_params(), new.count_params())
    counts = _both(target.before[1], target.after[1])
    before = type(target.layer).__name__
    return ConvertedLayer(target.layer.name, before, name, parameters, counts, error)


def _both(before, after):
    return None if before is None or after is None else (before, after)


def _squares(old, new):
    old, new = _numpy(old).astype("float64"), _numpy(new).astype("float64")
    return np.array([np.sum((old - new) ** 2), np.sum(old**2)])


def _numpy(x):
    return keras.ops.convert_to_numpy(keras.ops.cast(x, "float32"))
