"""Timing things against each other in one process, and keeping what was measured."""

import ctypes
import json
import os
import pathlib
import platform
import resource
import statistics
import sys
import time

import keras
import numpy as np

from keras_structnets.training.environment import cores

ALLOCATION = ("GLIBC_TUNABLES", "LD_PRELOAD")  # what may change how memory is had
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


def times_faster(times, ours, theirs):
    """(lower quartile, median, upper quartile) of their time over ours, round by round."""
    pairs = zip(times[theirs], times[ours], strict=True)
    return [round(q, 3) for q in statistics.quantiles((a / b for a, b in pairs), n=4)]


def median(milliseconds):
    """The median, rounded for people."""
    return float(f"{statistics.median(milliseconds):.4g}")


def peak_memory():
    """Largest memory of the process so far, in GiB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (2**30 if sys.platform == "darwin" else 2**20), 2)


def memory_of(step):
    """MiB that one step takes on top of what is held before it, or None where that is not known.

    Linux alone can start its record of the largest memory anew. What was freed is given back first.
    """
    try:
        ctypes.CDLL(None).malloc_trim(0)
        pathlib.Path("/proc/self/clear_refs").write_text("5")
        before = _status("VmRSS")
        step()
        return round((_status("VmHWM") - before) / 1024, 1)
    except (OSError, AttributeError):
        return None


def _status(key):
    lines = pathlib.Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(key)).split()[1])


def limits_of_the_machine():
    """Rates of NumPy's products of matrices, in Gflop/s, and of its copies of memory, in GB/s."""
    a = np.ones((2048, 2048), "float32")
    b, big = np.empty_like(a), np.ones(2**26, "float32")
    target = np.empty_like(big)
    times = alternate(
        {"product": lambda: np.matmul(a, a, out=b), "copy": lambda: np.copyto(target, big)}, 5
    )
    product, copy = (1e-3 * min(times[name]) for name in ("product", "copy"))
    return {
        "products of matrices, Gflop/s": round(2e-9 * 2048**3 / product, 1),
        "copies of memory, GB/s": round(2e-9 * big.nbytes / copy, 1),
    }


def circumstances():
    """What a figure depends on."""
    return {
        "backend": keras.backend.backend(),
        "keras": keras.__version__,
        "machine": f"{platform.machine()}, {cores()} cores",
        **{name: os.environ[name] for name in ALLOCATION if name in os.environ},
    }


def save(name, result, folder=RESULTS):
    """Write <folder>/<name>_<backend>.json with the circumstances, and return its path."""
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}_{keras.backend.backend()}.json"
    path.write_text(json.dumps(circumstances() | result, indent=2) + "\n", encoding="utf-8")
    return path
