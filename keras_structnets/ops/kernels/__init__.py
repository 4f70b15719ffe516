"""Kernels: the operations that some backend computes faster than `keras.ops` does.

`generic.py` has each operation for every backend. A file named after a backend has the kernels of that
backend alone, and is imported only where that backend runs. `select` chooses between them.
"""

import importlib
from typing import Any

import keras
from keras.backend import is_float_dtype, standardize_dtype

from keras_structnets.ops.kernels import generic
from keras_structnets.signatures import Tensor

BACKENDS = {  # operation: the backends that have a kernel for it
    "add": ("torch",),
    "affine": ("torch",),
    "average_pool": ("torch",),
    "batch_normalization": ("tensorflow", "torch"),
    "compiled": ("tensorflow", "jax"),
    "cond": ("torch",),
    "constant_conv": ("torch", "jax"),
    "constant_depthwise": ("torch", "jax"),
    "constant_filter": ("tensorflow", "torch", "jax"),
    "constant_prelu": ("torch",),
    "conv": ("torch", "jax"),
    "custom_gradient": ("tensorflow",),
    "depthwise": ("torch", "jax"),
    "inference": ("tensorflow", "torch", "jax"),
    "is_double_backward": ("torch",),
    "loop": ("torch",),
    "max_pool": ("torch", "jax"),
    "pointwise": ("torch",),
    "relu": ("torch",),
    "spectral_filter": ("tensorflow", "torch", "jax"),
    "stop_fusion": ("jax",),
    "strided_depthwise": ("torch", "jax"),
    "zero_padding": ("torch",),
}
CPU_ONLY = (("max_pool", "jax"), ("stop_fusion", "jax"))


def select(operation: str, x: Tensor | None = None) -> Any:
    """The kernel of the current backend for `operation`, else the generic form, else None.

    Args:
        operation: a name in `BACKENDS`.
        x: the tensor that it is to run on. The generic form runs where `x` is symbolic, is not of a
            floating-point type or, for a kernel in `CPU_ONLY`, has an unknown size or is not on a CPU.
    """
    backend = keras.backend.backend()
    if backend in BACKENDS[operation] and (x is None or _fits(operation, backend, x)):
        module = importlib.import_module(f"{__name__}.{backend}")
    else:
        module = generic
    return getattr(module, operation, None)


def _fits(operation, backend, x):
    if keras.utils.is_keras_tensor(x) or not is_float_dtype(standardize_dtype(x.dtype)):
        return False
    return (operation, backend) not in CPU_ONLY or (
        all(isinstance(size, int) for size in x.shape)
        and all(device.startswith("cpu") for device in keras.distribution.list_devices())
    )
