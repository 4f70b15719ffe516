"""Rules of the steps of diffusion: spectra are constants, Fourier transforms products with matrices."""

import numpy as np

from keras_structnets import layers
from keras_structnets.inference import nodes
from keras_structnets.inference.plain import SpectralFilter
from keras_structnets.inference.rules import rule
from keras_structnets.inference.rules.lowcost import stencil
from keras_structnets.inference.weights import array


@rule(layers.ExplicitDiffusion1D, layers.ExplicitDiffusion2D, layers.ExplicitDiffusion3D)
def explicit_diffusion(layer, x):
    """`x - h K^T K x`; the factor is in the kernel of `K^T`."""
    kernel, name = array(layer.kernel), layer.name
    inner = stencil(x, kernel, layer.padding, f"{name}_stencil")
    step = -layer.step_size * kernel
    return nodes.add(x, stencil(inner, step, layer.padding, f"{name}_adjoint", mirrored=True), name)


@rule(layers.ImplicitDiffusion1D, layers.ImplicitDiffusion2D, layers.ImplicitDiffusion3D)
def implicit_diffusion(layer, x):
    """`(I + h K^T K)^-1 x`, each channel by itself."""
    kernel = array(layer.kernel)
    power = abs(_spectrum(kernel, x.shape[:-1], [k // 2 for k in kernel.shape[:-1]])) ** 2
    return _filter(layer, x, 1 / (1 + layer.step_size * power), range(1, len(x.shape)))


@rule(layers.CirculantDiffusion1D, layers.CirculantDiffusion2D, layers.CirculantDiffusion3D)
def circulant_diffusion(layer, x):
    """`x - h K^T K x`, where the channels are one more periodic axis."""
    kernel = array(layer.kernel)
    centers = [*(k // 2 for k in kernel.shape[:-1]), 0]
    power = abs(_spectrum(kernel[..., None], x.shape, centers)[..., 0]) ** 2
    return _filter(layer, x, 1 - layer.step_size * power, range(1, len(x.shape) + 1))


def _spectrum(kernel, shape, centers):
    """The transform of the stencils [*k, c] on an image of `shape`, as `numpy.fft.rfftn` gives it."""
    image = np.zeros((*shape, kernel.shape[-1]))
    for offsets in np.ndindex(kernel.shape[:-1]):
        axes = zip(offsets, centers, shape, strict=True)
        image[tuple((o - c) % n for o, c, n in axes)] += kernel[offsets]
    return np.fft.rfftn(image, axes=range(len(shape)))


def _filter(layer, x, response, axes):
    operation = SpectralFilter(x.shape, tuple(axes), response.shape, name=layer.name)
    return nodes.call(operation, x, shape=x.shape, name=layer.name, weights=[response])
