"""Networks by name: `list_models`, `info`, `build`, and `register` for your own."""

from keras_structnets.inference import predictor
from keras_structnets.zoo import baselines, gconv, lowcost, simnets  # noqa: F401  they register
from keras_structnets.zoo.feature_maps import features
from keras_structnets.zoo.flops import Flops, flops
from keras_structnets.zoo.records import Record
from keras_structnets.zoo.registry import ModelInfo, build, info, list_models, register
from keras_structnets.zoo.summary import results

__all__ = [
    "Flops",
    "ModelInfo",
    "Record",
    "build",
    "features",
    "flops",
    "info",
    "list_models",
    "predictor",
    "register",
    "results",
]
