"""Similarities from a mixture: the order of its means for the templates, or its log densities."""

import keras
import numpy as np


def set_similarity(pair, mixture, templates, temperature, offset_spread, rng):
    """Templates and p from the mixture; with templates="log_density" weights and offsets too."""
    if mixture is None:
        return
    k = len(mixture.means_)
    others = rng.integers(0, k, pair.similarity.filters - k)  # they repeat a component
    chosen = np.concatenate([np.arange(k), others])
    _set_templates(pair.similarity, mixture, chosen, templates == "mixture")
    if templates == "log_density":
        _set_log_density(pair, mixture, chosen, temperature, offset_spread, rng)


def _set_templates(similarity, mixture, chosen, keeps_values):
    """Templates and p of the mixture; where the values are kept, only the order is the mixture's."""
    means = mixture.templates[:, chosen]
    initial = keras.ops.convert_to_numpy(similarity.templates)
    found = np.zeros(initial.shape[-2:], "float32")
    d = len(means)  # coordinates; further ones are 0 in every patch
    found[:d] = _ordered(initial.reshape(found.shape)[:d], means) if keeps_values else means
    similarity.templates.assign(found.reshape(initial.shape))
    if similarity.trainable_p:
        similarity.p.assign(mixture.shape_)


def _ordered(values, keys):
    """The values [d, n], each row in the order of the row of keys."""
    return np.take_along_axis(np.sort(values), keys.argsort().argsort(), axis=-1)


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
