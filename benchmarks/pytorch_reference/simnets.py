"""The two-layer SimNet in PyTorch: similarity and MEX by broadcasting."""

import math

import torch
from torch import nn

from .lowcost import norm


class Similarity(nn.Module):
    """-sum_i u_il (x_i - z_il)^2 at each pixel."""

    def __init__(self, channels):
        super().__init__()
        self.templates = nn.Parameter(torch.zeros(channels, channels))
        self.weights = nn.Parameter(torch.ones(channels, channels))

    def forward(self, x):
        z, u = self.templates[..., None, None], self.weights[..., None, None]  # [n_out, n_in, 1, 1]
        return -(u * (x[:, None] - z).square()).sum(2)


class MEX(nn.Module):
    """MEX of the channels with offsets."""

    def __init__(self, channels, classes):
        super().__init__()
        self.offsets = nn.Parameter(torch.zeros(classes, channels))
        self.beta = nn.Parameter(torch.tensor(1.0))

    def forward(self, x):
        terms = x[:, None] + self.offsets[..., None, None]  # [b, classes, channels, h, w]
        return (torch.logsumexp(self.beta * terms, 2) - math.log(x.shape[1])) / self.beta


class GlobalMEX(nn.Module):
    """MEX over the pixels."""

    def __init__(self):
        super().__init__()
        self.beta = nn.Parameter(torch.tensor(1.0))

    def forward(self, x):
        x = x.flatten(2)
        return (torch.logsumexp(self.beta * x, 2) - math.log(x.shape[2])) / self.beta


class SimNet(nn.Sequential):
    """simnet_2layer for 32x32 pixels."""

    def __init__(self):
        first = [nn.Conv2d(3, 32, 5), norm(32), Similarity(32), nn.MaxPool2d(3, 2), norm(32)]
        second = [nn.Conv2d(32, 64, 5), norm(64), Similarity(64)]
        super().__init__(*first, *second, MEX(64, 10), GlobalMEX())

    @torch.no_grad()
    def project(self):
        """Keep the weights of the similarities nonnegative."""
        for module in self.modules():
            if isinstance(module, Similarity):
                module.weights.clamp_(min=0)
