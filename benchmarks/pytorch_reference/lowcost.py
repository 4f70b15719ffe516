"""The low-cost networks in PyTorch: depthwise convolutions, their transposes, and torch.fft."""

import torch
from torch import nn
from torch.nn import functional

STEP_SIZE = 0.5


def norm(channels):
    """Batch normalization without parameters, as in Keras."""
    return nn.BatchNorm2d(channels, eps=1e-3, affine=False)


class Stencil(nn.Module):
    """A depthwise 3x3 convolution."""

    def __init__(self, channels):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(channels, 1, 3, 3))

    def forward(self, x):
        return functional.conv2d(x, self.weight, padding=1, groups=x.shape[1])


class Diffusion(Stencil):
    """The operator of an explicit or an implicit step."""

    def explicit(self, x):
        y = super().forward(x)
        back = functional.conv_transpose2d(y, self.weight, padding=1, groups=x.shape[1])
        return x - STEP_SIZE * back

    def implicit(self, x):
        size = x.shape[2:]
        spectrum = torch.fft.rfft2(self.weight[:, 0], s=size)
        response = 1 / (1 + STEP_SIZE * (spectrum.real.square() + spectrum.imag.square()))
        return torch.fft.irfft2(torch.fft.rfft2(x) * response, s=size)


class ExplicitRD(nn.Module):
    """A step of eq. 9."""

    def __init__(self, channels):
        super().__init__()
        reaction = nn.Conv2d(channels, channels, 1, bias=False)
        self.reaction = nn.Sequential(reaction, norm(channels), nn.ReLU())
        self.diffusion = Diffusion(channels)

    def forward(self, y):
        return self.diffusion.explicit(y) + STEP_SIZE * self.reaction(y)


class ImplicitRD(ExplicitRD):
    """A step of eq. 11."""

    def forward(self, y):
        return self.diffusion.implicit(y + STEP_SIZE * self.reaction(y))


class LinearMixConv(nn.Module):
    """The sum of a depthwise and a 1x1 convolution, eq. 7."""

    def __init__(self, channels):
        super().__init__()
        self.stencils = nn.Parameter(torch.zeros(channels, 1, 3, 3))
        self.pointwise = nn.Parameter(torch.zeros(channels, channels, 1, 1))

    def forward(self, x):
        mixed = functional.conv2d(x, self.pointwise)
        return functional.conv2d(x, self.stencils, padding=1, groups=x.shape[1]) + mixed


class LinearMix(nn.Module):
    """A residual step of two of them."""

    def __init__(self, channels):
        super().__init__()
        self.first, self.norm = LinearMixConv(channels), norm(channels)
        self.second = LinearMixConv(channels)

    def forward(self, y):
        return y + self.second(functional.relu(self.norm(self.first(y))))


class Connecting(nn.Module):
    """N([x; K x]), then 2x2 average pooling."""

    def __init__(self, channels):
        super().__init__()
        self.stencil, self.norm = Stencil(channels), norm(2 * channels)

    def forward(self, x):
        return functional.avg_pool2d(self.norm(torch.cat([x, self.stencil(x)], 1)), 2)


class LowCostNet(nn.Sequential):
    """Widths 32, 64, 128 with four steps each."""

    def __init__(self, step):
        opening = nn.Conv2d(3, 32, 5, padding=2, bias=False)
        layers = [opening, norm(32), nn.ReLU()]
        for width in (32, 64, 128):
            layers += [*(step(width) for _ in range(4)), Connecting(width)]
        super().__init__(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(256, 10))
