"""Multiplications and additions of a model for one input, counted by formula."""

import dataclasses
import math

import keras
from keras import layers as kl

from keras_structnets import layers as ksl
from keras_structnets.layers import circulant, diffusion, gconv, lowcost, mex, similarity
from keras_structnets.ops.kernels.generic import LARGEST_DFT


@dataclasses.dataclass(frozen=True)
class Flops:
    """Floating-point operations for one input.

    Attributes:
        multiplies: how many multiplications.
        adds: how many additions.
        by_layer: {name of a layer: (multiplies, adds)}, without those that need none.

    Example:
        >>> flops = ksn.zoo.Flops(600, 500, {"conv2d": (600, 500)})
        >>> flops.total
        1100
        >>> print(flops)
        1,100 (600 multiplications, 500 additions)
    """

    multiplies: int
    adds: int
    by_layer: dict[str, tuple[int, int]]

    @property
    def total(self) -> int:
        """Multiplications and additions together, as Deep SimNets counts (section 6)."""
        return self.multiplies + self.adds

    def __str__(self) -> str:
        return f"{self.total:,} ({self.multiplies:,} multiplications, {self.adds:,} additions)"


def flops(model: keras.Model) -> Flops:
    """Count the operations of one forward pass of `model`, for one input.

    Multiplications and additions count one each; comparisons, divisions, exponentials, logarithms and
    the copying of data count nothing. Products with a border of zeros count like all others. Batch
    normalization counts as one multiplication and one addition of each number. The similarity
    `sum_i u_i |x_i - z_i|^p` takes an addition and a power (one multiplication) per entry of a template,
    another multiplication for the weight, and an addition for the sum. An FFT counts as one of radix
    2: N log2 N multiplications and half as many additions again for N real numbers. The implicit step
    of an image of at most 32 pixels along each axis is two products of matrices, and counts as such.

    Args:
        model: a Functional or Sequential `keras.Model` of known input shape, of the layers that the zoo
            uses.

    Returns:
        `Flops`.

    Raises:
        ValueError: for a layer without a rule, or unknown sizes.

    Example:
        >>> model = keras.Sequential([keras.Input((32, 32, 3)), keras.layers.Conv2D(8, 5)])
        >>> ksn.zoo.flops(model).total, 28 * 28 * 8 * (75 + 75)
        (940800, 940800)
    """
    if not isinstance(model, keras.Model):
        raise ValueError(
            f"flops: `model` must be a keras.Model, got {model!r}. Use zoo.build(name)."
        )
    by_layer: dict[str, tuple[int, int]] = {}
    _collect(model, by_layer)
    multiplies, adds = (sum(counts) for counts in zip(*by_layer.values(), strict=True))
    return Flops(multiplies, adds, by_layer)


def largest_activations(model: keras.Model) -> int:
    """How many numbers the largest layer reads and writes, for one input."""
    tensors = [(operation.input, operation.output) for operation in model.operations]
    return max(sum(map(_size, keras.tree.flatten(pair))) for pair in tensors)


def _collect(model, by_layer):
    sequential = isinstance(model, keras.Sequential)
    for operation in model.layers if sequential else model.operations:
        if isinstance(operation, keras.Model):
            _collect(operation, by_layer)
            continue
        count = _count(operation)
        if any(count):
            by_layer[operation.name] = count


def _count(operation):
    for kinds, rule in _RULES:
        if isinstance(operation, kinds):
            return rule(operation)
    name = type(operation).__name__
    if name in _BY_NAME:
        return _BY_NAME[name](operation)
    raise ValueError(
        f"flops: there is no rule for {name} (layer {operation.name!r}). Use layers of Keras or of "
        "keras_structnets that the zoo uses."
    )


def _size(tensor):
    """Numbers of one sample."""
    if None in tensor.shape[1:]:
        raise ValueError(
            f"flops: the shape {tuple(tensor.shape)} is not known. Build the model with a fixed "
            "input_shape."
        )
    return math.prod(tensor.shape[1:])


def _per_output(multiplies, adds):
    def rule(layer):
        n = _size(layer.output)
        return n * multiplies, n * adds

    return rule


def _sums(n_outputs, n_terms, bias):
    """`n_outputs` sums of `n_terms` products each, with a bias or without."""
    return n_outputs * n_terms, n_outputs * (n_terms - 1 + bool(bias))


def _conv(layer):
    n_in = layer.input.shape[-1] // layer.groups
    n_terms = math.prod(layer.kernel_size) * n_in
    return _sums(_size(layer.output), n_terms, layer.use_bias)


def _depthwise(layer):
    return _sums(_size(layer.output), math.prod(layer.kernel_size), layer.use_bias)


def _dense(layer):
    return _sums(_size(layer.output), layer.input.shape[-1], layer.use_bias)


def _gconv(layer):
    n_out = layer.filters * math.prod(layer.structure)
    return _sums(_size(layer.output), math.prod(layer.kernel.shape) // n_out, layer.use_bias)


def _merged(multiplies, adds):
    """One operation per output and input after the first."""

    def rule(layer):
        n = _size(layer.output) * (len(layer.input) - 1)
        return n * multiplies, n * adds

    return rule


def _mean(layer):
    """Sums over windows or over the image, and one multiplication for each."""
    n_out = _size(layer.output)
    return n_out, _window(layer) * n_out - n_out


def _window(layer):
    if hasattr(layer, "pool_size"):
        return math.prod(layer.pool_size)
    return _size(layer.input) // _size(layer.output)


def _layer_normalization(layer):
    n = _size(layer.output)
    return 3 * n, 4 * n  # mean, difference, square, its mean, scale and offset


def _similarity(layer):
    n_out = _size(layer.output)
    n_terms = math.prod(layer.templates.shape[:-1])
    linear = isinstance(layer, similarity.Linear)
    power_or_product = 1
    multiplies = n_out * n_terms * (power_or_product + layer.use_similarity_weights)
    return multiplies, n_out * (n_terms - 1 if linear else 2 * n_terms - 1)


def _mex(layer):
    """`exp(beta (x + b))`, summed."""
    n_out, n_in = _size(layer.output), layer.input.shape[-1]
    return n_out * (n_in + 1), n_out * (2 * n_in - 1 if layer.use_offsets else n_in - 1)


def _mex_pooling(layer):
    n_out, n_terms = _size(layer.output), _window(layer)
    offsets = n_out * n_terms if getattr(layer, "use_offsets", False) else 0
    beta = layer.initial_beta if not layer.trainable_beta else None
    if beta is not None and math.isinf(beta):
        return 0, offsets  # and comparisons
    factor = 0 if beta == 0 else n_terms
    return n_out * (factor + 1), n_out * (n_terms - 1) + offsets


def _stencil_conv(layer):
    """By stencils; by 'fft', as the implicit step with a complex response."""
    if layer.method == "direct":
        return _stencil(layer)
    multiplies, adds = _implicit(layer)
    return multiplies + _size(layer.output), adds + _size(layer.output)


def _stencil(layer):
    return _sums(_size(layer.output), math.prod(layer.kernel_size), bias=False)


def _linear_mix(layer):
    n, c = _size(layer.output), layer.input.shape[-1]
    return _sums(n, math.prod(layer.kernel_size) + c, layer.use_bias)


def _explicit_diffusion(layer):
    multiplies, adds = _stencil(layer)
    n = _size(layer.output)
    return 2 * multiplies + n, 2 * adds + n


def _implicit(layer):
    """Transform each channel, multiply by a real response, and transform back."""
    *spatial, channels = layer.output.shape[1:]
    if max(spatial) > LARGEST_DFT:
        return _by_fft(math.prod(spatial), channels)
    *others, last = spatial
    frequencies = 2 * (last // 2 + 1)  # of the last axis; (re, im)
    spectrum = math.prod(others) * frequencies * channels
    one_way = _size(layer.output) * frequencies + spectrum * 2 * sum(others)
    return 2 * one_way + spectrum, 2 * one_way


def _by_fft(length, count):
    """`count` transforms of `length` numbers, a product with a real response, and the way back."""
    n, stages = length * count, math.log2(length)
    return round(n * (2 * stages + 1)), round(n * 3 * stages)


def _circulant_diffusion(layer):
    return _by_fft(_size(layer.output), 1)


def _circulant(layer):
    """Transform, multiply by a complex response, and transform back; 'same' adds zeros around."""
    spatial, channels = layer.output.shape[1:-1], layer.output.shape[-1]
    if layer.padding == "same":
        spatial = [n + k - 1 for n, k in zip(spatial, layer.kernel_size, strict=True)]
    n = math.prod(spatial) * channels
    stages = math.log2(n)
    return round(n * (2 * stages + 2)), round(n * (3 * stages + 1)) + layer.use_bias * n


def _nothing(_):
    return 0, 0


_FREE = (
    kl.InputLayer,
    kl.Activation,
    kl.Identity,
    kl.ReLU,
    kl.Concatenate,
    kl.Flatten,
    kl.Reshape,
    kl.Permute,
    kl.ZeroPadding1D,
    kl.ZeroPadding2D,
    kl.ZeroPadding3D,
    kl.Dropout,
    kl.GaussianDropout,
    kl.MaxPooling1D,
    kl.MaxPooling2D,
    kl.MaxPooling3D,
    kl.GlobalMaxPooling1D,
    kl.GlobalMaxPooling2D,
    kl.GlobalMaxPooling3D,
    ksl.Structure,
    ksl.Destructure,
)
_MEANS = (
    kl.AveragePooling1D,
    kl.AveragePooling2D,
    kl.AveragePooling3D,
    kl.GlobalAveragePooling1D,
    kl.GlobalAveragePooling2D,
    kl.GlobalAveragePooling3D,
)
_RULES = [
    (_FREE, _nothing),
    ((kl.DepthwiseConv1D, kl.DepthwiseConv2D), _depthwise),
    ((kl.Conv1D, kl.Conv2D, kl.Conv3D), _conv),
    ((kl.Dense,), _dense),
    ((kl.PReLU,), _per_output(1, 0)),
    ((kl.BatchNormalization, kl.Rescaling, kl.Normalization), _per_output(1, 1)),
    ((kl.LayerNormalization,), _layer_normalization),
    ((kl.Add, kl.Subtract), _merged(0, 1)),
    ((kl.Multiply,), _merged(1, 0)),
    (_MEANS, _mean),
    ((gconv._GConv,), _gconv),
    ((similarity.Templates,), _similarity),
    ((mex.MEX,), _mex),
    ((mex.MEXPooling, mex.GlobalMEXPooling), _mex_pooling),
    ((circulant._CirculantConv,), _circulant),
    ((diffusion._ImplicitDiffusion,), _implicit),
    ((diffusion._CirculantDiffusion,), _circulant_diffusion),
    ((diffusion._ExplicitDiffusion,), _explicit_diffusion),
    ((lowcost._StencilConv,), _stencil_conv),
    ((lowcost._LinearMix,), _linear_mix),
]
_BY_NAME = {  # operations on tensors, and a layer that keras.applications does not make public
    "Add": _per_output(0, 1),
    "Subtract": _per_output(0, 1),
    "Multiply": _per_output(1, 0),
    "LayerScale": _per_output(1, 0),
    "Split": _nothing,
    "Square": _per_output(1, 0),
    "Sum": lambda operation: (0, _size(operation.input) - _size(operation.output)),
    "Log": _nothing,
}
