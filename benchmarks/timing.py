"""Timing functions against each other in one process, and saving the figures."""

import json
import os
import pathlib
import platform
import statistics
import time

import keras

RESULTS = pathlib.Path(__file__).parent / "results"


def alternate(steps, rounds, warm_up=3):
    """Wall milliseconds of each step by name: each round runs all of them, in alternating order."""
    times = {name: [] for name in steps}
    for turn in range(-warm_up, rounds):
        for name in sorted(steps, reverse=turn % 2 == 0):
            start = time.perf_counter()
            steps[name]()
            if turn >= 0:
                times[name].append(1e3 * (time.perf_counter() - start))
    return times


def times_faster(times, ours, theirs):
    """(lower quartile, median, upper quartile) of their time over ours, round by round."""
    pairs = zip(times[theirs], times[ours], strict=True)
    return [round(q, 3) for q in statistics.quantiles((a / b for a, b in pairs), n=4)]


def compare(steps, rounds, ours, theirs, what, warm_up=3):
    """The figures of a pair, named after `what`, as the results files hold them."""
    times = alternate(steps, rounds, warm_up)
    lower, middle, upper = times_faster(times, ours, theirs)
    return {
        f"times faster, {what}": middle,
        f"quartiles, {what}": [lower, upper],
        f"milliseconds, {what}": [
            float(f"{statistics.median(times[key]):.4g}") for key in (ours, theirs)
        ],
    }


def in_words(figures):
    """The ratios among `figures`, as `compare` names them, in one line."""
    return "; ".join(f"{ratio} {key}" for key, ratio in figures.items() if "faster" in key)


def save(name, result, folder=RESULTS):
    """Write <folder>/<name>_<backend>.json with what a figure depends on, and return its path."""
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}_{keras.backend.backend()}.json"
    environment = {
        "backend": keras.backend.backend(),
        "keras": keras.__version__,
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
    }
    path.write_text(json.dumps(environment | result, indent=2) + "\n", encoding="utf-8")
    return path
