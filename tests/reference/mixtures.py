"""Mixtures of Generalized Gaussians with loops, from section 5 of Deep SimNets."""

import math

import numpy as np


def log_joint(x, priors, means, scales, shape):
    """`log prior_l + sum_t log density of coordinate t` for each sample and component: [n, k]."""
    values = np.empty((len(x), len(priors)))
    for n, row in enumerate(x):
        for component, prior in enumerate(priors):
            value = math.log(prior)
            for t, y in enumerate(row):
                mean, scale = means[component][t], scales[component][t]
                value += math.log(shape) - math.log(2 * scale) - math.lgamma(1 / shape)
                value -= (abs(y - mean) / scale) ** shape
            values[n, component] = value
    return values
