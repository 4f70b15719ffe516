"""The six networks of the low-cost parameterizations, each in the widths A, B and C."""

from functools import partial
from itertools import pairwise

from keras_structnets import blocks, checks
from keras_structnets.zoo.registry import RANKS, register

PAPER = "Low-cost parameterizations"
WIDTHS = {"a": (32, 64, 128), "b": (48, 96, 192), "c": (32, 64, 128, 256)}

COUPLED = {"a": {10: "1.5M"}, "b": {10: "3.5M", 100: "3.4M"}, "c": {100: "6.3M"}}
MIXED = {"a": {10: "195K"}, "b": {10: "422K", 100: "456K"}, "c": {100: "789K"}}
SEPARATE = {"a": {10: "101K"}, "b": {10: "216K", 100: "251K"}, "c": {100: "423K"}}
DIFFUSING = {"a": {10: "101K"}, "b": {10: "216K", 100: "250K"}, "c": {100: "423K"}}

ACCURACY = {  # Table 2, for the widths A, B and C
    "resnet": {
        "cifar10": (93.1, 93.0, None),
        "cifar100": (None, 71.7, 69.9),
        "stl10": (74.9, 75.3),
    },
    "mobilenet": {
        "cifar10": (89.5, 91.6, None),
        "cifar100": (None, 65.6, 61.9),
        "stl10": (74.9, 77.2),
    },
    "linear_mix": {
        "cifar10": (91.3, 92.1, None),
        "cifar100": (None, 67.9, 69.2),
        "stl10": (75.6, 75.6),
    },
    "explicit_rd": {
        "cifar10": (88.9, 90.6, None),
        "cifar100": (None, 66.1, 65.2),
        "stl10": (74.6, 75.9),
    },
    "implicit_rd": {
        "cifar10": (88.7, 90.3, None),
        "cifar100": (None, 64.6, 64.9),
        "stl10": (73.8, 73.4),
    },
    "circulant_rd": {
        "cifar10": (86.0, 88.0, None),
        "cifar100": (None, 60.2, 60.0),
        "stl10": (69.6, 70.5),
    },
}


def resnet(x, *, widths=WIDTHS["a"], n_steps=4, kernel_size=3, connection="depthwise"):
    """`n_steps` of `blocks.resnet_step` at each width, with an opening layer and connecting layers."""
    step = partial(blocks.resnet_step, kernel_size=kernel_size)
    return _network(x, step, widths, n_steps, connection)


def mobilenet(x, *, widths=WIDTHS["a"], n_steps=4, kernel_size=3, connection="depthwise"):
    """`n_steps` of `blocks.mobilenet_step` at each width, with an opening layer and connecting layers."""
    step = partial(blocks.mobilenet_step, kernel_size=kernel_size)
    return _network(x, step, widths, n_steps, connection)


def linear_mix(x, *, widths=WIDTHS["a"], n_steps=4, kernel_size=3, connection="depthwise"):
    """`n_steps` of `blocks.linear_mix_step` at each width, with an opening layer and connecting layers."""
    step = partial(blocks.linear_mix_step, kernel_size=kernel_size)
    return _network(x, step, widths, n_steps, connection)


def explicit_rd(
    x,
    *,
    widths=WIDTHS["a"],
    n_steps=4,
    kernel_size=3,
    step_size=0.5,
    bound=None,
    connection="depthwise",
):
    """`n_steps` of `blocks.explicit_rd_step` at each width, with an opening layer and connecting layers."""
    options = {"kernel_size": kernel_size, "step_size": step_size, "bound": bound}
    step = partial(blocks.explicit_rd_step, **options)
    return _network(x, step, widths, n_steps, connection)


def implicit_rd(
    x, *, widths=WIDTHS["a"], n_steps=4, kernel_size=3, step_size=0.5, connection="depthwise"
):
    """`n_steps` of `blocks.implicit_rd_step` at each width, with an opening layer and connecting layers."""
    step = partial(blocks.implicit_rd_step, kernel_size=kernel_size, step_size=step_size)
    return _network(x, step, widths, n_steps, connection)


def circulant_rd(
    x,
    *,
    widths=WIDTHS["a"],
    n_steps=4,
    kernel_size=3,
    step_size=0.5,
    bound=1.0,
    connection="depthwise",
):
    """`n_steps` of `blocks.circulant_rd_step` at each width, with an opening layer and connecting layers."""
    options = {"kernel_size": kernel_size, "step_size": step_size, "bound": bound}
    step = partial(blocks.circulant_rd_step, **options)
    return _network(x, step, widths, n_steps, connection)


def _network(x, step, widths, n_steps, connection):
    """An opening convolution, then blocks of `n_steps` steps, a connecting layer after each."""
    n_steps = checks.integer("build", "n_steps", n_steps)
    widths = _doubling(widths)
    x = blocks.opening_layer(x, widths[0], name="opening")
    for stage in range(1, len(widths) + 1):
        for i in range(1, n_steps + 1):
            x = step(x, name=f"stage{stage}_step{i}")
        x = blocks.connecting_layer(x, name=f"stage{stage}_connection", connection=connection)
    return x


def _doubling(widths):
    if not isinstance(widths, (tuple, list)) or not widths:
        raise ValueError(
            f"build: `widths` must be a sequence of widths, got {widths!r}. "
            "Use for example widths=(32, 64, 128)."
        )
    widths = checks.integers("build", "widths", widths, len(widths))
    if any(wide != 2 * narrow for narrow, wide in pairwise(widths)):
        raise ValueError(
            f"build: each of the `widths` must be twice the one before, as the connecting layer "
            f"doubles the channels, got {widths}. Use for example widths=(32, 64, 128)."
        )
    return widths


_FAMILIES = [
    (resnet, COUPLED, "residual steps of two fully coupled 3x3 convolutions"),
    (mobilenet, SEPARATE, "depthwise then 1x1 convolutions"),
    (linear_mix, MIXED, "residual steps; each convolution is a depthwise one plus a 1x1 one"),
    (explicit_rd, DIFFUSING, "explicit steps of reaction and diffusion"),
    (implicit_rd, DIFFUSING, "implicit steps of diffusion after a reaction"),
    (circulant_rd, DIFFUSING, "explicit reaction and diffusion, circulant in the channels"),
]


def _accuracy(family, letter):
    """What Table 2 prints for one network, by data set."""
    rows = {
        dataset: dict(zip("abc", row, strict=False)) for dataset, row in ACCURACY[family].items()
    }
    return {dataset: row[letter] for dataset, row in rows.items() if row.get(letter) is not None}


for _body, _printed, _summary in _FAMILIES:
    for _letter, _widths in WIDTHS.items():
        register(
            f"{_body.__name__}_{_letter}",
            paper=PAPER,
            summary=f"{_summary}, widths {'-'.join(map(str, _widths))}",
            printed=_printed[_letter],
            printed_accuracy=_accuracy(_body.__name__, _letter),
            ranks=RANKS,
            widths=_widths,
        )(_body)
