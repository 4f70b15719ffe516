"""The registry of the zoo: each name has a body, pixels to features, and a head, features to logits."""

import concurrent.futures
import dataclasses
import fnmatch
import math
import re
from collections.abc import Callable, Sequence
from typing import Any

import keras

from keras_structnets import checks
from keras_structnets.ranks import rank_of
from keras_structnets.signatures import Identifier, Path, Tensor
from keras_structnets.zoo import records
from keras_structnets.zoo import sizes as architecture_sizes
from keras_structnets.zoo import weights as stored
from keras_structnets.zoo.flops import Flops, flops, largest_activations
from keras_structnets.zoo.heads import POOLINGS, classifier, dense_head, pooled, preprocess

RANKS = (1, 2, 3)  # of series, images and volumes

_ENTRIES: dict[str, "_Entry"] = {}


@dataclasses.dataclass(frozen=True)
class ModelInfo:
    """What the zoo knows of one name.

    Attributes:
        name: what `build` takes.
        paper: the paper that describes it.
        summary: one line.
        printed: trainable parameters as the paper prints them, by number of classes.
        input_shape: the default, (*spatial, channels).
        sizes: the architecture's own arguments and their defaults.
        printed_accuracy: accuracy in percent as the paper prints it, by data set.
        ranks: numbers of spatial axes that it is built for.
        printed_flops: operations for one image as the paper prints them, by number of classes.

    Example:
        >>> info = ksn.zoo.info("simnet_2layer")
        >>> info.paper, info.parameters, info.printed[10]
        ('Deep SimNets', 64578, '64.6K')
    """

    name: str
    paper: str
    summary: str
    printed: dict[int, str]
    input_shape: tuple[int, ...]
    sizes: dict[str, Any]
    printed_accuracy: dict[str, float] = dataclasses.field(default_factory=dict)
    ranks: tuple[int, ...] = (2,)
    printed_flops: dict[int, str] = dataclasses.field(default_factory=dict)

    @property
    def records(self) -> dict[str, records.Record]:
        """The trained weights and their results: {data set: `Record`}."""
        return records.of(self.name)

    @property
    def parameters(self) -> int:
        """Trainable parameters at 10 classes."""
        return of_skeleton(parameters_of, self.name)

    @property
    def flops(self) -> Flops:
        """`Flops` of one input at 10 classes."""
        return of_skeleton(flops, self.name)

    @property
    def largest_activations(self) -> int:
        """How many numbers the largest layer reads and writes, for one input."""
        return of_skeleton(largest_activations, self.name)


@dataclasses.dataclass(frozen=True)
class _Entry:
    info: ModelInfo
    body: Callable
    head: Callable
    normalize: bool


def register(
    name: str,
    *,
    paper: str,
    summary: str,
    printed: dict[int, str] | None = None,
    input_shape: Sequence[int] = (32, 32, 3),
    head: Callable[..., Tensor] = dense_head,
    normalize: bool = True,
    printed_accuracy: dict[str, float] | None = None,
    ranks: Sequence[int] | None = None,
    printed_flops: dict[int, str] | None = None,
    **sizes: Any,
) -> Callable[[Callable[..., Tensor]], Callable[..., Tensor]]:
    """Decorate `body(x, **sizes) -> features` as the architecture `name`.

    Args:
        name: a new name, in snake case, without a data set.
        paper: the paper that describes it.
        summary: one line.
        printed: trainable parameters as the paper prints them, by number of classes.
        input_shape: the default (*spatial, channels).
        head: `head(features, num_classes, **sizes) -> logits`.
        normalize: whether pixels are normalized before `body`; False where it does that itself.
        printed_accuracy: accuracy in percent as the paper prints it, by data set.
        ranks: numbers of spatial axes that `body` and `head` take: 1 for series, 2 for images, 3 for
            volumes; None for that of `input_shape`.
        printed_flops: operations for one image as the paper prints them, by number of classes.
        **sizes: defaults that replace those of `body` and `head`: one body serves several names.

    Raises:
        ValueError: if the name is taken or not in snake case, or for another argument out of range.

    Example:
        >>> @ksn.zoo.register("tiny", paper="mine", summary="one convolution", filters=8)
        ... def tiny(x, *, filters):
        ...     return keras.layers.Conv2D(filters, 3)(x)
        >>> ksn.zoo.build("tiny", num_classes=5, filters=16).output_shape
        (None, 5)
    """
    _check_new(name)
    for key, value in (("paper", paper), ("summary", summary)):
        if not isinstance(value, str):
            raise ValueError(f"register: `{key}` must be a string, got {value!r}. Use '' for none.")
    input_shape = checks.input_shape("register", input_shape, RANKS)
    ranks = (len(input_shape) - 1,) if ranks is None else tuple(ranks)
    _check_callable("head", head)

    def decorate(body):
        _check_callable("body", body)
        info = ModelInfo(
            name,
            paper,
            summary,
            dict(printed or {}),
            input_shape,
            architecture_sizes.defaults(body) | architecture_sizes.defaults(head) | sizes,
            dict(printed_accuracy or {}),
            ranks,
            dict(printed_flops or {}),
        )
        _ENTRIES[name] = _Entry(info, body, head, normalize)
        return body

    return decorate


def _check_new(name):
    if not isinstance(name, str) or not re.fullmatch("[a-z][a-z0-9_]*", name):
        raise ValueError(
            f"register: `name` must be in snake case, got {name!r}. Use for example 'tiny_net'."
        )
    if name in _ENTRIES:
        raise ValueError(f"register: the `name` {name!r} is taken. Choose another.")


def _check_callable(name, value):
    if not callable(value):
        raise ValueError(f"register: `{name}` must be a function, got {value!r}. Use a def.")


def list_models(pattern: str | None = None, *, pretrained: bool = False) -> list[str]:
    """Sorted names of the zoo.

    Args:
        pattern: wildcards as in a shell, which the names match; None for all.
        pretrained: whether to list only models that have trained weights.

    Example:
        >>> ksn.zoo.list_models("linear_mix_*")
        ['linear_mix_a', 'linear_mix_b', 'linear_mix_c']
        >>> ksn.zoo.list_models("linear_mix_*", pretrained=True)
        ['linear_mix_a']
    """
    names = sorted(fnmatch.filter(_ENTRIES, pattern or "*"))
    return [name for name in names if records.of(name)] if pretrained else names


def info(name: str) -> ModelInfo:
    """The `ModelInfo` of `name`.

    Raises:
        ValueError: for a name that is not in the zoo.

    Example:
        >>> ksn.zoo.info("linear_mix_a").sizes["widths"]
        (32, 64, 128)
    """
    return _entry("info", name).info


def parameters_of(model: keras.Model) -> int:
    """Number of trainable parameters."""
    return sum(math.prod(weight.shape) for weight in model.trainable_variables)


def of_skeleton(
    measure: Callable[[keras.Model], Any], name: str, num_classes: int = 10, **options: Any
) -> Any:
    """`measure(model)` of what `build` makes. Quick: the model has shapes, but no weights."""

    def measured():
        with keras.StatelessScope(initialize_variables=False):
            return measure(build(name, num_classes=num_classes, **options))

    # Keras remembers weights without values per thread, and this thread ends here.
    with concurrent.futures.ThreadPoolExecutor(1) as thread:
        return thread.submit(measured).result()


def build(
    architecture: str,
    /,
    *,
    input_shape: Sequence[int] | None = None,
    num_classes: int | None = None,
    classifier_activation: Identifier = "softmax",
    include_top: bool = True,
    pooling: str | None = None,
    include_preprocessing: bool | str = True,
    weights: Path | None = None,
    name: str | None = None,
    **sizes: Any,
) -> keras.Model:
    """Build an architecture of the zoo as an ordinary `keras.Model`.

    Args:
        architecture: one of `list_models()`.
        input_shape: (height, width, channels) of images, channels last; (steps, channels) of series or
            (depth, height, width, channels) of volumes for a network whose `info(architecture).ranks`
            have 1 or 3; None for the default of the architecture or of the trained weights.
        num_classes: number of outputs; None for 10, or that of the trained weights. With trained weights
            and another number, the classifier starts from random weights, with a warning.
        classifier_activation: activation of the outputs; None gives logits.
        include_top: whether to include the classifier; False returns the features [b, *spatial, c].
        pooling: with include_top=False, "avg" or "max" pools the features to [b, c].
        include_preprocessing: True normalizes raw pixels 0..255 inside the model, in the way the trained
            weights need; "rescale" only divides them by 255; False expects normalized pixels. Series are
            never normalized.
        weights: None for random weights; the data set of one of `info(architecture).records`, whose weights
            come with the package; the path of a `.weights.h5` or `.keras` file of a model with the same
            name, num_classes, include_top and sizes; or the URL of such a file with its checksum,
            "https://...#sha256=...", which is downloaded once.
        name: name of the model; None for the name of the architecture. Give two models different names
            before you combine them.
        **sizes: arguments of the architecture, see `info(architecture).sizes`.

    Returns:
        A `keras.Model` from [b, *input_shape] to [b, num_classes], whose layer `logits` computes
        the logits.

    Raises:
        ValueError: for a wrong name, shape, size or number of classes, or weights of another model.
        ImportError: for a baseline whose library is not installed.

    Example:
        >>> model = ksn.zoo.build("simnet_3layer_compact", num_classes=100)
        >>> model.input_shape, model.output_shape
        ((None, 32, 32, 3), (None, 100))
        >>> trained = ksn.zoo.build("simnet_3layer_compact", weights="cifar10")
        >>> trained.output_shape
        (None, 10)
    """
    entry = _entry("build", architecture)
    owner = f"build({architecture!r})"
    checks.channels_last(owner)
    _check_pooling(owner, pooling, include_top)
    record = stored.record_of(architecture, weights)
    sizes = (record.sizes if record else {}) | sizes
    sizes = architecture_sizes.completed(owner, sizes, entry.info.sizes)
    shape = (record or entry.info).input_shape if input_shape is None else input_shape
    shape = checks.input_shape(owner, shape, entry.info.ranks)
    num_classes = _num_classes(owner, record, num_classes)
    if include_preprocessing and record and not record.normalize:
        include_preprocessing = "rescale"
    pixels = keras.Input(shape, name="pixels")
    features = _features(entry, pixels, sizes, include_preprocessing)
    if include_top:
        logits = architecture_sizes.call(entry.head, sizes, features, num_classes)
        outputs = classifier(logits, classifier_activation)
    else:
        outputs = pooled(features, pooling)
    model = keras.Model(pixels, outputs, name=name or architecture)
    if record:
        trunk = [layer.name for layer in keras.Model(pixels, features).layers]
        stored.load_record(model, trained_model(record, include_preprocessing), record, trunk)
    elif weights is not None:
        stored.load_file(model, architecture, weights, _ENTRIES)
    return model


def _features(entry, pixels, sizes, include_preprocessing):
    x = pixels
    if include_preprocessing and entry.normalize and rank_of(pixels) > 1:
        x = preprocess(pixels, include_preprocessing)
    return architecture_sizes.call(entry.body, sizes, x)


def _num_classes(owner, record, num_classes):
    """What was given, or that of the record."""
    if num_classes is None:
        num_classes = len(record.class_names) if record else 10
    return checks.integer(owner, "num_classes", num_classes)


def _check_pooling(owner, pooling, include_top):
    if pooling is None:
        return
    checks.one_of(owner, "pooling", pooling, tuple(POOLINGS))
    if include_top:
        raise ValueError(
            f"{owner}: `pooling` {pooling!r} is for features, but include_top is True. "
            "Use include_top=False, or pooling=None."
        )


def _entry(owner, name):
    if not isinstance(name, str) or name not in _ENTRIES:
        raise ValueError(
            f"{owner}: unknown model `name` {name!r}.{checks.did_you_mean(name, _ENTRIES)} "
            "See keras_structnets.zoo.list_models()."
        )
    return _ENTRIES[name]


def trained_model(record: records.Record, include_preprocessing: bool | str = True) -> keras.Model:
    """The model of a `Record`, as it was trained."""
    model = build(
        record.model,
        input_shape=record.input_shape,
        num_classes=len(record.class_names),
        include_preprocessing=include_preprocessing and (record.normalize or "rescale"),
        **record.sizes,
    )
    model.load_weights(record.checked_weights())
    return model
