"""Weights before labels: whitening of patches and mixtures of Generalized Gaussians."""

from keras_structnets.pretraining.mixtures import GeneralizedGaussianMixture
from keras_structnets.pretraining.whitening import Whitening

__all__ = ["GeneralizedGaussianMixture", "Whitening"]
