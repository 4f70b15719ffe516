"""Checks of arguments. Each raises a ValueError that names the argument, what was given and what would do."""

import difflib
import numbers

_LARGEST = 2**31 - 1  # of a size or a count


def tensor(owner, name, value, shape=None):
    """`value` as a tensor of real numbers.

    `shape` has the size of each axis, None for any above 0; `...` in front stands for any axes.
    """
    import keras

    try:
        x = value if keras.utils.is_keras_tensor(value) else keras.ops.convert_to_tensor(value)
        is_real = keras.backend.standardize_dtype(x.dtype) not in _NOT_REAL
    except Exception:  # each backend has its own
        is_real = False
    if not is_real:
        raise ValueError(
            f"{owner}: `{name}` must be a tensor of real numbers, got {value!r:.80}. "
            "Use for example a NumPy array of floats."
        )
    if shape is not None and not _has_shape(tuple(x.shape), shape):
        wanted = ", ".join("..." if n is ... else "any" if n is None else str(n) for n in shape)
        raise ValueError(
            f"{owner}: `{name}` must have the shape [{wanted}], got {tuple(x.shape)}. "
            "Reshape or transpose it."
        )
    return x


_NOT_REAL = ("string", "complex64", "complex128")


def _has_shape(found, shape):
    if shape[:1] == (...,):
        shape = shape[1:]
        found = found[max(len(found) - len(shape), 0) :]
    return len(found) == len(shape) and all(
        n is None or (n > 0 if size is None else n == size)
        for n, size in zip(found, shape, strict=True)
    )


def image(owner, name, value, ranks=(1, 2, 3)):
    """`value` as a tensor [batch, *spatial, channels] with one of `ranks` spatial axes."""
    x = tensor(owner, name, value)
    if len(x.shape) - 2 not in ranks or 0 in tuple(x.shape)[1:]:
        raise ValueError(
            f"{owner}: `{name}` must have the shape [batch, *spatial, channels] with "
            f"{' or '.join(map(str, ranks))} spatial axes, none of them empty, "
            f"got {tuple(x.shape)}. Reshape it, with channels last."
        )
    return x


def scalar(owner, name, value):
    """`value`, a number as a float, or a scalar tensor."""
    if isinstance(value, numbers.Real) or not hasattr(value, "shape"):
        return real(owner, name, value)
    return tensor(owner, name, value, ())


def integer(owner, name, value, minimum=1):
    """`value` as an int of at least `minimum`."""
    if not _is_int(value, minimum):
        raise ValueError(
            f"{owner}: `{name}` must be an integer of at least {minimum}, got {value!r}. "
            f"Use {name}={minimum} or more."
        )
    return int(value)


def integers(owner, name, value, rank, minimum=1):
    """`value`, an int or a sequence of `rank` ints, as a tuple of `rank` ints."""
    values = value if isinstance(value, (tuple, list)) else (value,) * rank
    if len(values) != rank or not all(_is_int(v, minimum) for v in values):
        raise ValueError(
            f"{owner}: `{name}` must be an integer or {rank} integers of at least {minimum}, "
            f"got {value!r}. Use for example {name}={(max(minimum, 3),) * rank}."
        )
    return tuple(int(v) for v in values)


def positive(owner, name, value):
    """`value` as a finite float above zero."""
    if not _is_number(value) or not 0 < value < float("inf"):
        raise ValueError(
            f"{owner}: `{name}` must be a finite number above 0, got {value!r}. "
            f"Use for example {name}=1.0."
        )
    return float(value)


def real(owner, name, value):
    """`value` as a float: any real number or plus or minus infinity, but not NaN."""
    if not _is_number(value) or value != value:
        raise ValueError(
            f"{owner}: `{name}` must be a real number or plus or minus infinity, got {value!r}. "
            f"Use for example {name}=1.0."
        )
    return float(value)


def one_of(owner, name, value, choices):
    """`value`, if it is one of `choices`."""
    if isinstance(value, bool) or not isinstance(value, (str, int)) or value not in choices:
        raise ValueError(
            f"{owner}: unknown `{name}` {value!r}.{did_you_mean(value, choices)} "
            f"Use one of {', '.join(map(repr, choices))}."
        )
    return value


def did_you_mean(value, choices):
    """' Did you mean ...?' for the closest of `choices`, or nothing."""
    close = difflib.get_close_matches(str(value), [str(c) for c in choices], n=3, cutoff=0.6)
    return f" Did you mean {' or '.join(map(repr, close))}?" if close else ""


def channels_last(owner):
    """Refuse Keras' global setting `channels_first`."""
    import keras  # here, since the command line answers without Keras

    if keras.config.image_data_format() != "channels_last":
        raise ValueError(
            f"{owner} works on channels_last data only, but keras.config.image_data_format() is "
            "'channels_first'. Call keras.config.set_image_data_format('channels_last') and move "
            "the channels to the end: keras.ops.moveaxis(x, 1, -1)."
        )


def rank_of_input(owner, shape, rank, axes):
    """Refuse an input of another rank than `rank`; `axes` describes what is expected."""
    if len(shape) != rank:
        raise ValueError(
            f"{owner}: the input must have {rank} axes, {axes}, got shape {tuple(shape)}. "
            "Reshape it, with channels last."
        )


def kernel_fits(owner, kernel_size, spatial, padding, dilation_rate=None):
    """Refuse a kernel that is larger than the image under 'valid' padding."""
    dilation_rate = dilation_rate or (1,) * len(kernel_size)
    reach = [(k - 1) * d + 1 for k, d in zip(kernel_size, dilation_rate, strict=True)]
    if padding == "valid" and any(
        n is not None and n < r for n, r in zip(spatial, reach, strict=True)
    ):
        raise ValueError(
            f"{owner}: a kernel that spans {tuple(reach)} is larger than the image "
            f"{tuple(spatial)}. Use a smaller kernel_size, a larger image or padding='same'."
        )


def structure(owner, name, value):
    """`value`, an int or a sequence of ints of any length, as a tuple of ints of at least 1."""
    values = value if isinstance(value, (tuple, list)) else (value,)
    if not all(_is_int(v) for v in values):
        raise ValueError(
            f"{owner}: `{name}` must be an integer or a tuple of integers of at least 1, "
            f"got {value!r}. Use for example {name}=(9, 9), or {name}=(1,) for scalars."
        )
    return tuple(int(v) for v in values)


def structured_axes(owner, shape, rank):
    """Refuse an input without the axes [batch, *spatial, channels]."""
    if len(shape) < rank + 2 or 0 in tuple(shape)[1:]:
        raise ValueError(
            f"{owner}: the input must have at least {rank + 2} axes, none of them empty, [batch, "
            f"{'space, ' * rank}channels, *structure], got shape {tuple(shape)}. "
            "Package channels with Structure(shape), or reshape the input."
        )


def contract(owner, value, input_structure):
    """`value`, the number of trailing axes to contract, as an int; None stands for all."""
    n_axes = len(input_structure)
    if value is None:
        return n_axes
    value = integer(owner, "contract", value, minimum=0)
    if value > n_axes:
        raise ValueError(
            f"{owner}: contract={value} asks for {value} trailing axes, but the input structure "
            f"{tuple(input_structure)} has {n_axes}. "
            f"Use contract={n_axes} or fewer, or None for all."
        )
    return value


def not_both_strided_and_dilated(owner, strides, dilation_rate):
    """Refuse strides together with dilation: TensorFlow has no such convolution."""
    if max(strides) > 1 and max(dilation_rate) > 1:
        raise ValueError(
            f"{owner}: `strides` {tuple(strides)} and `dilation_rate` {tuple(dilation_rate)} "
            "cannot both be above 1. Use strides=1 or dilation_rate=1."
        )


def static_size(owner, axes, shape):
    """Refuse an input whose sizes along `axes` are not known when the layer is built."""
    if not shape or any(n is None for n in shape):
        raise ValueError(
            f"{owner}: {axes} must be known when the layer is built, got {tuple(shape)}. "
            "Give them in keras.Input(shape=...)."
        )


_SHAPES = {
    1: "(steps, channels)",
    2: "(height, width, channels)",
    3: "(depth, height, width, channels)",
}


def input_shape(owner, shape, ranks=(2,)):
    """`shape` as (*spatial, channels), channels last, with one of `ranks` spatial axes."""
    if not isinstance(shape, (tuple, list)) or len(shape) - 1 not in ranks:
        raise ValueError(
            f"{owner}: `input_shape` must be {' or '.join(_SHAPES[rank] for rank in ranks)}, "
            f"got {shape!r}. Use for example input_shape={(*[32] * max(ranks), 3)}."
        )
    shape = integers(owner, "input_shape", shape, len(shape))
    if shape[0] in (1, 3) and min(shape[1:]) > 4:
        raise ValueError(
            f"{owner}: `input_shape` {shape} looks like channels first. Use channels last: "
            f"input_shape={(*shape[1:], shape[0])}, and move the channels of your data with "
            "numpy.moveaxis(x, 1, -1)."
        )
    return shape


def _is_int(value, minimum=1):
    is_int = isinstance(value, numbers.Integral) and not isinstance(value, bool)
    return is_int and minimum <= value <= _LARGEST


def _is_number(value):
    """Whether `value` is a real number that fits into a float."""
    try:
        is_real = isinstance(value, numbers.Real) and not isinstance(value, bool)
        return is_real and isinstance(float(value), float)
    except OverflowError:
        return False
