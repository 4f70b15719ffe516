"""Settings of the layers of the low-cost parameterizations."""

import dataclasses
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


# (rank, input shape, filters, kernel size, strides, padding, dilation rate)
CONVOLUTIONS = [
    (1, (2, 7, 3), 3, 3, 2, "valid", 1),
    (1, (2, 9, 2), 5, 4, 1, "same", 2),
    (1, (2, 6, 3), 3, 3, 3, "periodic", 1),
    (2, (2, 6, 5, 3), 2, 3, 1, "valid", 1),
    (2, (2, 6, 5, 2), 4, 3, 2, "same", 1),
    (2, (2, 5, 6, 2), 3, (3, 2), (1, 2), "same", 1),
    (2, (2, 7, 6, 2), 2, 3, 1, "same", 2),
    (2, (1, 7, 7, 3), 3, 2, 1, "valid", 3),
    (2, (2, 5, 4, 2), 3, 4, 2, "periodic", 1),
    (3, (1, 4, 5, 3, 2), 3, (2, 3, 1), 2, "same", 1),
    (3, (1, 5, 4, 3, 2), 2, 2, 1, "valid", (2, 1, 1)),
]


def _convolution(rank, shape, filters, size, strides, padding, dilation):
    window = {"strides": strides, "padding": padding, "dilation_rate": dilation}
    per_axis = [
        value if isinstance(value, tuple) else (value,) * rank for value in (strides, dilation)
    ]
    label = "-".join(
        "x".join(map(str, v)) if isinstance(v, tuple) else str(v) for v in window.values()
    )
    sizes = "x".join(map(str, size)) if isinstance(size, tuple) else size
    return Case(
        name=f"LinearMixConv{rank}D-{'x'.join(map(str, shape[1:]))}-to-{filters}-k{sizes}-{label}",
        layer=f"LinearMixConv{rank}D",
        config={"filters": filters, "kernel_size": size, **window},
        input_shape=shape,
        reference=partial(
            reference.linear_mix_conv,
            strides=per_axis[0],
            padding=padding,
            dilation_rate=per_axis[1],
        ),
    )


def _linear_mix(rank, shape, size, **options):
    """Eq. 7 as the paper has it: as many filters as channels, and no bias."""
    case = _case("LinearMixConv", rank, shape, size, reference.linear_mix, {}, **options)
    config = {"filters": shape[-1], **case.config, "use_bias": False}
    return dataclasses.replace(case, config=config)


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


def _fourier(case):
    """The stencils by their frequencies, eq. 10."""
    return dataclasses.replace(
        case, name=f"{case.name}-fft", config={**case.config, "method": "fft"}
    )


LARGE = [(1, (2, 40, 3), 3), (2, (2, 5, 36, 2), (2, 3))]  # above the size that matrices transform

CASES = [
    *(
        _fourier(_case("StencilConv", *shape, reference.stencil_conv, {}, padding="periodic"))
        for shape in [*SHAPES[::3], *LARGE]
    ),
    *(
        _case(layer, *shape, function, SHORT, step_size=0.5)
        for layer, function in [
            ("ImplicitDiffusion", reference.implicit_diffusion),
            ("CirculantDiffusion", reference.circulant_diffusion),
        ]
        for shape in LARGE
    ),
    *(
        _case("StencilConv", *shape, reference.stencil_conv, {}, padding=padding)
        for shape in SHAPES
        for padding in ("same", "periodic")
    ),
    *(
        _case("CirculantConv", *shape, reference.circulant_conv, {}, padding=padding)
        for shape in SHAPES
        for padding in ("same", "periodic")
    ),
    *(_linear_mix(*shape, padding=padding) for shape in SHAPES for padding in ("same", "periodic")),
    *(_convolution(*settings) for settings in CONVOLUTIONS),
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
