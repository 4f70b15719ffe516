"""Each task of CONTRIBUTING.md works, done from its text in a copy of the repository."""

import os
import re
import shutil
import subprocess
import sys
import textwrap

import pytest

from tests.readme import ROOT

pytestmark = pytest.mark.no_backend
TEXT = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
TASKS = dict(re.findall("### (An? .*?)\n.*?```diff\n(.*?)```", TEXT, re.DOTALL))
USED = """
    import keras_structnets as ksn
    import keras
    from keras_structnets.__main__ import main
    from tests.cases import catalogue
    from tests.parity import judge, probe

    (case,) = [case for case in catalogue() if case.config.get("groups")]
    found = probe.run(case)
    for ratio, _, what in judge.errors_of(case.name, found, judge.expected_of(case, found)):
        assert ratio <= 1, what

    def flops(**options):
        layer = ksn.layers.LinearMixConv2D(6, 3, padding="same", use_bias=False, **options)
        return ksn.zoo.flops(keras.Sequential([keras.Input((4, 4, 6)), layer])).multiplies

    assert flops() - flops(groups=2) == 16 * 6 * 3
    assert ksn.zoo.build("tiny", filters=4).count_params() == 3 * 3 * 3 * 4 + 4 + 5 * 10
    assert ksn.training.load("stripes").class_names == ["left", "right"]
    settings = ["--augmentation", "darken", "--batch-size", "4", "--learning-rate", "0.1"]
    command = ["train", "tiny", "--dataset", "stripes", "--epochs", "2", "--out", "run"]
    assert main([*command, *settings]) == 0
    assert ksn.training.evaluate("run")["accuracy"] == 1
"""


def changes(diff):
    """(file, lines before, lines after) of each hunk."""
    for part in re.split("^--- ", diff, flags=re.MULTILINE)[1:]:
        file, _, hunks = part.partition("\n")
        for hunk in hunks.split("@@\n"):
            lines = hunk.splitlines(keepends=True)
            before = "".join(line[1:] for line in lines if line[0] in " -")
            yield file, before, "".join(line[1:] for line in lines if line[0] in " +")


def apply(diff, folder):
    for file, before, after in changes(diff):
        path = folder / file
        text = path.read_text(encoding="utf-8")
        assert text.count(before) == 1 or not before, f"{file} has not, or not once:\n{before}"
        path.write_text(text.replace(before, after) if before else text + after, encoding="utf-8")


def test_the_text_has_the_tasks_and_each_registration_takes_one_file():
    files = {task: {file for file, *_ in changes(diff)} for task, diff in TASKS.items()}
    assert {task: len(found) for task, found in files.items()} == {
        "A layer option": 5,
        "An architecture": 1,
        "A data set": 1,
        "An augmentation": 1,
    }


def test_the_results_of_all_tasks_work(tmp_path):
    for name in ("keras_structnets", "tests"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, tmp_path / name, ignore=ignored)
    for diff in TASKS.values():
        apply(diff, tmp_path)
    command = [sys.executable, "-c", textwrap.dedent(USED)]
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
