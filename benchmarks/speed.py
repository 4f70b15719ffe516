"""The goals of speed in one table, from the results of `structnets bench` on the three backends.

    python -m benchmarks.speed

Reads benchmarks/results/{layers,models}_<backend>.json and writes benchmarks/results/speed.md. Bold figures
miss their goal.
"""

import json

from .timing import RESULTS

BACKENDS = ("tensorflow", "torch", "jax")
HEAD = f"| times faster | goal | {' | '.join(BACKENDS)} |\n|---|---:|---:|---:|---:|\n"


def main():
    """Write the table."""
    (RESULTS / "speed.md").write_text(text(), encoding="utf-8")
    print(text())


def text():
    """The table as Markdown."""
    layers, models = read("layers"), read("models")
    rows = [*pair_rows(layers), *break_even_rows(layers), *model_rows(models)]
    return HEAD + "\n".join(rows) + "\n"


def read(what):
    """The results of each backend."""
    paths = (RESULTS / f"{what}_{backend}.json" for backend in BACKENDS)
    return [json.loads(path.read_text(encoding="utf-8")) for path in paths]


def pair_rows(found):
    """A row for each pair of layers."""
    for name, mode in found[-1]["judged by"].items():
        goals = [result["goal"][name] for result in found]
        values = [result[f"times faster, {mode}"][name] for result in found]
        shown = " or ".join(f"{goal:.3g}" for goal in dict.fromkeys(goals))
        met = [value >= goal for value, goal in zip(values, goals, strict=True)]
        ours, _, theirs = name.partition(" | ")
        what = "forward" if mode == "forward" else "forward and backward"
        yield row(f"{ours}, over {theirs}, {what}", shown, values, met)


def break_even_rows(found):
    """Rows of the numbers of channels at break-even."""
    for key in found[-1]:
        if "by channels" in key:
            goal = found[-1][key]["goal"]
            values = [result[key]["break-even"] for result in found]
            met = [value is not None and value <= goal for value in values]
            shown = ["none measured" if value is None else value for value in values]
            yield row(f"{key.partition(':')[0]}: channels at break-even", f"≤ {goal}", shown, met)


def model_rows(found):
    """Rows of each model over its PyTorch reference; the best backend is to train 1.2 times faster."""
    for key in found[-1]:
        for name in found[-1][key] if key.startswith("times faster, ") else ():
            what = key.removeprefix("times faster, ")
            values = [result[key][name] for result in found]
            goal, shown = (1 / 1.2, "0.833, best 1.2") if what == "training" else (1, "1")
            if what.endswith("torch.compile"):
                goal, shown = 0, "none"
            met = [value >= goal for value in values]
            if what == "training" and max(values) < 1.2:
                met[values.index(max(values))] = False
            yield row(f"{name} over its PyTorch reference, {what}", shown, values, met)


def row(name, goal, values, met):
    """One row; what misses its goal is bold."""
    cells = [f"{value:.3g}" if isinstance(value, float) else str(value) for value in values]
    marked = [cell if good else f"**{cell}**" for cell, good in zip(cells, met, strict=True)]
    return f"| {name} | {goal} | {' | '.join(marked)} |"


if __name__ == "__main__":
    main()
