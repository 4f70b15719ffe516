"""The environment of a run: versions, machine, commit and date."""

import datetime
import os
import pathlib
import platform
import subprocess
import sys

import keras
import numpy as np

import keras_structnets


def environment():
    """Versions, machine, commit and date, as `results.json` tells them."""
    backend = keras.backend.backend()
    affinity = getattr(os, "sched_getaffinity", None)  # the cores that this process may use
    return {
        "versions": {
            "python": platform.python_version(),
            "keras_structnets": keras_structnets.__version__,
            "keras": keras.version(),
            "numpy": np.__version__,
            backend: str(sys.modules[backend].__version__),
        },
        "machine": {
            "cores": len(affinity(0)) if affinity else os.cpu_count(),
            "processor": platform.machine(),
            "device": _device(),
        },
        "commit": _commit(),
        "date": datetime.date.today().isoformat(),
    }


def _device():
    """Where the backend computes: "cpu", "gpu" or "tpu"."""
    name = str(keras.ops.zeros(()).device).lower()
    return next(
        (kind for kind in ("cpu", "tpu") if kind in name), "gpu"
    )  # PyTorch says cuda or mps


def _commit():
    """The commit of a checkout that the package runs from, or None."""
    root = pathlib.Path(keras_structnets.__file__).parents[1]
    command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--exclude=*"]
    try:
        if (root / ".git").exists():
            return subprocess.run(command, capture_output=True, text=True).stdout.strip() or None
    except OSError:  # there is no git
        pass
    return None
