"""Docstrings as the API pages show them: mkdocstrings reads the source and does not run it.

- A class that says `__doc__ = _Base.__doc__` gets the docstring of that class.
- Examples in doctest form, `>>> f(x)`, become blocks of code.
"""

import re
import textwrap

import griffe

DOCTEST = re.compile(r"\n+((?: *)>>> .*(?:\n *\S.*)*)")


class ReadDocs(griffe.Extension):
    """Griffe calls these with each class and function that it has read."""

    def on_class(self, *, cls, **_):
        """Follow an assignment of `__doc__`."""
        assigned = cls.members.get("__doc__")
        if assigned is not None:
            base, _, attribute = str(assigned.value).rpartition(".")
            source = cls.parent.members.get(base)
            if attribute == "__doc__" and source is not None and source.docstring is not None:
                cls.docstring = griffe.Docstring(source.docstring.value, parent=cls)
        _fence(cls.docstring)

    def on_function(self, *, func, **_):
        """Only the examples."""
        _fence(func.docstring)


def _fence(docstring):
    if docstring is not None:
        docstring.value = DOCTEST.sub(_fenced, docstring.value)


def _fenced(match):
    return f"\n\n```pycon\n{textwrap.dedent(match[1])}\n```"
