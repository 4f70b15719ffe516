"""Similarities from a mixture: its means as templates, or all of its log densities."""

import keras
import numpy as np


def set_similarity(pair, mixture, templates, temperature, offset_spread, rng):
    """Templates and p of the mixture; with templates="log_density" weights and offsets too."""
    if mixture is None:
        return
    k = len(mixture.means_)
    others = rng.integers(0, k, pair.similarity.filters - k)  # they repeat a component
    chosen = np.concatenate([np.arange(k), others])
    _set_templates(pair.similarity, mixture, chosen, templates == "mixture")
    if templates == "log_density":
        _set_log_density(pair, mixture, chosen, temperature, offset_spread, rng)


def _set_templates(similarity, mixture, chosen, keeps_deviation):
    """Templates and p of the mixture; with the deviation that the templates have, if it is kept."""
    d = mixture.means_.shape[1]
    templates = np.zeros(similarity.templates.shape, "float32")
    templates[..., :d, :] = mixture.templates[:, chosen]
    if keeps_deviation:
        deviation = keras.ops.convert_to_numpy(similarity.templates).std()
        templates *= deviation / max(templates[..., :d, :].std(), 1e-6)
    similarity.templates.assign(templates)
    if similarity.trainable_p:
        similarity.p.assign(mixture.shape_)


def _set_log_density(pair, mixture, chosen, temperature, offset_spread, rng):
    """Weights and offsets of the mixture over the temperature; templates that repeat share a prior."""
    similarity, d = pair.similarity, mixture.means_.shape[1]
    if temperature == "dimension":
        temperature = max(d / 8, 1.0)
    weights = np.zeros(similarity.templates.shape, "float32")
    weights[..., :d, :] = mixture.weights[:, chosen] / temperature
    if similarity.use_similarity_weights:
        similarity.similarity_weights.assign(weights)
    if pair.mex is not None and pair.mex.offsets is not None:
        share = np.bincount(chosen)[chosen]
        offsets = (mixture.offsets[chosen] - np.log(share)) / temperature
        spread = offset_spread * rng.standard_normal(pair.mex.offsets.shape)
        pair.mex.offsets.assign(offsets[:, None] + spread)
