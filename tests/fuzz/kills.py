"""Training runs that are killed and resumed: each ends with the weights of a run that is not."""

import json
import pathlib
import random
import subprocess
import sys
import tempfile

import keras
import numpy as np

from tests.fuzz import limits

ROOT = pathlib.Path(__file__).parents[2]
KINDS = ("write", "after", "data")
GOOD = ("same weights",)


def outcomes(seed=0, count=10, only=None):
    """(kind, kill, end) of `count` kills, 20 of a run at most."""
    rng = random.Random(seed)
    with tempfile.TemporaryDirectory() as place:
        whole = pathlib.Path(place, "whole")
        start(whole)
        results = json.loads((whole / "results.json").read_text(encoding="utf-8"))
        seconds = results["runs"][0]["seconds"]
        kills = [_kill(rng, seconds, only) for _ in range(count)]
        for i in range(0, count, 20):
            other, part = pathlib.Path(place, f"other{i}"), kills[i : i + 20]
            ends = start(other, *part)
            same = "same weights" if same_weights(whole, other) else "other weights"
            for kill, end in zip(part, ends, strict=False):
                yield kill.partition(":")[0], kill, same if end == f"{kill} -9" else end


def _kill(rng, seconds, only):
    kind = only or rng.choice(KINDS)
    number = rng.uniform(0, 0.2 * seconds) if kind == "after" else rng.randint(1, 6)
    return f"{kind}:{number:.2f}" if kind == "after" else f"{kind}:{number}"


def start(folder, *kills):
    """The lines that `tests.unit.killed` prints: each kill and how its process ended."""
    command = [sys.executable, "-m", "tests.unit.killed", str(folder), *kills]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


def same_weights(first, second):
    """Whether the models of two runs are equal bit by bit."""
    weights = (
        keras.saving.load_model(folder / f"{folder.name}.keras", compile=False).weights
        for folder in (first, second)
    )
    pairs = zip(*weights, strict=True)
    return all(np.array_equal(*map(keras.ops.convert_to_numpy, pair)) for pair in pairs)


def table(found):
    """How many kills of each kind ended how."""
    return limits.table(found, GOOD)
