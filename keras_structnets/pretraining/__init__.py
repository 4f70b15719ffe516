"""Unsupervised pre-training: `pretrain`, whitening of patches, mixtures of Generalized Gaussians."""

from keras_structnets.pretraining.mixture import GeneralizedGaussianMixture
from keras_structnets.pretraining.pairs import find_pairs
from keras_structnets.pretraining.pretrain import pretrain
from keras_structnets.pretraining.report import LayerReport, Report
from keras_structnets.pretraining.whitening import Whitening

__all__ = [
    "GeneralizedGaussianMixture",
    "LayerReport",
    "Report",
    "Whitening",
    "find_pairs",
    "pretrain",
]
