"""Write tutorials/*.ipynb from tutorials/*.py and execute them: `python -m tests.notebooks`.

A notebook whose source and outputs are current stays as it is. The outputs come from the backend of
KERAS_BACKEND.
"""

import hashlib
import os
import pathlib
import time

TUTORIALS = pathlib.Path(__file__).parent.parent / "tutorials"
SOURCES = sorted(TUTORIALS.glob("*.py"))


def checksum(source):
    """The checksum of a tutorial's source."""
    return hashlib.sha256(source.read_bytes()).hexdigest()


def is_current(source):
    """Whether the notebook of a tutorial was executed from its present source."""
    import nbformat

    path = source.with_suffix(".ipynb")
    if not path.is_file():
        return False
    return nbformat.read(path, 4).metadata.get("source", {}).get("sha256") == checksum(source)


def execute(source):
    """Execute a tutorial, and write its notebook with the outputs."""
    import jupytext
    import keras
    import nbclient
    import nbformat

    form = {"extension": ".py", "format_name": "percent", "comment_magics": False}
    notebook = jupytext.reads(source.read_text(encoding="utf-8"), fmt=form)
    started = time.perf_counter()
    client = nbclient.NotebookClient(
        notebook, timeout=3600, kernel_name="python3", store_widget_state=False, record_timing=False
    )
    client.execute(cwd=TUTORIALS)
    seconds = time.perf_counter() - started
    notebook.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
        "source": {
            "sha256": checksum(source),
            "keras": keras.__version__,
            "backend": keras.backend.backend(),
            "seconds": round(seconds),
        },
    }
    for number, cell in enumerate(notebook.cells):
        cell.id = f"{source.stem}-{number}"  # jupytext draws them at random
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if not _is_log(output)]
    nbformat.write(notebook, source.with_suffix(".ipynb"))


def _is_log(output):
    """Whether an output is a log of TensorFlow, whatever its log level is."""
    logs = "absl::InitializeLog", "INFO:tensorflow:"
    return output.get("name") == "stderr" and any(log in output.text for log in logs)


if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    for tutorial in SOURCES:
        if not is_current(tutorial):
            execute(tutorial)
