"""Cases of BatchNormalization, during training."""

import numpy as np

from tests.cases import Case
from tests.reference.normalization import batch_normalization


def _case(name, input_shape, **config):
    def expected(x, gamma=None, beta=None):
        gamma = np.ones(x.shape[-1]) if gamma is None else gamma
        beta = np.zeros(x.shape[-1]) if beta is None else beta
        return batch_normalization(x, gamma, beta, config.get("epsilon", 1e-3))

    ranges = {"moving_variance": (0.5, 2.0)}
    return Case(
        f"batch_normalization_{name}", "BatchNormalization", config, input_shape, expected, ranges
    )


CASES = [
    _case("images", (3, 4, 5, 2)),
    _case("vectors", (7, 3), epsilon=1e-2),
    _case("volumes", (2, 3, 2, 2, 2)),
    _case("without_weights", (2, 4, 4, 3), center=False, scale=False),
]
