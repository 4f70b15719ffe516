"""Kernels for PyTorch."""

import torch


def batch_normalization(x, gamma, beta, epsilon):
    """`x` normalized over all axes but the last; its mean and biased variance, float32 [c].

    With a momentum of 1 PyTorch writes the mean and the unbiased variance into its running statistics.
    """
    n = x[..., 0].numel()
    mean, variance = torch.zeros_like(gamma), torch.zeros_like(gamma)
    y = torch.nn.functional.batch_norm(
        x.movedim(-1, 1), mean, variance, gamma, beta, training=True, momentum=1.0, eps=epsilon
    )
    return y.movedim(1, -1), mean, variance * ((n - 1) / n)
