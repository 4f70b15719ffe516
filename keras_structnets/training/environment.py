"""The environment of a run: versions, machine, commit and date."""

import datetime
import importlib.metadata
import os
import pathlib
import platform
import subprocess

import keras
import numpy as np

import keras_structnets


def environment():
    """Versions, machine, commit and date, as `results.json` tells them."""
    backend = keras.backend.backend()
    return {
        "versions": {
            "python": platform.python_version(),
            "keras_structnets": keras_structnets.__version__,
            "keras": keras.version(),
            "numpy": np.__version__,
            backend: _version(backend),
        },
        "machine": {"cores": cores(), "processor": platform.machine()},
        "commit": _commit(),
        "date": datetime.date.today().isoformat(),
    }


def cores():
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def _version(package):
    for name in (package, f"{package}-cpu", f"{package}-macos", f"{package}-intel"):
        try:
            return importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return "unknown"


def _commit():
    """The commit of a checkout that the package runs from, or None."""
    root = pathlib.Path(keras_structnets.__file__).parents[1]
    command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--exclude=*"]
    if not (root / ".git").exists():
        return None
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None
