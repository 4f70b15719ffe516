"""What may import what, and the style of the code."""

import ast
import os
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parent.parent
PACKAGE = ROOT / "keras_structnets"
FILES = sorted(PACKAGE.rglob("*.py"))
# files that may use more, and what they may use
EXTRAS = {
    "training": {"sklearn", "PIL", "matplotlib", "rich"},
    "pretraining": {"sklearn", "scipy", "matplotlib"},
    "zoo/baselines.py": {"keras_cv"},
    "analysis.py": {"scipy"},
    "zoo/weights.py": {"h5py"},  # what Keras itself depends on
    "training/publish.py": {"h5py"},
    "ops/kernels/tensorflow.py": {"tensorflow"},
    "ops/kernels/torch.py": {"torch"},
    "ops/kernels/jax.py": {"jax"},
}


def modules_imported(path):
    """Names of all modules that a file imports, inside functions too."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield node.module


def command(*arguments, **environment):
    """A finished process; its output is shown where it fails."""
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"} | environment,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_file_imports_keras_and_numpy_and_nothing_else(path):
    name = path.relative_to(PACKAGE).as_posix()
    allowed = {"keras", "numpy", "keras_structnets", *sys.stdlib_module_names}
    for start, extras in EXTRAS.items():
        if name == start or name.startswith(f"{start}/"):
            allowed |= extras
    modules = set(modules_imported(path))
    assert {module.partition(".")[0] for module in modules} <= allowed
    assert not any(module.startswith("keras.src") for module in modules)
    assert "keras.src" not in path.read_text(encoding="utf-8")


def test_the_library_imports_without_its_extras():
    command(
        "-c",
        """
import sys
import keras  # uses some of these where they are installed

blocked = ("sklearn", "matplotlib", "PIL", "keras_cv", "scipy")
for name in [name for name in sys.modules if name.partition(".")[0] in (*blocked, "rich")]:
    del sys.modules[name]

class Block:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in (*blocked, "rich"):
            raise ModuleNotFoundError(f"{name} is blocked", name=name)

sys.meta_path.insert(0, Block())
import keras_structnets as ksn

assert ksn.zoo.list_models()
assert ksn.layers and ksn.ops and ksn.blocks
""",
    )


def test_each_level_imports_only_the_levels_below_it():
    command("-c", "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports())")


def test_ruff_finds_nothing():
    command("-m", "ruff", "check", ".")
    command("-m", "ruff", "format", "--check", ".")


def code_of(path):
    """(number, text) of each line of code: no blank lines, comments, imports and docstrings."""
    text = path.read_text(encoding="utf-8")
    strings = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Expr)]
    passed = {
        number
        for node in strings
        if isinstance(node.value, ast.Constant)
        for number in range(node.lineno, node.end_lineno + 1)
    }
    for number, line in enumerate(text.splitlines(), 1):
        line = line.strip()
        if line and number not in passed and not line.startswith(("#", "import ", "from ")):
            yield number, line


def repeated(paths, length=10):
    """Pairs of places that share `length` lines of code, each by its first line."""
    seen, pairs = {}, []
    for path in paths:
        lines = list(code_of(path))
        for i in range(len(lines) - length + 1):
            window = tuple(text for _, text in lines[i : i + length])
            place = f"{path.name}:{lines[i][0]}"
            if seen.setdefault(window, place) != place:
                pairs.append((seen[window], place))
    return pairs


def test_no_ten_lines_stand_in_two_places(tmp_path):
    body = "\n".join(f"    x = x + {i}" for i in range(9))
    for name in ("a", "b"):
        (tmp_path / f"{name}.py").write_text(f'def f(x):\n    """{name}."""\n{body}\n')
    assert repeated([tmp_path / "a.py", tmp_path / "b.py"]) == [("a.py:1", "b.py:1")]
    assert repeated(FILES) == []
