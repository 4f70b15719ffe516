"""The tutorials as notebooks, and what comes out of them.

`python -m tests.notebooks` writes tutorials/*.ipynb, without outputs. With `--outputs` it then runs those
that changed, on the backend of KERAS_BACKEND, and writes what they print and draw to docs/tutorials/outputs/,
for their pages.
"""

import contextlib
import hashlib
import importlib
import io
import json
import pathlib
import re
import shutil
import sys
import unittest.mock

ROOT = pathlib.Path(__file__).parent.parent
TUTORIALS = ROOT / "tutorials"
OUTPUTS = ROOT / "docs" / "tutorials" / "outputs"
KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}
COLORS = re.compile(r"\x1b\[[0-9;]*m")


def notebook(path):
    """The text of the notebook of a tutorial, the same on every machine."""
    import jupytext

    source = path.read_text(encoding="utf-8")
    form = {"extension": ".py", "format_name": "percent", "comment_magics": False}
    cells = jupytext.reads(source, fmt=form).cells
    for number, cell in enumerate(cells):
        cell["id"] = f"{path.stem}-{number}"  # jupytext draws them at random
        cell["metadata"] = {}
    metadata = {"kernelspec": KERNEL, "language_info": {"name": "python"}}
    whole = {"cells": cells, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}
    return json.dumps(whole, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def run(path, show):
    """Execute the code cells of a notebook in order, as Jupyter does: yields what each has printed.

    `show(figure)` gets each figure that a cell shows. The first error is raised.
    """
    import matplotlib
    from IPython.core.interactiveshell import InteractiveShell
    from matplotlib import figure, pyplot
    from traitlets.config import Config

    def show_all():
        assert pyplot.get_fignums(), "a figure is shown that is not there"
        for number in pyplot.get_fignums():
            show(pyplot.figure(number))
        pyplot.close("all")

    matplotlib.use("agg")
    shell = InteractiveShell(config=Config({"HistoryManager": {"enabled": False}}))
    shell.displayhook.write_output_prompt = lambda: None  # the value of a cell without its number
    shell.display_formatter.formatters["text/plain"].for_type(figure.Figure, lambda f, *_: show(f))
    try:
        with unittest.mock.patch.object(pyplot, "show", show_all):
            for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
                if cell["cell_type"] == "code":
                    with contextlib.redirect_stdout(io.StringIO()) as printed:
                        result = shell.run_cell("".join(cell["source"]))
                    result.raise_error()
                    yield printed.getvalue()
    finally:
        pyplot.close("all")
        shell.restore_sys_module_state()  # it has taken the place of __main__


def checksum(path):
    """The checksum of the source of a tutorial, which its outputs carry."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def has_outputs(path):
    """Whether the outputs on the page of a tutorial are of its present source."""
    written = OUTPUTS / path.stem / "outputs.json"
    return written.is_file() and json.loads(written.read_text("utf-8"))["source"] == checksum(path)


def write_outputs(path):
    """Run the notebook of a tutorial, and write what its cells print and draw."""
    import keras

    folder = OUTPUTS / path.stem
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    keras.utils.clear_session()  # the names of layers count from the start
    pictures, cells = [], []

    def draw(figure):
        pictures.append(f"{len(list(folder.iterdir())) + 1}.png")
        figure.savefig(folder / pictures[-1], dpi=110)

    for printed in run(path.with_suffix(".ipynb"), draw):
        cells.append({"text": as_seen(printed), "pictures": pictures[:]})
        pictures.clear()
    backend = keras.backend.backend()
    found = {
        "source": checksum(path),
        "backend": backend,
        "versions": {name: version_of(name) for name in ("keras", backend)},
        "cells": cells,
    }
    text = json.dumps(found, indent=1, ensure_ascii=False) + "\n"
    (folder / "outputs.json").write_text(text, encoding="utf-8")


def version_of(module):
    return str(importlib.import_module(module).__version__)


def as_seen(printed):
    """Text as a terminal leaves it: of a progress bar the last state, and no colors."""
    lines = COLORS.sub("", printed).replace("\b", "").split("\n")
    return "\n".join(line.rstrip("\r").rpartition("\r")[2].rstrip() for line in lines).strip("\n")


if __name__ == "__main__":
    sources = sorted(TUTORIALS.glob("*.py"))
    for path in sources:
        path.with_suffix(".ipynb").write_text(notebook(path), encoding="utf-8")
    if "--outputs" in sys.argv:
        for path in sources:
            if not has_outputs(path):
                write_outputs(path)
