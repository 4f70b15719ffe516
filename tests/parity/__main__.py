"""Parity: `python -m tests.parity [--backends jax torch tensorflow] [--only PATTERN]`.

One fresh process per backend runs every case of the catalogue and saves what it computed; this process,
which imports no backend, judges it against the float64 reference. Then each backend saves a model of each
family as a `.keras` file, and loads and predicts those that the others saved; `--only "*_[bc]"` takes the
wider ones.
"""

import argparse
import os
import pathlib
import subprocess
import sys
import tempfile

from tests.parity import judge

BACKENDS = ("jax", "torch", "tensorflow")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--backends", nargs="+", default=BACKENDS, choices=BACKENDS)
    parser.add_argument("--only", default="*", help="cases and models whose name matches")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        _run("layers", options, folder)
        verdicts = judge.layers(folder, options.backends, options.only)
        _run("save", options, folder)
        _run("load", options, folder)
        verdicts += judge.models(folder, options.backends, options.only)
    if not verdicts:
        parser.error(f"no case and no model matches --only {options.only!r}")
    for verdict in verdicts:
        print(verdict.line)
    return 0 if all(verdict.passed for verdict in verdicts) else 1


def _run(task, options, folder):
    """The task in one process per backend, two at a time; the first failure ends it all."""
    waiting, running = list(options.backends), []
    while waiting or running:
        while waiting and len(running) < 2:
            backend = waiting.pop(0)
            environment = os.environ | {"KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3"}
            command = [sys.executable, "-m", "tests.parity.worker", task, str(folder), options.only]
            running.append(
                (backend, subprocess.Popen([*command, *options.backends], env=environment))
            )
        backend, process = running.pop(0)
        if process.wait():
            sys.exit(f"parity: the {task} of {backend} failed")


if __name__ == "__main__":
    sys.exit(main())
