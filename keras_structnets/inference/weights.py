"""What rules read from layers."""

import keras
import numpy as np

from keras_structnets.inference import nodes


def array(variable):
    """The value of a weight, or a number, in float64."""
    if isinstance(variable, int | float):
        return np.float64(variable)
    return keras.ops.convert_to_numpy(variable).astype("float64")


def floats(x):
    """The node `x`, as float32 if it holds something else."""
    if x.dtype == "float32":
        return x
    return nodes.call(keras.layers.Rescaling(1.0, dtype="float32"), x, shape=x.shape)
