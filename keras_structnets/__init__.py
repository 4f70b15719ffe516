"""Networks with structured neurons for Keras 3: GConvNets, low-cost CNNs and Deep SimNets."""

import importlib
import typing

from keras_structnets import default_backend

default_backend.choose()  # before anything imports Keras

if typing.TYPE_CHECKING or not default_backend.is_command_line():  # whose --help needs no Keras
    from keras_structnets import (
        analysis,
        blocks,
        constraints,
        conversion,
        inference,
        initializers,
        layers,
        losses,
        ops,
        zoo,
    )
    from keras_structnets.conversion import convert

__version__ = "0.2.0"
__all__ = [
    "analysis",
    "blocks",
    "constraints",
    "conversion",
    "convert",
    "inference",
    "initializers",
    "layers",
    "losses",
    "ops",
    "pretraining",
    "training",
    "zoo",
]


def __getattr__(
    name,
):  # `pretraining` and `training` need the extra `train`: loaded when first used
    if name == "convert":
        return importlib.import_module(f"{__name__}.conversion").convert
    if name in __all__:
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__():
    return [*__all__, "__version__"]
