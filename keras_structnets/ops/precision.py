"""Types in which sums run, and the way back from them."""

from keras import config, ops
from keras.backend import is_float_dtype, standardize_dtype


def cast(y, dtype):
    """`y` in `dtype`, clipped to its range; nothing is computed where it has that type already."""
    dtype = standardize_dtype(dtype)
    return y if standardize_dtype(y.dtype) == dtype else ops.saturate_cast(y, dtype)


def at_least_float32(x):
    """`x` in float32 if it is in half precision."""
    return ops.cast(x, "float32") if standardize_dtype(x.dtype) in ("float16", "bfloat16") else x


def floating(x, dtype=None):
    """`x`; integers and booleans in `dtype`, or Keras' own, as `keras.layers.Dense` takes them."""
    if is_float_dtype(standardize_dtype(x.dtype)):
        return x
    return ops.cast(x, dtype or config.floatx())


def to_float32(x):
    """`x` as a float32 tensor, and the type that its sums come back in."""
    x = floating(x)
    return ops.cast(x, "float32"), x.dtype
