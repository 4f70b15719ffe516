"""Networks with structured neurons for Keras 3: GConvNets, low-cost CNNs and Deep SimNets."""

import importlib

from keras_structnets import default_backend

default_backend.choose()  # before anything imports Keras

from keras_structnets import (  # noqa: E402
    analysis,
    blocks,
    constraints,
    conversion,
    initializers,
    layers,
    ops,
    zoo,
)
from keras_structnets.conversion import convert  # noqa: E402

__version__ = "0.2.0"
__all__ = [
    "analysis",
    "blocks",
    "constraints",
    "conversion",
    "convert",
    "initializers",
    "layers",
    "ops",
    "pretraining",
    "training",
    "zoo",
]


def __getattr__(name):
    if name in ("pretraining", "training"):  # need the extra `train`: loaded when first used
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
