"""Layers of ours against what one would use instead, on one backend.

    structnets bench layers [--backend jax|torch|tensorflow] [--device DEVICE]

Each pair is timed in one process, in alternation, compiled as `fit` compiles it: forward, and a step
of SGD, whose input is a weight too, so that all gradients are made. "times faster" is the median of
their time over ours, round by round; the quartiles stand beside it. Memory is what a forward step
takes on top of what is there before. The share of the machine's limit is the time that the products
of matrices (or the memory) of ours would take at the rates measured in the same run, over the time
that it took forward.
"""

import dataclasses
import math
import os
import subprocess
import sys

import keras
import numpy as np

import keras_structnets as ksn

from . import timing
from .contenders import (
    BroadcastMEX,
    BroadcastSimilarity,
    Diffused,
    Einsum,
    TwoProducts,
    fully_coupled,
    model_of,
    stepper,
)

MODES = ("forward", "step")
EAGER = ("torch",)
BREAK_EVEN = (16, 32, 48, 64, 96, 128, 256)  # channels


@dataclasses.dataclass(frozen=True)
class Case:
    """Two layers that do the same, or the same service, and how much faster ours should be."""

    name: str
    shape: tuple
    ours: object
    theirs: object
    goal: float
    judged: str = "step"
    goal_eager: float = None
    flops: int = 0  # of ours, forward
    equal: bool = True  # whether both give the same numbers from the same weights


def similarity(p):
    """A 1x1 similarity of 64 channels to 64 templates, and the same by broadcasting."""
    options = {"p": p, "templates_initializer": "random_normal"}
    return lambda: ksn.layers.Similarity2D(64, **options), lambda: BroadcastSimilarity(
        64, **options
    )


def cases():
    """All of them."""
    maps, pixels = (64, 16, 16, 64), 64 * 16 * 16
    wide, structured = (8, 32, 32, 256), (32, 32, 32, 1, 9, 9)
    reacting = 2 * math.prod(wide) * 256
    mex = {"offsets_initializer": "random_normal", "beta": 1.0}
    return [
        Case(
            "GConv2D, (9, 9) to (9, 9), 3x3 | Conv2D",
            structured,
            lambda: ksn.layers.GConv2D(1, (9, 9), 3, padding="same"),
            lambda: keras.Sequential(
                [
                    keras.layers.Reshape((32, 32, 81)),
                    keras.layers.Conv2D(81, 3, padding="same"),
                    keras.layers.Reshape((32, 32, 1, 9, 9)),
                ]
            ),
            1 / 1.03,
            flops=2 * 32**3 * 81 * 81 * 9,
            equal=False,
        ),
        Case(
            "GConv2D, one axis of (9, 9) | einsum for each entry of the kernel",
            structured,
            lambda: ksn.layers.GConv2D(1, (9,), 3, contract=1, padding="same", use_bias=False),
            Einsum,
            3,
            flops=2 * 32**3 * 9 * 81 * 9,
            equal=False,
        ),
        Case(
            "Similarity2D, l2, 64 to 64 | two products of matrices",
            maps,
            similarity(2.0)[0],
            TwoProducts,
            1 / 1.5,
            flops=4 * pixels * 64 * 64,
            equal=False,
        ),
        Case(
            "Similarity2D, l2, 64 to 64 | broadcasting",
            maps,
            *similarity(2.0),
            20,
            flops=4 * pixels * 64 * 64,
        ),
        Case("Similarity2D, l1, 64 to 64 | broadcasting", maps, *similarity(1.0), 8, goal_eager=4),
        Case(
            "Similarity2D, p = 1.5, 64 to 64 | broadcasting",
            maps,
            *similarity(1.5),
            8,
            goal_eager=4,
        ),
        Case(
            "MEX, 192 to 192 | logsumexp by broadcasting",
            (4, 16, 16, 192),
            lambda: ksn.layers.MEX(192, **mex),
            lambda: BroadcastMEX(192, **mex),
            10,
            flops=2 * 4 * 256 * 192 * 192,
        ),
        Case(
            "ImplicitDiffusion2D with a 1x1 convolution, 256 channels | Conv2D 3x3",
            wide,
            lambda: Diffused(ksn.layers.ImplicitDiffusion2D()),
            lambda: fully_coupled(256),
            2.5,
            "forward",
            flops=reacting,
            equal=False,
        ),
        Case(
            "CirculantDiffusion2D with a 1x1 convolution, 256 channels | Conv2D 3x3",
            wide,
            lambda: Diffused(ksn.layers.CirculantDiffusion2D()),
            lambda: fully_coupled(256),
            2,
            "forward",
            flops=reacting,
            equal=False,
        ),
    ]


def main(pattern="", rounds=15):
    """Measure the cases whose name contains `pattern`; the result as it is saved."""
    limits = timing.limits_of_the_machine()
    found = {"rounds": rounds, "limits": limits}
    for case in cases():
        if pattern.lower() in case.name.lower():
            for key, value in measure(case, rounds, limits).items():
                found.setdefault(key, {})[case.name] = value
    for name, layer, goal in (
        ("ImplicitDiffusion2D", ksn.layers.ImplicitDiffusion2D, 64),
        ("CirculantDiffusion2D", ksn.layers.CirculantDiffusion2D, 96),
    ):
        if pattern.lower() in name.lower():
            found |= break_even(name, layer, goal, rounds)
    if pattern in "import":
        found["import after keras, seconds"] = {"goal": 0.3, "median": import_seconds()}
    return found


def measure(case, rounds, limits):
    """One case: {what: figure}."""
    x = np.random.default_rng(0).normal(size=case.shape).astype("float32")
    found = {}
    for mode in MODES:
        held = mode == "step"
        ours, theirs = (model_of(make(), case.shape, held) for make in (case.ours, case.theirs))
        if case.equal:
            theirs.set_weights(ours.get_weights())
        inputs = np.zeros((case.shape[0], 1), "float32") if held else x
        steps = {"ours": stepper(ours, inputs, held), "theirs": stepper(theirs, inputs, held)}
        if case.equal and not held:
            error = np.max(np.abs(steps["ours"]() - steps["theirs"]()))
            found["largest difference"] = float(f"{error:.2g}")
            assert error < 1e-3, (case.name, error)
        times = timing.alternate(steps, rounds)
        ratio = timing.times_faster(times, "ours", "theirs")
        found[f"times faster, {mode}"] = ratio[1]
        found[f"quartiles, {mode}"] = ratio[::2]
        found[f"milliseconds, {mode}"] = [timing.median(times[k]) for k in ("ours", "theirs")]
        if mode == "forward":
            found["MiB, forward"] = [timing.memory_of(steps[k]) for k in ("ours", "theirs")]
            found["MiB of input and twice output"] = round(
                (x.nbytes + 2 * steps["ours"]().nbytes) / 2**20, 1
            )
            needed = case.flops / limits["products of matrices, Gflop/s"]
            moved = (x.nbytes + steps["ours"]().nbytes) / limits["copies of memory, GB/s"]
            share = 1e-6 * max(needed, moved) / timing.median(times["ours"])
            found["share of the machine's limit, forward"] = round(share, 2)
    eager = keras.backend.backend() in EAGER and case.goal_eager
    goal = case.goal_eager if eager else case.goal
    found["goal"] = round(goal, 3)
    found["judged by"] = case.judged
    print(row(case.name, found), flush=True)
    return found


def row(name, found):
    """One line for people."""
    return (
        f"{name}: {found['times faster, forward']} times faster forward, "
        f"{found['times faster, step']} in a step (goal {found['goal']} in the {found['judged by']})"
    )


def break_even(name, layer, goal, rounds):
    """From how many channels on the layer with a 1x1 convolution beats a convolution of 3x3, forward."""
    faster = {}
    for channels in BREAK_EVEN:
        shape = (8, 32, 32, channels)
        x = np.random.default_rng(0).normal(size=shape).astype("float32")
        ours = model_of(Diffused(layer()), shape, held=False)
        theirs = model_of(fully_coupled(channels), shape, held=False)
        times = timing.alternate(
            {"ours": stepper(ours, x, False), "theirs": stepper(theirs, x, False)}, rounds
        )
        faster[channels] = timing.times_faster(times, "ours", "theirs")[1]
    behind = [channels for channels, ratio in faster.items() if ratio < 1]
    after = [channels for channels in BREAK_EVEN if channels > max(behind, default=0)]
    found = {str(k): v for k, v in faster.items()}
    found |= {"break-even": after[0] if after else None, "goal": goal}
    print(f"{name}: times faster by channels {found}", flush=True)
    return {f"{name}: times faster than Conv2D 3x3 by channels": found}


def import_seconds():
    """Seconds that the import of the package takes after that of Keras, in fresh processes."""
    code = (
        "import time, keras; start = time.perf_counter(); import keras_structnets; "
        "print(time.perf_counter() - start)"
    )
    environment = {**os.environ, "KERAS_BACKEND": keras.backend.backend()}
    seconds = [
        float(
            subprocess.run(
                [sys.executable, "-c", code], env=environment, capture_output=True, check=True
            ).stdout
        )
        for _ in range(3)
    ]
    return round(sorted(seconds)[1], 3)
