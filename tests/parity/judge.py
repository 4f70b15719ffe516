"""Verdicts from the files that the backends wrote. Imports NumPy only."""

import dataclasses
import fnmatch

import numpy as np

from tests.cases import catalogue
from tests.cases.models import chosen

FORWARD = 2e-6  # relative to the largest entry
GRADIENT = 2e-5
LOGITS = 1e-4


@dataclasses.dataclass(frozen=True)
class Verdict:
    line: str
    passed: bool


def relative_error(found, expected):
    """Largest difference over the largest entry; infinite where a value is not finite."""
    found = np.asarray(found, "float64")
    if found.shape != np.shape(expected) or not np.all(np.isfinite(found)):
        return np.inf
    return float(np.max(np.abs(found - expected)) / max(np.max(np.abs(expected)), 1e-30))


def layers(folder, backends, only):
    """One verdict per backend over all cases of the catalogue."""
    cases = [case for case in catalogue() if fnmatch.fnmatch(case.name, only)]
    found = {backend: dict(np.load(folder / f"{backend}.npz")) for backend in backends}
    errors = {backend: [] for backend in backends}
    for case in cases:
        mine = {b: _of_case(found[b], case.name) for b in backends}
        expected = expected_of(case, mine[backends[0]])
        for backend in backends:
            errors[backend] += errors_of(case.name, mine[backend], expected)
    return [_verdict(backend, len(cases), errors[backend]) for backend in backends if cases]


def expected_of(case, found):
    """What the reference gives for the values that a backend started from: y and central differences."""
    values = {
        k.removeprefix("value/"): v.astype("float64") for k, v in found.items() if "value/" in k
    }
    cotangent = found["cotangent"].astype("float64")
    expected = {"y": case.reference(**values)}
    for name, value in values.items():
        expected[f"grad/{name}"] = _central_differences(
            lambda v, name=name: np.sum(cotangent * case.reference(**{**values, name: v})), value
        )
    return expected


def errors_of(name, found, expected):
    """(error over its tolerance, error, what) of everything the case computed."""
    rows = []
    for key, value in expected.items():
        error = relative_error(found[key], value)
        rows.append((error / (FORWARD if key == "y" else GRADIENT), error, f"{name} {key}"))
    return rows


def models(folder, backends, only):
    """Each model's logits agree between backends, and each saved file predicts the same elsewhere."""
    names = chosen(only)
    verdicts = []
    for backend in backends:
        rows = []
        for name in names:
            first = np.load(folder / backends[0] / f"{name}.npy")
            rows.append((relative_error(np.load(folder / backend / f"{name}.npy"), first), name))
            for other in backends:
                if other != backend:
                    loaded = np.load(folder / other / f"{name}.{backend}.npy")
                    rows.append((relative_error(loaded, first), f"{name} saved by {other}"))
        if rows:
            error, what = max(rows)
            line = f"{backend}: {len(names)} models, logits within {error:.1e} ({what}), at most {LOGITS}"
            verdicts.append(_line(line, error <= LOGITS))
    return verdicts


def _verdict(backend, count, errors):
    forward = max((e, what) for _, e, what in errors if what.endswith(" y"))
    gradient = max((e, what) for _, e, what in errors if not what.endswith(" y"))
    failed = [f"{what} {e:.1e}" for ratio, e, what in errors if not ratio <= 1]
    line = (
        f"{backend}: {count} cases, forward within {forward[0]:.1e} ({forward[1]}), at most {FORWARD}; "
        f"gradients within {gradient[0]:.1e} ({gradient[1]}), at most {GRADIENT}"
    )
    return _line("\n  ".join([line, *failed]), not failed)


def _line(line, passed):
    return Verdict(("PASS " if passed else "FAIL ") + line, passed)


def _of_case(found, name):
    return {key.split("|", 1)[1]: v for key, v in found.items() if key.startswith(f"{name}|")}


def _central_differences(f, value, step=1e-6):
    gradient = np.zeros_like(value)
    for at in np.ndindex(*value.shape):
        up, down = value.copy(), value.copy()
        up[at] += step
        down[at] -= step
        gradient[at] = (f(up) - f(down)) / (2 * step)
    return gradient
