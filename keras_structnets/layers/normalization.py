"""Batch normalization in one operation of the backend."""

import math

import keras
from keras import ops

from keras_structnets.ops import kernels
from keras_structnets.signatures import Shape, Tensor


@keras.saving.register_keras_serializable(package="keras_structnets")
class BatchNormalization(keras.layers.BatchNormalization):
    """`keras.layers.BatchNormalization`, computed in one operation during training.

    `y = gamma (x - mean) / sqrt(variance + epsilon) + beta`, mean and biased variance over all axes
    but the last. Keras computes them with six operations; TensorFlow and PyTorch have a fused one. It is
    used for floating-point inputs of at most 32 bits whose channels are last, without a mask, `renorm` or
    `synchronized`. In all other cases, on JAX and in inference, Keras' own code runs.

    Shapes: [batch, ..., channels] -> the same.

    Arguments, weights and saved files are those of `keras.layers.BatchNormalization`.

    Example:
        >>> layer = ksn.layers.BatchNormalization(momentum=0.9)
        >>> y = layer(np.array([[1.0], [3.0]], "float32"), training=True)
        >>> keras.ops.convert_to_numpy(y).round(2).tolist()
        [[-1.0], [1.0]]

    Reference: Ioffe and Szegedy, Batch Normalization, 2015.
    """

    def call(
        self, inputs: Tensor, training: bool | None = None, mask: Tensor | None = None
    ) -> Tensor:
        kernel = kernels.select("batch_normalization")
        if not training or not self.trainable or mask is not None or not kernel:
            return super().call(inputs, training=training, mask=mask)
        if not self._fits(inputs.dtype, inputs.shape):
            return super().call(inputs, training=training, mask=mask)
        channels = inputs.shape[-1:]
        gamma = self.gamma if self.scale else ops.ones(channels, "float32")
        beta = self.beta if self.center else ops.zeros(channels, "float32")
        outputs, mean, variance = kernel(
            inputs, ops.convert_to_tensor(gamma), ops.convert_to_tensor(beta), self.epsilon
        )
        for moving, value in ((self.moving_mean, mean), (self.moving_variance, variance)):
            moving.assign(moving * self.momentum + value * (1.0 - self.momentum))
        return ops.cast(outputs, self.compute_dtype)

    def _fits(self, dtype: str, shape: Shape) -> bool:
        """Whether the fused operation computes what Keras' own code does."""
        floats = ("float16", "bfloat16", "float32")
        one_value = None not in shape and math.prod(shape[:-1]) < 2
        return (
            keras.backend.standardize_dtype(dtype) in floats
            and self.variable_dtype == "float32"
            and self.axis in (-1, len(shape) - 1)
            and not (self.renorm or self.synchronized or one_value)
        )
