"""Names to models: each is a body from pixels to features and a head from features to logits."""

import concurrent.futures
import dataclasses
import fnmatch
import inspect
import math
import pathlib
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import h5py  # comes with keras
import keras

from keras_structnets import checks
from keras_structnets.signatures import Identifier, Path, Tensor
from keras_structnets.zoo import records
from keras_structnets.zoo.flops import Flops, flops

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
CACHE = None  # of downloaded weights: Keras' own

_ENTRIES: dict[str, "_Entry"] = {}


@dataclasses.dataclass(frozen=True)
class ModelInfo:
    """What the zoo knows of one name.

    Attributes:
        name: what `build` takes.
        paper: the paper that describes it.
        summary: one line.
        printed: trainable parameters as the paper prints them, by number of classes.
        input_shape: the default, (height, width, channels).
        sizes: the architecture's own arguments and their defaults.
        printed_accuracy: accuracy in percent as the paper prints it, by data set.

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

    @property
    def records(self) -> dict[str, records.Record]:
        """What it reached, and on what: {data set: `Record`}."""
        return records.of(self.name)

    @property
    def parameters(self) -> int:
        """Trainable parameters at 10 classes."""
        return of_skeleton(parameters_of, self.name)

    @property
    def flops(self) -> Flops:
        """`Flops` of one input at 10 classes."""
        return of_skeleton(flops, self.name)


@dataclasses.dataclass(frozen=True)
class _Entry:
    info: ModelInfo
    body: Callable
    head: Callable
    normalize: bool


def dense_head(features: Tensor, num_classes: int) -> Tensor:
    """Global average pooling and a dense layer: [b, h, w, c] -> logits [b, num_classes]."""
    x = keras.layers.GlobalAveragePooling2D(name="global_pooling")(features)
    return keras.layers.Dense(num_classes, name="logits")(x)


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
    **sizes: Any,
) -> Callable[[Callable[..., Tensor]], Callable[..., Tensor]]:
    """Decorate `body(x, **sizes) -> features` as the architecture `name`.

    Args:
        name: a new name, in snake case, without a data set.
        paper: the paper that describes it.
        summary: one line.
        printed: trainable parameters as the paper prints them, by number of classes.
        input_shape: the default (height, width, channels).
        head: `head(features, num_classes, **sizes) -> logits`.
        normalize: whether pixels are normalized before `body`; False where it does that itself.
        printed_accuracy: accuracy in percent as the paper prints it, by data set.
        **sizes: defaults that replace those of `body` and `head`: one body serves several names.

    Raises:
        ValueError: if the name is taken.

    Example:
        >>> @ksn.zoo.register("tiny", paper="mine", summary="one convolution", filters=8)
        ... def tiny(x, *, filters):
        ...     return keras.layers.Conv2D(filters, 3)(x)
        >>> ksn.zoo.build("tiny", num_classes=5, filters=16).output_shape
        (None, 5)
    """
    if name in _ENTRIES:
        raise ValueError(f"register: the `name` {name!r} is taken. Choose another.")

    def decorate(body):
        info = ModelInfo(
            name,
            paper,
            summary,
            dict(printed or {}),
            tuple(input_shape),
            _sizes(body) | _sizes(head) | sizes,
            dict(printed_accuracy or {}),
        )
        _ENTRIES[name] = _Entry(info, body, head, normalize)
        return body

    return decorate


def list_models(pattern: str | None = None) -> list[str]:
    """Sorted names of the zoo, those that match `pattern` (wildcards as in a shell); None for all.

    Example:
        >>> ksn.zoo.list_models("linear_mix_*")
        ['linear_mix_a', 'linear_mix_b', 'linear_mix_c']
    """
    return sorted(fnmatch.filter(_ENTRIES, pattern or "*"))


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


def of_skeleton(measure: Callable[[keras.Model], Any], name: str, num_classes: int = 10) -> Any:
    """`measure(model)` of `name` at its default sizes. Quick: the model has shapes, but no weights."""

    def measured():
        with keras.StatelessScope(initialize_variables=False):
            return measure(build(name, num_classes=num_classes))

    # Keras remembers weights without values per thread, and this thread ends here.
    with concurrent.futures.ThreadPoolExecutor(1) as thread:
        return thread.submit(measured).result()


def build(
    name: str,
    *,
    input_shape: Sequence[int] | None = None,
    num_classes: int | None = None,
    classifier_activation: Identifier = "softmax",
    include_top: bool = True,
    include_preprocessing: bool = True,
    weights: Path | None = None,
    **sizes: Any,
) -> keras.Model:
    """Build the architecture `name` as an ordinary `keras.Model`.

    Args:
        name: one of `list_models()`.
        input_shape: (height, width, channels), channels last; None for the architecture's own, or
            that of the trained weights.
        num_classes: number of outputs; None for 10, or that of the trained weights. With trained weights
            and another number, what depends on it starts from random weights, and a warning says so.
        classifier_activation: activation of the outputs; None gives logits.
        include_top: False stops at the features [b, h, w, c], before the classifier.
        include_preprocessing: True takes raw pixels 0..255 and normalizes them inside the model;
            False takes pixels that are normalized already.
        weights: None for random ones; the data set of one of `info(name).records`, whose weights come
            with the package; or the path of a `.weights.h5` or `.keras` file of the same model: the same
            name, num_classes, include_top and sizes; or the address of such a file with its checksum,
            "https://...#sha256=...", which is downloaded once.
        **sizes: the architecture's own arguments, see `info(name).sizes`.

    Returns:
        A `keras.Model` from [b, height, width, channels] to [b, num_classes].

    Raises:
        ValueError: for a wrong name, shape, size or number of classes, or weights of another model.
        ImportError: for a baseline whose library is not installed.

    Example:
        >>> model = ksn.zoo.build("simnet_3layer_compact", num_classes=100)
        >>> model.input_shape, model.output_shape
        ((None, 32, 32, 3), (None, 100))
        >>> trained = ksn.zoo.build("simnet_3layer_compact", weights="cifar10_jpeg")
        >>> trained.output_shape
        (None, 10)
    """
    entry = _entry("build", name)
    checks.channels_last(f"build({name!r})")
    record = _record(name, weights)
    if input_shape is None:
        input_shape = record.input_shape if record else entry.info.input_shape
    if num_classes is None:
        num_classes = len(record.class_names) if record else 10
    shape = _image_shape(name, input_shape)
    num_classes = checks.integer(f"build({name!r})", "num_classes", num_classes)
    if record:
        sizes = record.sizes | sizes
    for size in sizes:
        if size not in entry.info.sizes:
            raise ValueError(
                f"build({name!r}): unknown argument `{size}`={sizes[size]!r}."
                f"{checks.did_you_mean(size, entry.info.sizes)} "
                f"Use one of {sorted(entry.info.sizes) or 'none: it takes no sizes'}."
            )
    pixels = keras.Input(shape, name="pixels")
    x = _normalize(pixels) if include_preprocessing and entry.normalize else pixels
    sizes = entry.info.sizes | sizes
    features = outputs = _call(entry.body, sizes, x)
    if include_top:
        logits = _call(entry.head, sizes, outputs, num_classes)
        activation = keras.layers.Activation(
            classifier_activation, dtype="float32", name="classifier"
        )
        outputs = activation(logits)
    model = keras.Model(pixels, outputs, name=name)
    if record:
        trunk = [layer.name for layer in keras.Model(pixels, features).layers]
        _load_record(model, record, trunk, include_preprocessing)
    elif weights is not None:
        _load_weights(model, weights)
    return model


def _normalize(pixels):
    """Raw pixels to ImageNet's mean and deviation; to -1..1 where there are not three channels."""
    if pixels.shape[-1] == 3:
        scale = [1 / (255 * std) for std in IMAGENET_STD]
        offset = [-mean / std for mean, std in zip(IMAGENET_MEAN, IMAGENET_STD, strict=True)]
    else:
        scale, offset = 1 / 127.5, -1.0
    return keras.layers.Rescaling(scale, offset, name="pixel_normalization")(pixels)


def _entry(owner, name):
    if name not in _ENTRIES:
        raise ValueError(
            f"{owner}: unknown model `name` {name!r}.{checks.did_you_mean(name, _ENTRIES)} "
            "See keras_structnets.zoo.list_models()."
        )
    return _ENTRIES[name]


def _image_shape(name, shape):
    owner = f"build({name!r})"
    if not isinstance(shape, (tuple, list)) or len(shape) != 3:
        raise ValueError(
            f"{owner}: `input_shape` must be (height, width, channels), got {shape!r}. "
            "Use for example input_shape=(32, 32, 3)."
        )
    shape = checks.integers(owner, "input_shape", shape, 3)
    if shape[0] in (1, 3) and shape[1] > 4 and shape[2] > 4:
        raise ValueError(
            f"{owner}: `input_shape` {shape} looks like channels first. Use channels last: "
            f"input_shape={(*shape[1:], shape[0])}, and move the channels of your images with "
            "numpy.moveaxis(images, 1, -1)."
        )
    return shape


def _record(name, weights):
    """The `Record` that `weights` names, or None if it is a path, an address or None."""
    if weights is None or not isinstance(weights, str) or pathlib.Path(weights).suffix:
        return None
    if weights not in records.of(name):
        known = ", ".join(map(repr, records.of(name)))
        raise ValueError(
            f"build({name!r}): `weights` {weights!r} is not a file, and no data set that trained weights "
            f"are of.{checks.did_you_mean(weights, records.of(name))} Give "
            f"{known + ', ' if known else ''}the path of a file, or None."
        )
    return records.of(name)[weights]


def trained_model(record: records.Record, include_preprocessing: bool = True) -> keras.Model:
    """The model of a `Record`, as it was trained."""
    model = build(
        record.model,
        input_shape=record.input_shape,
        num_classes=len(record.class_names),
        include_preprocessing=include_preprocessing,
        **record.sizes,
    )
    model.load_weights(record.checked_weights())
    return model


def _load_record(model, record, trunk, include_preprocessing):
    """Give each layer its trained weights; those of the head that do not fit start anew."""
    trained = trained_model(record, include_preprocessing)
    layers, sources = ([layer for layer in m.layers if layer.weights] for m in (model, trained))
    fresh = []
    for layer, source in zip(layers, sources, strict=False):  # without its head a model is shorter
        if _kind(layer) == _kind(source):
            layer.set_weights(source.get_weights())
        else:
            fresh.append(layer.name)
    wrong = [name for name in fresh if name in trunk]
    shorter = model.output_shape[1:] == trained.output_shape[1:] and len(layers) != len(sources)
    if wrong or shorter or (fresh and model.output_shape == trained.output_shape):
        raise ValueError(
            f"build({model.name!r}): the trained weights do not fit the layers {(wrong or fresh)[:3]}. They "
            f"are for input_shape={record.input_shape} and the sizes {record.sizes or 'of the zoo'}."
        )
    if fresh:
        warnings.warn(
            f"build({model.name!r}): the layers {fresh} start from random weights, since num_classes is "
            f"not the {len(record.class_names)} of {record.dataset!r}; the others are trained.",
            stacklevel=3,
        )


def _kind(layer):
    return type(layer), [weight.shape for weight in layer.weights]


def _download(address):
    """The path of the file at `address`, whose checksum stands behind it."""
    url, _, checksum = address.partition("#sha256=")
    if not checksum:
        raise ValueError(
            f"build: `weights` {address!r} has no checksum. Add #sha256= and its 64 digits."
        )
    try:
        return keras.utils.get_file(
            origin=url,
            file_hash=checksum,
            hash_algorithm="sha256",
            cache_subdir="keras_structnets",
            cache_dir=CACHE,
        )
    except Exception as error:  # Keras raises a plain Exception where it cannot fetch
        raise ValueError(f"build: `weights` {url!r} cannot be had: {error}.") from error


def _load_weights(model, path):
    owner = f"build({model.name!r})"
    if "://" in str(path):
        path = _download(path)
    path = pathlib.Path(path)
    if not path.is_file():
        raise ValueError(f"{owner}: `weights` {str(path)!r} is not a file. Give a path, or None.")
    if not path.name.endswith((".weights.h5", ".keras")):
        raise ValueError(
            f"{owner}: `weights` {str(path)!r} must end in .weights.h5 or .keras. "
            "Write one with model.save_weights or model.save."
        )
    try:
        if path.suffix == ".keras":
            saved = keras.saving.load_model(path, compile=False)
            _refuse_another(model, saved.name, len(saved.layers))
            model.set_weights(saved.get_weights())
        else:
            with h5py.File(path) as file:
                name = file["vars"].attrs.get("name", model.name)
                _refuse_another(model, name, len(file["layers"]))
            model.load_weights(path)
    except (ValueError, TypeError, KeyError, OSError) as error:
        reason = str(error).split("\n")[0]  # Keras goes on to print the weights
        raise ValueError(
            f"{owner}: `weights` {str(path)!r} is not a weights file of this model: {reason} "
            "Use weights that were saved from the same name, num_classes, include_top and sizes."
        ) from error


def _refuse_another(model, name, n_layers):
    """Shapes do not tell: models share them, and Keras ignores layers that only the file has."""
    if (name, n_layers) != (model.name, len(model.layers)):
        raise ValueError(
            f"it holds {name!r} with {n_layers} layers, the model has {len(model.layers)}."
        )


def _call(f, sizes, *args):
    """`f(*args)` with those of `sizes` that it takes."""
    names = inspect.signature(f).parameters
    return f(*args, **{name: value for name, value in sizes.items() if name in names})


def _sizes(body):
    """Defaults of the keyword-only arguments of `body`."""
    return {
        p.name: p.default
        for p in inspect.signature(body).parameters.values()
        if p.kind is p.KEYWORD_ONLY and p.default is not p.empty
    }
