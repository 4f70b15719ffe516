"""The tutorials as notebooks without outputs, written by `python -m tests.notebooks`."""

import json
import pathlib

TUTORIALS = pathlib.Path(__file__).parent.parent / "tutorials"
KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}


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


if __name__ == "__main__":
    for path in sorted(TUTORIALS.glob("*.py")):
        path.with_suffix(".ipynb").write_text(notebook(path), encoding="utf-8")
