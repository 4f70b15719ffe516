"""What `structnets bench` runs: a benchmark, its result as JSON, and a picture of it."""

import contextlib

import keras
from matplotlib.figure import Figure

from . import figure1, layers, models, timing

BENCHMARKS = {"layers": layers, "models": models, "figure1": figure1}


def main(what, out, device=None, memory="kept", **options):
    """Run one benchmark; write <out>/<what>_<backend>.json and .png."""
    options = {key: value for key, value in options.items() if value is not None}
    with keras.device(device) if device else contextlib.nullcontext():
        found = BENCHMARKS[what].main(**options)
    path = timing.save(what, {"memory": memory} | found, out)
    draw(found, f"{what}, {keras.backend.backend()}").savefig(path.with_suffix(".png"), dpi=120)
    print(f"written: {path}")


def draw(found, title):
    """The figures that say how many times faster: bars where they have names, else curves."""
    groups = {key: group for key, group in found.items() if key.startswith("times faster")}
    numbers = all(name.isdigit() for group in groups.values() for name in group)
    figure = draw_curves(groups) if numbers else draw_bars(groups, found.get("goal", {}))
    figure.suptitle(title)
    return figure


def draw_bars(groups, goals):
    """A bar for each case and way of timing, and a mark at its goal."""
    names = list(dict.fromkeys(name for group in groups.values() for name in group))
    figure = Figure((9, 1.2 + 0.28 * len(names) * len(groups)), layout="constrained")
    axes = figure.subplots()
    height = 0.8 / len(groups)
    for i, (key, group) in enumerate(groups.items()):
        places = [names.index(name) + i * height for name in group]
        bars = axes.barh(places, group.values(), height, label=key.partition(", ")[2])
        axes.bar_label(bars, fmt="%.3g", padding=2, fontsize=7)
    middle = 0.4 - height / 2
    for name, goal in goals.items():
        axes.plot(
            [goal, goal], [names.index(name) + middle - 0.4, names.index(name) + middle + 0.4], "k"
        )
    if goals:
        axes.plot([], [], "k", label="goal")
    axes.axvline(1, color="0.5", linewidth=0.8)
    axes.set(xscale="log", xlabel="times faster than the other")
    axes.set_yticks([place + middle for place in range(len(names))], names, fontsize=8)
    axes.invert_yaxis()
    axes.legend(fontsize=8)
    return figure


def draw_curves(groups):
    """A panel for what varies, a curve for each form."""
    panels = {}
    for key, group in groups.items():
        panel, _, form = key.removeprefix("times faster by ").partition(": ")
        panels.setdefault(panel, {})[form] = group
    figure = Figure((3.6 * len(panels), 3.4), layout="constrained")
    row = figure.subplots(1, len(panels), squeeze=False)[0]
    for axes, (panel, forms) in zip(row, panels.items(), strict=True):
        for form, group in forms.items():
            axes.plot([int(x) for x in group], group.values(), marker=".", label=form)
        axes.axhline(1, color="0.5", linewidth=0.8)
        axes.set(xlabel=panel, ylabel="times faster than coupled", xscale="log", yscale="log")
        axes.set_xticks([int(x) for x in group], list(group))
        axes.minorticks_off()
        axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
    return figure
