"""Layers against what one would use instead, on one backend.

    structnets bench layers [--backend jax|torch|tensorflow] [--device DEVICE]

Each pair runs in one process, in alternation, compiled as `fit` compiles it: forward, and a step of SGD
whose input is a weight too, which makes all gradients. "times faster" is the median over the rounds of
their time over ours.
"""

import dataclasses
from functools import partial

import keras
import numpy as np

import keras_structnets as ksn

from . import timing
from .baselines import (
    BroadcastMEX,
    BroadcastSimilarity,
    Einsum,
    fully_coupled,
    model_of,
    stepper,
    two_products,
)

BREAK_EVEN = (16, 32, 48, 64, 96, 128, 256)  # channels


@dataclasses.dataclass(frozen=True)
class Case:
    """Two layers that do the same, or the same service, and how many times faster ours should be."""

    name: str
    shape: tuple
    ours: object
    theirs: object
    goal: float
    judged: str = "step"
    goal_eager: float = None  # on PyTorch
    equal: bool = False  # whether both give the same numbers from the same weights


def cases():
    """All pairs."""
    maps, wide, structured = (64, 16, 16, 64), (8, 32, 32, 256), (32, 32, 32, 1, 9, 9)
    l1, l2, l1_5 = ({"p": p, "templates_initializer": "random_normal"} for p in (1.0, 2.0, 1.5))
    mex = {"offsets_initializer": "random_normal", "beta": 1.0}
    return [
        Case(
            "GConv2D, (9, 9) to (9, 9), 3x3 | Conv2D",
            structured,
            lambda: ksn.layers.GConv2D(1, (9, 9), 3, padding="same"),
            structured_convolution,
            1 / 1.03,
        ),
        Case(
            "GConv2D, one axis of (9, 9) | einsum for each entry of the kernel",
            structured,
            lambda: ksn.layers.GConv2D(1, (9,), 3, contract=1, padding="same", use_bias=False),
            Einsum,
            3,
        ),
        Case(
            "Similarity2D, l2, 64 to 64 | two products of matrices",
            maps,
            lambda: ksn.layers.Similarity2D(64, **l2),
            two_products,
            1 / 1.5,
        ),
        similarity("Similarity2D, l2, 64 to 64 | broadcasting", maps, l2, 20),
        similarity("Similarity2D, l1, 64 to 64 | broadcasting", maps, l1, 8, goal_eager=4),
        similarity("Similarity2D, p = 1.5, 64 to 64 | broadcasting", maps, l1_5, 8, goal_eager=4),
        Case(
            "MEX, 192 to 192 | logsumexp by broadcasting",
            (4, 16, 16, 192),
            lambda: ksn.layers.MEX(192, **mex),
            lambda: BroadcastMEX(192, **mex),
            10,
            equal=True,
        ),
        diffusion("ImplicitDiffusion2D", wide, 2.5),
        diffusion("CirculantDiffusion2D", wide, 2),
    ]


def similarity(name, shape, options, goal, **more):
    """A 1x1 similarity of 64 channels to 64 templates against the same by broadcasting."""
    return Case(
        name,
        shape,
        lambda: ksn.layers.Similarity2D(64, **options),
        lambda: BroadcastSimilarity(64, **options),
        goal,
        equal=True,
        **more,
    )


def diffusion(name, shape, goal):
    """A diffusion with the 1x1 convolution of its reaction against a 3x3 convolution, forward."""
    layer, channels = getattr(ksn.layers, name), shape[-1]
    reaction = partial(ksn.layers.GConv2D, channels, (), 1, use_bias=False)
    return Case(
        f"{name} with a 1x1 convolution, {channels} channels | Conv2D 3x3",
        shape,
        lambda: keras.Sequential([reaction(), layer()]),
        lambda: fully_coupled(channels),
        goal,
        "forward",
    )


def structured_convolution():
    """An ordinary convolution with as many weights as that from (9, 9) to (9, 9)."""
    reshape, convolution = keras.layers.Reshape, keras.layers.Conv2D
    return keras.Sequential(
        [reshape((32, 32, 81)), convolution(81, 3, padding="same"), reshape((32, 32, 1, 9, 9))]
    )


def main(pattern="", rounds=15):
    """Measure the cases whose name contains `pattern`; the result as it is saved."""
    found = {"rounds": rounds}
    for case in cases():
        if pattern.lower() in case.name.lower():
            for key, value in measure(case, rounds).items():
                found.setdefault(key, {})[case.name] = value
    for name, goal in (("ImplicitDiffusion2D", 64), ("CirculantDiffusion2D", 96)):
        if pattern.lower() in name.lower():
            key = f"{name}: times faster than Conv2D 3x3 by channels"
            found[key] = break_even(name, goal, rounds)
            print(key, found[key], flush=True)
    return found


def measure(case, rounds):
    """One case: {what: figure}."""
    found = {}
    for mode in ("forward", "step"):
        steps = pair(case, mode == "step")
        if case.equal and mode == "forward":
            error = np.max(np.abs(steps["ours"]() - steps["theirs"]()))
            found["largest difference"] = float(f"{error:.2g}")
            assert error < 1e-3, (case.name, error)
        found |= timing.compare(steps, rounds, "ours", "theirs", mode)
    eager = keras.backend.backend() == "torch" and case.goal_eager
    goal = round(case.goal_eager if eager else case.goal, 3)
    print(f"{case.name}: {timing.in_words(found)}", flush=True)
    return found | {"goal": goal, "judged by": case.judged}


def pair(case, training):
    """{"ours", "theirs"}: a step of each, with the same weights where they are equal."""
    ours, theirs = (model_of(make(), case.shape, training) for make in (case.ours, case.theirs))
    if case.equal:
        theirs.set_weights(ours.get_weights())
    x = np.random.default_rng(0).normal(size=case.shape).astype("float32")
    inputs = np.zeros((case.shape[0], 1), "float32") if training else x
    return {"ours": stepper(ours, inputs, training), "theirs": stepper(theirs, inputs, training)}


def break_even(name, goal, rounds):
    """From how many channels on the layer with a 1x1 convolution beats a 3x3 convolution, forward."""
    faster = {}
    for channels in BREAK_EVEN:
        steps = pair(diffusion(name, (8, 32, 32, channels), goal), training=False)
        times = timing.alternate(steps, rounds)
        faster[str(channels)] = timing.times_faster(times, "ours", "theirs")[1]
    last_slower = max((int(n) for n, ratio in faster.items() if ratio < 1), default=0)
    above = [channels for channels in BREAK_EVEN if channels > last_slower]
    return faster | {"break-even": above[0] if above else None, "goal": goal}
