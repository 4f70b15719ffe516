"""GConvNet in PyTorch: each contraction of whole 9x9 neurons folded into one convolution by hand."""

import torch
from torch import nn
from torch.nn import functional

N_ELEMENTS = 81  # of a neuron of 9x9


class GConv2d(nn.Module):
    """A 3x3 convolution of structured neurons, their elements as channels, 'same' as in Keras."""

    def __init__(self, n_in, n_out, stride):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(n_out, n_in, 3, 3))
        self.stride = stride

    def forward(self, x):
        if self.stride == 1:
            return functional.conv2d(x, self.weight, padding=1)
        return functional.conv2d(functional.pad(x, (0, 1, 0, 1)), self.weight, stride=self.stride)


class Unit(nn.Module):
    """Convolution and batch normalization."""

    def __init__(self, n_in, n_out, stride=1):
        super().__init__()
        self.conv, self.norm = GConv2d(n_in, n_out, stride), nn.BatchNorm2d(n_out, eps=1e-3)

    def forward(self, x):
        return self.norm(self.conv(x))


class SkipBlock(nn.Module):
    """A chain of convolutions with a skip over every two of them."""

    def __init__(self, n_in, skips):
        super().__init__()
        self.first, self.slopes_of_first = Unit(n_in, N_ELEMENTS, 2), nn.PReLU(N_ELEMENTS)
        self.projection, self.slopes_of_projection = Unit(n_in, N_ELEMENTS, 2), nn.PReLU(N_ELEMENTS)
        self.chain = nn.ModuleList(Unit(N_ELEMENTS, N_ELEMENTS) for _ in range(skips))
        self.slopes = nn.ModuleList(nn.PReLU(N_ELEMENTS) for _ in range(skips))

    def forward(self, x):
        skip = self.slopes_of_projection(self.projection(x))
        x = self.slopes_of_first(self.first(x))
        for unit, slopes in zip(self.chain, self.slopes, strict=True):
            x, skip = slopes(unit(x) + skip), x
        return x


class GConvNet(nn.Sequential):
    """g_conv_net for 10 classes."""

    def __init__(self):
        n_in, blocks = 3, []
        for skips in (3, 4, 3, 4):
            blocks.append(SkipBlock(n_in, skips))
            n_in = N_ELEMENTS
        last = 4 * N_ELEMENTS
        blocks += [Unit(n_in, last), nn.PReLU(last)]
        super().__init__(*blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(last, 10))
