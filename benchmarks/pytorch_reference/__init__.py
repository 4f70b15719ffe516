"""PyTorch references: networks of the zoo as PyTorch users write them by hand.

Ordinary modules on [b, c, h, w]: grouped and transposed convolutions, torch.fft, and broadcasting for
similarities. `reference_of` copies the weights: both give the same numbers.
"""

import numpy as np
import torch
from torch import nn

from . import gconv, lowcost, simnets

NETWORKS = {
    "explicit_rd_a": lambda: lowcost.LowCostNet(lowcost.ExplicitRD),
    "implicit_rd_a": lambda: lowcost.LowCostNet(lowcost.ImplicitRD),
    "linear_mix_a": lambda: lowcost.LowCostNet(lowcost.LinearMix),
    "simnet_2layer": simnets.SimNet,
    "g_conv_net": gconv.GConvNet,
}


def _conv(kernel, *bias):
    return kernel.transpose(3, 2, 0, 1), *bias


def _stencil(kernel):
    return (kernel.transpose(2, 0, 1)[:, None],)


def _linear_mix(stencil, pointwise):
    return *_stencil(stencil), pointwise.T[:, :, None, None]


def _gconv(kernel):
    """[k, k, m, s, t, channels, *structure] as [out, in, k, k]; nearest axis first in the kernel."""
    if kernel.ndim == 4:  # no structure
        return _conv(kernel)
    k, _, m = kernel.shape[:3]
    kernel = kernel.transpose(0, 1, 2, 4, 3, *range(5, kernel.ndim))
    n_in = m * kernel.shape[3] * kernel.shape[4]
    return (kernel.reshape(k, k, n_in, -1).transpose(3, 2, 0, 1),)


# Layers of Keras by class, the module each stands for, and its weights as the module keeps them.
KINDS = {
    "Conv2D": (nn.Conv2d, _conv),
    "Dense": (nn.Linear, lambda kernel, bias: (kernel.T, bias)),
    "BatchNormalization": (nn.BatchNorm2d, lambda *weights: weights),
    "StencilConv2D": (lowcost.Stencil, _stencil),
    "ExplicitDiffusion2D": (lowcost.Diffusion, _stencil),
    "ImplicitDiffusion2D": (lowcost.Diffusion, _stencil),
    "LinearMixConv2D": (lowcost.LinearMixConv, _linear_mix),
    "GConv2D": ((gconv.GConv2d, nn.Conv2d), _gconv),
    "PReLU": (nn.PReLU, lambda slope: (slope.reshape(-1),)),
    "Similarity2D": (simnets.Similarity, lambda z, u: (z[0, 0].T, u[0, 0].T)),
    "MEX": (simnets.MEX, lambda offsets, beta: (offsets.T, beta)),
    "GlobalMEXPooling2D": (simnets.GlobalMEX, lambda beta: (beta,)),
}


def reference_of(name, model):
    """The reference of a model of the zoo at 10 classes, with its weights."""
    reference = NETWORKS[name]()
    for kind, (classes, convert) in KINDS.items():
        classes = classes if isinstance(classes, tuple) else (classes,)
        layers = [x for x in model.layers if type(x).__name__ == kind and x.weights]
        modules = [m for m in reference.modules() if type(m) in classes]
        if layers:
            assert len(layers) == len(modules), (kind, len(layers), len(modules))
        for layer, module in zip(layers, modules, strict=False):
            _load(module, convert(*layer.get_weights()))
    return reference


def _load(module, arrays):
    tensors = [*module.parameters(recurse=False)]
    tensors += [b for b in module.buffers(recurse=False) if b.is_floating_point()]
    for tensor, array in zip(tensors, arrays, strict=True):
        with torch.no_grad():
            tensor.copy_(torch.from_numpy(np.array(array)))


def train_step(reference, optimizer, x, y):
    """One step of training; the loss as a number."""
    optimizer.zero_grad()
    loss = nn.functional.cross_entropy(reference(x), y)
    loss.backward()
    optimizer.step()
    if hasattr(reference, "project"):
        reference.project()
    return loss.item()
