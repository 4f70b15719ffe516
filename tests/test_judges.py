"""The judges judge: everything public is judged, and what is wrong by 1% is found."""

import numpy as np
import pytest

from tests.cases import LAYERS, catalogue
from tests.parity import judge, probe

pytestmark = pytest.mark.no_backend  # tests.parity judges all backends
CASES = catalogue()
FIRST = {case.layer: case for case in reversed(CASES)}


def test_every_public_layer_is_in_the_catalogue():
    assert {case.layer for case in CASES} == set(LAYERS)


@pytest.mark.parametrize("case", FIRST.values(), ids=str)
def test_nudging_any_weight_or_the_input_by_one_percent_fails_parity(case):
    found = probe.run(case)
    expected = judge.expected_of(case, found)
    assert all(ratio <= 1 for ratio, _, _ in judge.errors_of(case.name, found, expected))
    names = [key.removeprefix("value/") for key in found if key.startswith("value/")]
    for name in names:
        value = np.asarray(found[f"value/{name}"] * np.float32(1.01))
        nudged = {**found, f"value/{name}": value}
        expected = judge.expected_of(case, nudged)
        assert any(not ratio <= 1 for ratio, _, _ in judge.errors_of(case.name, found, expected)), (
            name
        )


def test_a_gradient_that_is_not_finite_fails_parity():
    assert judge.relative_error([np.nan, 1.0], np.ones(2)) == np.inf
    assert judge.relative_error([1.0], np.ones(2)) == np.inf


def test_a_wrong_gradient_fails_parity():
    case = FIRST["MEX"]
    found = probe.run(case)
    expected = judge.expected_of(case, found)
    found["grad/x"] = found["grad/x"] * 1.001
    assert any(not ratio <= 1 for ratio, _, _ in judge.errors_of(case.name, found, expected))
