"""Cases of GConv1D/2D/3D, Structure and Destructure."""

import numpy as np

from tests.cases import Case
from tests.reference import gconv as reference


def _gconv(name, rank, input_shape, channels, structure, kernel_size, **config):
    n_structure = len(input_shape) - rank - 2
    contract = config.get("contract")
    contract = n_structure if contract is None else contract

    def expected(x, kernel, bias=None):
        y = reference.generalized_conv(
            x,
            kernel,
            bias,
            contract,
            _per_axis(config.get("strides", 1), rank),
            config.get("padding", "valid"),
            _per_axis(config.get("dilation_rate", 1), rank),
        )
        return np.tanh(y) if config.get("activation") == "tanh" else y

    config = {"filters": channels, "structure": structure, "kernel_size": kernel_size} | config
    return Case(f"gconv{rank}d_{name}", f"GConv{rank}D", config, input_shape, expected)


def _per_axis(value, rank):
    return (value,) * rank if isinstance(value, int) else value


CASES = [
    _gconv("valid", 1, (2, 6, 2, 3), 2, (2,), 3),
    _gconv("strided_same", 1, (2, 7, 1, 2, 3), 2, (2,), 3, strides=2, padding="same"),
    _gconv("even_kernel_strided_same", 1, (2, 5, 2, 2), 1, (2, 2), 4, strides=3, padding="same"),
    _gconv("dilated", 1, (2, 7, 2, 2), 1, (2, 2), 3, dilation_rate=2),
    _gconv("dilated_same", 1, (2, 5, 1, 2, 2), 2, (2,), 2, dilation_rate=2, padding="same"),
    _gconv("keeps_one_axis", 1, (2, 5, 2, 2, 3), 2, (2,), 2, contract=1),
    _gconv("valid", 2, (2, 4, 4, 1, 3, 2), 1, (2, 2), 2),
    _gconv(
        "uneven_strides_same",
        2,
        (1, 5, 4, 2, 2, 2),
        1,
        (3,),
        (3, 2),
        strides=(2, 1),
        padding="same",
    ),
    _gconv("strided_valid", 2, (1, 5, 6, 2, 3), 2, (2,), (3, 2), strides=(2, 3)),
    _gconv("dilated", 2, (1, 5, 5, 2, 2), 2, (3,), 2, dilation_rate=(2, 3)),
    _gconv("keeps_one_axis", 2, (2, 3, 3, 1, 2, 2, 3), 2, (2,), 2, contract=2, use_bias=False),
    _gconv("keeps_two_axes", 2, (1, 4, 3, 2, 2, 3, 2), 2, (2, 1), 2, contract=1, padding="same"),
    _gconv(
        "keeps_every_axis", 2, (2, 3, 4, 2, 2, 3), 2, (2,), 2, contract=0, strides=2, padding="same"
    ),
    _gconv("of_scalars", 2, (2, 4, 4, 3), 2, (2, 2), 2),
    _gconv("to_scalars", 2, (2, 4, 4, 2, 3), 2, (), 2),
    _gconv("pointwise_tanh", 2, (2, 3, 3, 2, 3, 2), 2, (3,), 1, activation="tanh"),
    _gconv("valid", 3, (1, 3, 3, 4, 2, 2), 1, (3,), 2),
    _gconv("strided_same", 3, (1, 3, 4, 3, 1, 2, 2), 1, (2,), 2, strides=2, padding="same"),
    _gconv("dilated", 3, (1, 3, 3, 4, 1, 2, 2), 1, (2,), 2, dilation_rate=(2, 1, 2)),
    _gconv("keeps_one_axis", 3, (1, 2, 3, 3, 1, 3, 2), 2, (1, 2), 2, contract=1, padding="same"),
    *(
        Case(
            f"structure_{rank}d",
            "Structure",
            {"shape": (3, 2)},
            (2, *(3,) * rank, 6),
            lambda x: reference.structure(x, (3, 2)),
        )
        for rank in (1, 2, 3)
    ),
    *(
        Case(
            f"destructure_{rank}d",
            "Destructure",
            {"rank": rank},
            (2, *(2,) * rank, 2, 3, 2),
            lambda x, rank=rank: reference.destructure(x, rank),
        )
        for rank in (0, 1, 2, 3)
    ),
]
