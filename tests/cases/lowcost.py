"""Settings of the layers of the low-cost parameterizations."""

from functools import partial

from tests.cases import Case
from tests.reference import lowcost as reference

# (rank, input shape, kernel size): odd and even stencils and images, one larger than its image
SHAPES = [
    (1, (2, 7, 3), 3),
    (1, (2, 6, 2), 4),
    (1, (2, 3, 2), 5),
    (2, (2, 5, 4, 3), 3),
    (2, (2, 4, 5, 2), (2, 4)),
    (2, (2, 2, 1, 3), 3),
    (3, (1, 4, 3, 3, 2), 3),
    (3, (2, 2, 3, 2, 3), (2, 3, 1)),
]
STEPS = [0.5, 1.7]
SHORT = {"kernel": (-0.6, 0.6)}  # K^T K of about one


def _case(layer, rank, shape, size, function, ranges, **options):
    label = "x".join(map(str, size)) if isinstance(size, tuple) else size
    extra = "".join(f"-{value}" for value in options.values())
    sizes = "x".join(map(str, shape[1:]))
    return Case(
        name=f"{layer}{rank}D-{sizes}-k{label}{extra}",
        layer=f"{layer}{rank}D",
        config={"kernel_size": size, **options},
        input_shape=shape,
        reference=partial(function, **options),
        ranges=ranges,
    )


CASES = [
    *(
        _case(layer, *shape, function, {}, padding=padding)
        for layer, function in [
            ("StencilConv", reference.stencil_conv),
            ("LinearMixConv", reference.linear_mix),
        ]
        for shape in SHAPES
        for padding in ("same", "periodic")
    ),
    *(
        _case(
            "ExplicitDiffusion",
            *shape,
            reference.explicit_diffusion,
            SHORT,
            step_size=STEPS[i % 2],
            padding=padding,
        )
        for i, shape in enumerate(SHAPES)
        for padding in ("same", "periodic")
    ),
    *(
        _case(layer, *shape, function, SHORT, step_size=STEPS[i % 2])
        for layer, function in [
            ("ImplicitDiffusion", reference.implicit_diffusion),
            ("CirculantDiffusion", reference.circulant_diffusion),
        ]
        for i, shape in enumerate(SHAPES)
    ),
]
