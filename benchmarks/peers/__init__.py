"""Networks of the zoo as PyTorch users write them by hand, which the speed of ours is compared with.

Ordinary modules on [b, c, h, w]: grouped and transposed convolutions, torch.fft, and broadcasting for
similarities. `peer_of` copies the weights, so that both give the same numbers.
"""

import re

import numpy as np
import torch
from torch import nn

from .gconv import GConv2d, GConvNet, PReLU
from .lowcost import (
    Diffusion,
    ExplicitRD,
    ImplicitRD,
    LinearMix,
    LinearMixConv,
    LowCostNet,
    Stencil,
)
from .simnets import MEX, GlobalMEX, Similarity, SimNet

PEERS = {
    "explicit_rd_a": lambda: LowCostNet(ExplicitRD),
    "implicit_rd_a": lambda: LowCostNet(ImplicitRD),
    "linear_mix_a": lambda: LowCostNet(LinearMix),
    "simnet_2layer": SimNet,
    "g_conv_net": GConvNet,
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
    "StencilConv2D": (Stencil, _stencil),
    "ExplicitDiffusion2D": (Diffusion, _stencil),
    "ImplicitDiffusion2D": (Diffusion, _stencil),
    "LinearMixConv2D": (LinearMixConv, _linear_mix),
    "GConv2D": ((GConv2d, nn.Conv2d), _gconv),
    "PReLU": (PReLU, lambda slope: (slope.reshape(-1),)),
    "Similarity2D": (Similarity, lambda z, u: (z[0, 0].T, u[0, 0].T)),
    "MEX": (MEX, lambda offsets, beta: (offsets.T, beta)),
    "GlobalMEXPooling2D": (GlobalMEX, lambda beta: (beta,)),
}


def peer_of(name, model):
    """The peer of a model of the zoo at 10 classes, with its weights."""
    peer = PEERS[name]()
    for kind, (classes, convert) in KINDS.items():
        classes = classes if isinstance(classes, tuple) else (classes,)
        layers = [x for x in model.layers if type(x).__name__ == kind and x.weights]
        modules = [m for m in peer.modules() if type(m) in classes]
        if layers:
            assert len(layers) == len(modules), (kind, len(layers), len(modules))
        for layer, module in zip(sorted(layers, key=_number), modules, strict=False):
            _load(module, convert(*layer.get_weights()))
    return peer


def _load(module, arrays):
    tensors = [*module.parameters(recurse=False)]
    tensors += [b for b in module.buffers(recurse=False) if b.is_floating_point()]
    for tensor, array in zip(tensors, arrays, strict=True):
        with torch.no_grad():
            tensor.copy_(torch.from_numpy(np.array(array)))


def _number(layer):
    """Layers of a kind in the order in which they were made, which their names count."""
    found = re.search(r"_(\d+)", layer.name)
    return int(found[1]) if found else 0


def train_step(peer, optimizer, x, y):
    """One step of training; the loss as a number."""
    optimizer.zero_grad()
    loss = nn.functional.cross_entropy(peer(x), y)
    loss.backward()
    optimizer.step()
    if hasattr(peer, "project"):
        peer.project()
    return loss.item()
