"""Reports of pre-training."""

import dataclasses
from typing import Any

import keras
import numpy as np

from keras_structnets.pretraining.mixture import GeneralizedGaussianMixture
from keras_structnets.pretraining.whitening import Whitening


@dataclasses.dataclass(frozen=True)
class LayerReport:
    """What `pretrain` found for one similarity.

    Attributes:
        name: of the similarity.
        dimension: coordinates of the whitened patches.
        effective_dimension: of the patches, by Minka's criterion.
        n_patches: drawn for it.
        log_likelihoods: of the mixture, per patch, at each step of the fit; empty without a mixture.
        p: the order of the similarity: the shape of the mixture.
        empty_components: components that hold fewer than two patches.
        mixture: the fitted `GeneralizedGaussianMixture` of the whitened patches, or None.
        whitening: the fitted `Whitening` of the patches.

    Example:
        >>> convolution, similarity = keras.layers.Conv2D(4, 3), ksn.layers.Similarity2D(4)
        >>> model = keras.Sequential([keras.Input((8, 8, 1)), convolution, similarity])
        >>> images = np.random.default_rng(0).uniform(size=(50, 8, 8, 1))
        >>> report = ksn.pretraining.pretrain(model, images, templates="keep", verbose=0)
        >>> layer = report.layers[0]
        >>> layer.dimension, layer.n_patches, layer.p, layer.mixture
        (4, 30000, 2.0, None)
    """

    name: str
    dimension: int
    effective_dimension: int
    n_patches: int
    log_likelihoods: list[float]
    p: float
    empty_components: list[int]
    mixture: GeneralizedGaussianMixture | None
    whitening: Whitening


@dataclasses.dataclass(frozen=True)
class Report:
    """What `pretrain` found, layer by layer; `print` shows it as a table.

    Attributes:
        layers: a `LayerReport` for each similarity.
        model: the pre-trained model.

    Example:
        >>> convolution, similarity = keras.layers.Conv2D(4, 3), ksn.layers.Similarity2D(4)
        >>> model = keras.Sequential([keras.Input((8, 8, 1)), convolution, similarity])
        >>> images = np.random.default_rng(0).uniform(size=(50, 8, 8, 1))
        >>> report = ksn.pretraining.pretrain(model, images, templates="keep", verbose=0)
        >>> print(str(report).splitlines()[0])
        layer            patches  dimension (effective)  p     log-likelihood      empty
        >>> len(report.layers)
        1
    """

    layers: list[LayerReport]
    model: keras.Model

    def __str__(self) -> str:
        rows = ["layer            patches  dimension (effective)  p     log-likelihood      empty"]
        for row in self.layers:
            steps = row.log_likelihoods
            likelihood = f"{steps[0]:.2f} -> {steps[-1]:.2f}" if steps else "no mixture"
            dimension = f"{row.dimension} ({row.effective_dimension})"
            rows.append(
                f"{row.name:16} {row.n_patches:7} {dimension:>22}  {row.p:.2f}  "
                f"{likelihood:18}  {len(row.empty_components)}"
            )
        return "\n".join(rows)

    def plot(self) -> Any:
        """A matplotlib figure: variances of each layer's patches, and its mixture's log-likelihood."""
        from matplotlib.figure import Figure

        figure = Figure((4 * len(self.layers), 6), layout="constrained")
        panels = figure.subplots(2, len(self.layers), squeeze=False)
        for (above, below), row in zip(panels.T, self.layers, strict=True):
            above.semilogy(
                np.arange(1, len(row.whitening.eigenvalues_) + 1), row.whitening.eigenvalues_
            )
            above.axvline(row.dimension, color="0.5", linestyle=":", label=f"kept: {row.dimension}")
            above.set(
                title=row.name, xlabel="principal direction", ylabel="variance of the patches"
            )
            above.legend()
            below.plot(row.log_likelihoods)
            below.set(title=f"p = {row.p:.2f}", xlabel="step of EM")
            below.set_ylabel("log-likelihood per patch")
        return figure
