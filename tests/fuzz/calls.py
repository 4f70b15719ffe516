"""Wrong calls: valid calls of what is public, with one or two arguments replaced."""

import contextlib
import dataclasses
import io
import random
import warnings
from collections.abc import Callable

import keras
import numpy as np

import keras_structnets as ksn
from tests.cases import catalogue
from tests.fuzz import limits

GOOD = ("accepted", "ValueError", "TypeError")


@dataclasses.dataclass(frozen=True)
class Call:
    """A function of a module, and valid arguments of it."""

    module: str
    name: str
    run: Callable
    arguments: dict


def valid_calls():
    """One of each function and layer."""
    return [*_ops(), *_layers(), *_blocks(), *_parts(), *_zoo(), *_training()]


def _array(*shape):
    return np.random.default_rng(0).uniform(0.5, 1.5, shape).astype("float32")


def _ops():
    image, kernel = {"x": _array(2, 5, 4, 3)}, {"kernel": _array(3, 3, 3)}
    similarity = {"x": _array(2, 4), "templates": _array(4, 5), "weights": _array(4, 5)}
    arguments = {
        "generalized_conv": {"x": _array(2, 5, 4, 2, 3), "kernel": _array(3, 3, 2, 3, 2, 4)}
        | {"contract": 1, "strides": 1, "padding": "same", "dilation_rate": 1, "rank": 2}
        | {"bias": _array(2, 4)},
        "depthwise_conv": image | kernel | {"padding": "periodic"},
        "depthwise_adjoint": {"y": image["x"], "padding": "same"} | kernel,
        "linear_mix_conv": image
        | {"depthwise_kernel": _array(3, 3, 3), "pointwise_kernel": _array(3, 3)},
        "explicit_diffusion": image | kernel | {"step_size": 0.5, "padding": "same"},
        "implicit_diffusion": image | kernel | {"step_size": 0.5},
        "circulant_conv": image | kernel,
        "circulant_diffusion": image | kernel | {"step_size": 0.5},
        "stencil_spectrum": kernel | {"spatial_shape": (5, 4)},
        "circulant_spectrum": kernel | {"spatial_shape": (5, 4)},
        "linear_similarity": similarity,
        "lp_similarity": similarity | {"p": 1.5},
        "mex": {"x": _array(2, 4), "offsets": _array(4, 5), "beta": 1.0},
        "mex_pool": image | {"pool_size": 2, "strides": 1, "padding": "same", "beta": 1.0},
        "global_mex_pool": image | {"beta": 1.0},
    }
    assert sorted(arguments) == sorted(ksn.ops.__all__)
    return [Call("ops", name, getattr(ksn.ops, name), given) for name, given in arguments.items()]


def _layers():
    def run(layer):
        return lambda inputs, **config: layer(**config)(inputs)

    calls = []
    for name, case in {case.layer: case for case in catalogue()}.items():
        layer = getattr(ksn.layers, name)
        config = layer(**case.config).get_config() | case.config | {"dtype": "float32"}
        arguments = config | {"inputs": _array(*case.input_shape)}
        calls.append(Call("layers", name, run(layer), arguments))
    return calls


def _blocks():
    image, structured = keras.Input((8, 8, 4)), keras.Input((8, 8, 1, 2, 2))
    step = {"y": image, "kernel_size": 3, "name": "step"}
    gconv = {"x": structured, "filters": 2, "structure": (2, 2), "kernel_size": 3, "strides": 2}
    arguments = {
        "circulant_rd_step": step | {"step_size": 0.5},
        "connecting_layer": {"x": image, "kernel_size": 3, "name": "connection"},
        "explicit_rd_step": step | {"step_size": 0.5},
        "gconv_norm": gconv,
        "gconv_prelu": gconv,
        "gconv_skip_block": gconv | {"skips": 1},
        "implicit_rd_step": step | {"step_size": 0.5},
        "linear_mix_step": step,
        "mex_classifier": {"features": image, "num_classes": 3, "beta": 0.3, "offset_stddev": 8.0}
        | {"pool_beta": 0.1},
        "mlp_conv": {"x": image, "widths": (4, 3), "kernel_size": 3, "name": "mlp"},
        "mobilenet_step": step,
        "normalization": {"name": "normalization"},
        "opening_layer": {"x": image, "filters": 4, "name": "opening"},
        "resnet_step": step,
        "structured_classifier": {"x": structured, "num_classes": 3},
        "structured_prelu": {"x": structured, "name": "prelu"},
        "whitened_similarity": {"x": image, "filters": 4, "kernel_size": 3, "templates": 3}
        | {"strides": 1, "padding": "same", "p": 2.0, "trainable_p": False, "normalize": True}
        | {"scale": 4.0, "selected": 4, "noise": 0.1, "name": "similarity"}
        | {"similarity": "linear", "whitening": False},
    }
    assert sorted(arguments) == sorted(ksn.blocks.__all__)
    return [
        Call("blocks", name, getattr(ksn.blocks, name), given) for name, given in arguments.items()
    ]


def _parts():
    def initialize(initializer):
        return lambda shape, **config: initializer(**config)(shape)

    def constrain(constraint):
        return lambda w, **config: constraint(**config)(w)

    shape = {"shape": (4, 3), "seed": 0}
    calls = [
        Call("initializers", name, initialize(getattr(ksn.initializers, name)), shape | config)
        for name, config in {
            "SparseWeights": {"total": 1.0, "selected": 2},
            "SpreadTemplates": {"mean": 0.0, "stddev": 1.0},
            "DirichletOffsets": {"alpha": 0.5, "axis": 0},
            "SpreadOffsets": {"mean": 0.0, "stddev": 1.0},
        }.items()
    ]
    at_least = {"minimum": 0.5, "w": _array(3)}
    return [*calls, Call("constraints", "AtLeast", constrain(ksn.constraints.AtLeast), at_least)]


def _zoo():
    body = {"paper": "ours", "summary": "one", "printed": {10: "1K"}, "input_shape": (8, 8, 1)}
    build = {"architecture": "simnet_mlp", "input_shape": (8, 8, 1), "num_classes": 3}
    build |= {"classifier_activation": "softmax", "include_top": True, "pooling": None}
    build |= {"include_preprocessing": True, "weights": None, "name": "model", "units": 4}

    def register(name, body, **options):
        from keras_structnets.zoo import registry

        before = dict(registry._ENTRIES)
        try:
            ksn.zoo.register(name, **options)(body)
        finally:
            registry._ENTRIES.clear()
            registry._ENTRIES.update(before)

    model = keras.Sequential([keras.Input((4, 4, 2)), ksn.layers.ExplicitDiffusion2D(3)])
    return [
        Call("zoo", "build", lambda architecture, **o: ksn.zoo.build(architecture, **o), build),
        Call("zoo", "register", register, {"name": "tiny", "body": lambda x: x} | body),
        Call("zoo", "info", ksn.zoo.info, {"name": "simnet_mlp"}),
        Call("zoo", "list_models", ksn.zoo.list_models, {"pattern": "nin*", "pretrained": True}),
        Call("zoo", "flops", ksn.zoo.flops, {"model": model}),
        Call("analysis", "stability", ksn.analysis.stability, {"model": model}),
    ]


def _training():
    recipe = dataclasses.asdict(ksn.training.Recipe("simnet_mlp"))
    mixture = {"n_components": 2, "max_iter": 3, "random_state": 0, "X": _array(20, 3)}
    whitening = {"n_components": 2, "max_iter": 3, "random_state": 0, "X": _array(20, 3)}

    def fit(estimator):
        return lambda X, **options: estimator(**options).fit(X)

    estimators = ksn.pretraining.GeneralizedGaussianMixture, ksn.pretraining.Whitening
    load = {"source": "digits", "image_size": None, "validation_fraction": 0.2, "seed": 0}
    load |= {"holdout_last_per_class": 0}
    return [
        Call("training", "Recipe", ksn.training.Recipe, recipe),
        Call("training", "load", ksn.training.load, load),
        Call("pretraining", "Mixture", fit(estimators[0]), mixture),
        Call("pretraining", "Whitening", fit(estimators[1]), whitening),
    ]


def wrong_values(value, rng):
    """A value that may be wrong where `value` is right."""
    if rng.random() < 0.7 and hasattr(value, "shape") and not callable(value):
        return rng.choice([_wrong_shape, _wrong_type])(value, rng)
    anything = [
        None,
        True,
        -1,
        0,
        2**70,
        1.5,
        float("nan"),
        float("inf"),
        -float("inf"),
        "",
        "relu",
    ]
    anything += [
        b"x",
        [],
        (),
        {},
        [1, "a"],
        (0, 0),
        (1, 2, 3, 4, 5),
        object(),
        len,
        1j,
        np.zeros(3),
    ]
    anything += [
        np.float32("nan"),
        keras.Input((3,)),
        np.zeros((2, 0)),
        {"a": None},
        ["x"],
        (None,),
    ]
    return rng.choice(anything)


def _wrong_shape(value, rng):
    shape = list(value.shape)
    axis = rng.randrange(len(shape)) if shape else 0
    change = rng.choice(["drop", "add", 0, 1, 7, None])
    if change == "drop":
        shape = shape[:axis] + shape[axis + 1 :]
    elif change == "add":
        shape.insert(axis, 2)
    elif shape:
        shape[axis] = change
    if keras.utils.is_keras_tensor(value) or None in shape:
        return keras.KerasTensor(shape, "float32")
    return _array(*shape)


def _wrong_type(value, rng):
    if keras.utils.is_keras_tensor(value):
        return keras.KerasTensor(value.shape, rng.choice(["int32", "bool", "string", "complex64"]))
    dtype = rng.choice(["complex64", "object", "str", "bool", "datetime64[s]", "int8", "float16"])
    if dtype == "datetime64[s]":
        return value.astype("int64").astype(dtype)
    return rng.choice([value.astype(dtype), value.tolist(), [value.tolist(), 1.0]])


def wrong_calls(seed, count, only=None):
    """Pairs (call, its arguments, wrong), `count` of them."""
    rng = random.Random(seed)
    calls = [call for call in valid_calls() if only in (None, call.module)]
    for _ in range(count):
        call = rng.choice(calls)
        arguments = dict(call.arguments)
        for name in rng.sample(sorted(arguments), min(len(arguments), rng.choice([1, 1, 2]))):
            arguments[name] = wrong_values(call.arguments[name], rng)
        if rng.random() < 0.03:
            arguments[rng.choice(["filter", "kernel", "self", ""])] = 1
        yield call, arguments


def outcomes(seed=0, count=2000, only=None):
    """Triples (call, arguments, how it ended)."""
    for call, arguments in wrong_calls(seed, count, only):
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            try:
                call.run(**arguments)
                end = "accepted"
            except (ValueError, TypeError) as error:
                end = "ValueError" if isinstance(error, ValueError) else "TypeError"
            except Exception as error:
                end = f"{type(error).__name__}: {str(error)[:60]!r}"
        yield call, arguments, end


def different(call, arguments):
    """What differs from the valid arguments, in short."""
    return {
        name: _short(value)
        for name, value in arguments.items()
        if value is not call.arguments.get(name)
    }


def _short(value):
    if hasattr(value, "shape"):
        return f"<{value.dtype} {tuple(value.shape)}>"
    return f"{value!r:.60}"


def table(found):
    """How the calls ended, by module, and what ended otherwise than it should."""
    rows = [
        (call.module, f"{call.name} {different(call, arguments)}", end)
        for call, arguments, end in found
    ]
    return limits.table(sorted(rows), GOOD)
