"""Fixtures that several files share."""

import pytest

from tests.unit.tiny_model import tiny_zoo


@pytest.fixture(scope="module")
def tiny_models():
    """The zoo with the small architectures of `tiny_model`."""
    with tiny_zoo():
        yield
