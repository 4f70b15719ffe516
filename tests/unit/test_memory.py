"""What is done with memory that is free again."""

import pathlib
import platform
import subprocess
import sys

import pytest

from keras_structnets.training import memory

PROGRAM = """
import importlib.util, resource, sys
import numpy as np

spec = importlib.util.spec_from_file_location("memory", sys.argv[1])
memory = importlib.util.module_from_spec(spec)
spec.loader.exec_module(memory)

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(4):
        np.ones(2**24, "float32")
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

returned = faults()
memory.keep_memory(), faults()
print(returned, faults())
"""


@pytest.mark.no_backend
@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library can't be told")
def test_memory_that_is_kept_is_not_asked_for_again():
    path = pathlib.Path(memory.__file__)
    command = [sys.executable, "-c", PROGRAM, str(path)]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    returned, kept = map(int, result.stdout.split())
    assert kept < 10 < 100 < returned


@pytest.mark.no_backend
def test_another_c_library_is_left_alone(monkeypatch):
    monkeypatch.setattr(memory.ctypes, "CDLL", lambda _: object())
    assert memory.keep_memory() is False
