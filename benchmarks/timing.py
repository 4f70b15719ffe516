"""Timing things against each other in one process, and keeping what was measured."""

import json
import os
import pathlib
import platform
import resource
import sys
import time

import keras

RESULTS = pathlib.Path(__file__).parent / "results"


def alternate(steps, rounds, warm_up=3):
    """Wall milliseconds of each step by name: in each round all take a turn, in changing order."""
    times = {name: [] for name in steps}
    for turn in range(-warm_up, rounds):
        for name in sorted(steps, reverse=turn % 2 == 0):
            start = time.perf_counter()
            steps[name]()
            if turn >= 0:
                times[name].append(1e3 * (time.perf_counter() - start))
    return times


def peak_memory():
    """Largest memory of the process so far, in GiB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (2**30 if sys.platform == "darwin" else 2**20), 2)


def save(name, result):
    """Write results/<name>_<backend>.json with the machine, and print it."""
    backend = keras.backend.backend()
    result = {
        "backend": backend,
        "keras": keras.__version__,
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        **result,
    }
    RESULTS.mkdir(exist_ok=True)
    text = json.dumps(result, indent=2) + "\n"
    (RESULTS / f"{name}_{backend}.json").write_text(text, encoding="utf-8")
    print(text)
