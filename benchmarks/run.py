"""`structnets bench`: runs a benchmark, and writes its result as JSON and as a plot."""

import contextlib

import keras
from matplotlib.figure import Figure

from . import figure1, layers, models, timing

BENCHMARKS = {"layers": layers, "models": models, "figure1": figure1}


def main(what, out, device=None, **options):
    """Run one benchmark; write <out>/<what>_<backend>.json and .png."""
    options = {key: value for key, value in options.items() if value is not None}
    with keras.device(device) if device else contextlib.nullcontext():
        found = BENCHMARKS[what].main(**options)
    path = timing.save(what, found, out)
    draw(found, f"{what}, {keras.backend.backend()}").savefig(path.with_suffix(".png"), dpi=120)
    print(f"wrote {path}")


def draw(found, title):
    """How many times faster: bars if the cases have names, curves if they are numbers."""
    groups = {key: group for key, group in found.items() if key.startswith("times faster")}
    numbers = all(name.isdigit() for group in groups.values() for name in group)
    figure = draw_curves(groups) if numbers else draw_bars(groups)
    figure.suptitle(title)
    return figure


def draw_bars(groups):
    """A bar for each case and mode."""
    names = list(dict.fromkeys(name for group in groups.values() for name in group))
    figure = Figure((9, 1.2 + 0.28 * len(names) * len(groups)), layout="constrained")
    axes, height = figure.subplots(), 0.8 / len(groups)
    for i, (key, group) in enumerate(groups.items()):
        y = [names.index(name) + i * height for name in group]
        bars = axes.barh(y, group.values(), height, label=key.partition(", ")[2])
        axes.bar_label(bars, fmt="%.3g", padding=2, fontsize=7)
    axes.axvline(1, color="0.5", linewidth=0.8)
    axes.set(xscale="log", xlabel="times faster")
    axes.set_yticks([i + 0.4 - height / 2 for i in range(len(names))], names, fontsize=8)
    axes.invert_yaxis()
    axes.legend(fontsize=8)
    return figure


def draw_curves(groups):
    """A panel for each quantity that varies, a curve for each layer."""
    titles = [key.removeprefix("times faster by ").partition(": ") for key in groups]
    panels = list(dict.fromkeys(panel for panel, _, _ in titles))
    figure = Figure((3.6 * len(panels), 3.4), layout="constrained")
    row = figure.subplots(1, len(panels), squeeze=False)[0]
    for (panel, _, layer), group in zip(titles, groups.values(), strict=True):
        axes, values = row[panels.index(panel)], [int(value) for value in group]
        axes.plot(values, group.values(), marker=".", label=layer)
        axes.axhline(1, color="0.5", linewidth=0.8)
        axes.set(xlabel=panel, ylabel="times faster", xscale="log", yscale="log")
        axes.set_xticks(values, values)
        axes.minorticks_off()
    row[-1].legend(fontsize=8)
    return figure
