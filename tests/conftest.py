"""What holds for every test."""

import importlib.util

import pytest


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item):
    """Where one backend is installed alone, skip what needs keras-cv, which needs TensorFlow."""
    try:
        return (yield)
    except ImportError as error:
        missing = any(importlib.util.find_spec(name) is None for name in ("keras_cv", "tensorflow"))
        if missing and "keras_structnets[cv]" in str(error):
            pytest.skip("keras-cv or TensorFlow is not installed")
        raise
