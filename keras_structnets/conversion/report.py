"""What a conversion changed, layer by layer."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class ConvertedLayer:
    """What a conversion changed in one layer.

    Attributes:
        name: of the layer, in both models.
        before: its class in the old model.
        after: its class in the new model.
        parameters: before and after.
        flops: for one input, before and after; None where they are not known.
        error: the norm of the difference of both layers' outputs, relative to that of the old one's,
            for what reaches the layer in the old model.

    Example:
        >>> row = ksn.conversion.ConvertedLayer(
        ...     "conv", "Conv2D", "LinearMixConv2D", (9216, 1312), (18000, 2600), 0.25)
        >>> row.error
        0.25
    """

    name: str
    before: str
    after: str
    parameters: tuple[int, int]
    flops: tuple[int, int] | None
    error: float


@dataclasses.dataclass(frozen=True)
class Report:
    """What a conversion changed; `print` shows it as a table, `dataclasses.asdict` gives the data.

    Attributes:
        conversion: its name.
        layers: a `ConvertedLayer` for each layer that was replaced.
        parameters: of the model, before and after.
        flops: of the model for one input, before and after; None where they are not known.
        error: as that of a layer, for the outputs of the model.
        measured_on: what the errors were measured on.

    Example:
        >>> row = ksn.conversion.ConvertedLayer(
        ...     "conv", "Conv2D", "LinearMixConv2D", (9216, 1312), (18000, 2600), 0.25)
        >>> print(ksn.conversion.Report("linear_mix", [row], (9226, 1322), None, 0.5, "4 images"))
        layer                 becomes                    parameters              FLOPs                   error
        conv                  LinearMixConv2D            9,216 -> 1,312          18,000 -> 2,600         0.250
        model                 linear_mix                 9,226 -> 1,322          unknown                 0.500
        errors: relative, on 4 images
    """

    conversion: str
    layers: list[ConvertedLayer]
    parameters: tuple[int, int]
    flops: tuple[int, int] | None
    error: float
    measured_on: str

    def __str__(self) -> str:
        rows = [_row("layer", "becomes", "parameters", "FLOPs", "error")]
        for row in self.layers:
            rows.append(_row(row.name, row.after, row.parameters, row.flops, row.error))
        rows.append(_row("model", self.conversion, self.parameters, self.flops, self.error))
        return "\n".join([*rows, f"errors: relative, on {self.measured_on}"])


def _row(name, after, parameters, flops, error):
    error = error if isinstance(error, str) else f"{error:.3f}"
    return f"{name:21} {after:26} {_change(parameters):23} {_change(flops):23} {error}"


def _change(counts):
    if counts is None:
        return "unknown"
    return counts if isinstance(counts, str) else f"{counts[0]:,} -> {counts[1]:,}"
