"""All goals of speed in one table, from what `structnets bench` wrote on the three backends.

    python -m benchmarks.summary

Reads benchmarks/results/{layers,models}_<backend>.json and writes benchmarks/results/speed.md. A figure
that misses its goal stands there in bold. The second table is from benchmarks/results/returned_memory,
where `structnets bench` wrote with `--memory returned`.
"""

import json
import pathlib

RESULTS = pathlib.Path(__file__).parent / "results"
RETURNED = RESULTS / "returned_memory"
BACKENDS = ("tensorflow", "torch", "jax")


def main():
    """Write the tables."""
    (RESULTS / "speed.md").write_text(text(), encoding="utf-8")
    print(text())


def text():
    """The tables."""
    titles = {"times faster": RESULTS, "times faster, memory returned": RETURNED}
    return "\n\n".join(table(title, rows(folder)) for title, folder in titles.items()) + "\n"


def rows(folder):
    """All lines of the table of what stands in `folder`."""
    layers, models = read(folder, "layers"), read(folder, "models")
    return [*layer_rows(layers), *model_rows(models), *rows_between(models)]


def read(folder, what):
    """{backend: what it found}."""
    paths = {backend: folder / f"{what}_{backend}.json" for backend in BACKENDS}
    return {
        backend: json.loads(path.read_text(encoding="utf-8")) for backend, path in paths.items()
    }


def table(title, rows):
    """A table as Markdown."""
    return "\n".join(
        [f"| {title} | goal | {' | '.join(BACKENDS)} |", "|---|---:|---:|---:|---:|", *rows]
    )


def layer_rows(found):
    """A line for each pair of layers, then those of memory, of break-even and of the import."""
    for name in found["jax"]["goal"]:
        mode = found["jax"]["judged by"][name]
        goals = [found[backend]["goal"][name] for backend in BACKENDS]
        values = [found[backend][f"times faster, {mode}"][name] for backend in BACKENDS]
        shown = " or ".join(f"{goal:.3g}" for goal in dict.fromkeys(goals))
        verdicts = [value >= goal for value, goal in zip(values, goals, strict=True)]
        what = "forward" if mode == "forward" else "forward and backward"
        ours, _, theirs = name.partition(" | ")
        yield line(f"{ours}, over {theirs}, {what}", shown, values, verdicts)
    for name in found["jax"]["goal"]:
        if "l1" in name or "p =" in name:
            limits = [found[b]["MiB of input and twice output"][name] for b in BACKENDS]
            values = [found[b]["MiB, forward"][name][0] for b in BACKENDS]
            verdicts = [value <= limit for value, limit in zip(values, limits, strict=True)]
            what = f"{name.partition(' | ')[0]}, memory forward, MiB"
            yield line(what, f"≤ {min(limits):.3g}", values, verdicts)
    for key in found["jax"]:
        if "by channels" in key:
            goal = found["jax"][key]["goal"]
            values = [found[backend][key]["break-even"] for backend in BACKENDS]
            verdicts = [value is not None and value <= goal for value in values]
            shown = [f"above {list(found['jax'][key])[-3]}" if v is None else v for v in values]
            name = key.partition(":")[0]
            yield line(
                f"{name}: channels from which on it is the faster", f"≤ {goal}", shown, verdicts
            )
    for key in found["jax"]:
        if key.startswith("import"):
            goal = found["jax"][key]["goal"]
            values = [found[backend][key]["median"] for backend in BACKENDS]
            yield line(key, f"< {goal}", values, [value < goal for value in values])


def model_rows(found):
    """A line for each model and way of use, over the peer in PyTorch."""
    predictions = ("predicting 1", "predicting 256")
    for what in ("training", *predictions, *(f"{what}, predictor" for what in predictions)):
        for name in found["jax"].get(f"times faster, {what}", ()):
            values = [found[backend][f"times faster, {what}"][name] for backend in BACKENDS]
            goal, shown = (1 / 1.2, "0.833, best 1.2") if what == "training" else (1, "1")
            verdicts = [value >= goal for value in values]
            if what == "training" and max(values) < 1.2:
                verdicts[values.index(max(values))] = False
            use, comma, form = what.partition(",")
            unit = "a step of 128 images" if what == "training" else f"{use} at once{comma}{form}"
            yield line(f"{name} over its PyTorch peer, {unit}", shown, values, verdicts)


def rows_between(found):
    """A line for each model: the time of its training step over that of the fastest backend."""
    for name in found["jax"]["milliseconds, training"]:
        times = [found[backend]["milliseconds, training"][name][0] for backend in BACKENDS]
        values = [round(time / min(times), 2) for time in times]
        yield line(
            f"{name}: time of a step over that of the fastest backend",
            "≤ 2",
            values,
            [value <= 2 for value in values],
        )


def line(name, goal, values, verdicts):
    """One line of the table."""
    cells = (f"{value:.3g}" if isinstance(value, float) else str(value) for value in values)
    marked = (c if good else f"**{c}**" for c, good in zip(cells, verdicts, strict=True))
    return f"| {name} | {goal} | {' | '.join(marked)} |"


if __name__ == "__main__":
    main()
