"""Docstrings as the API pages show them: mkdocstrings reads the source and does not run it.

- A class without a docstring gets that of its base.
- Examples in doctest form, `>>> f(x)`, become blocks of code.
"""

import re
import textwrap

import griffe

DOCTEST = re.compile(r"\n+((?: *)>>> .*(?:\n *\S.*)*)")


class ReadDocs(griffe.Extension):
    """Griffe calls these with each class and function that it has read."""

    def on_class(self, *, cls, **_):
        """Follow the first base that has a docstring."""
        if cls.docstring is None:
            bases = [cls.parent.members.get(str(base)) for base in cls.bases]
            texts = [base.docstring.value for base in bases if base and base.docstring]
            if texts:
                cls.docstring = griffe.Docstring(texts[0], parent=cls)
        _fence(cls.docstring)

    def on_function(self, *, func, **_):
        """Only the examples."""
        _fence(func.docstring)


def _fence(docstring):
    if docstring is not None:
        docstring.value = DOCTEST.sub(_fenced, docstring.value)


def _fenced(match):
    return f"\n\n```pycon\n{textwrap.dedent(match[1])}\n```"
