"""Weights before labels: whitening of patches, mixtures of Generalized Gaussians, and `pretrain`."""

from keras_structnets.pretraining.mixtures import GeneralizedGaussianMixture
from keras_structnets.pretraining.simnets import LayerReport, Report, find_pairs, pretrain
from keras_structnets.pretraining.whitening import Whitening

__all__ = [
    "GeneralizedGaussianMixture",
    "LayerReport",
    "Report",
    "Whitening",
    "find_pairs",
    "pretrain",
]
