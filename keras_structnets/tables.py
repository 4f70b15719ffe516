"""Rows of values as text: aligned columns for people, CSV for programs."""

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any

Row = Mapping[str, Any]
GAP, SHORTEST = "  ", 12


def text_table(rows: Sequence[Row], width: int | None = None) -> str:
    """Aligned columns under a header, one line a row; numbers to the right.

    Args:
        rows: dicts with the same keys; None is an empty cell.
        width: columns of the terminal. The last text is cut to fit, and columns that do not fit are
            left out. None keeps all.
    """
    keys = list(rows[0])
    cells = [keys, *([_text(row[key]) for key in keys] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    right = [any(_is_number(row[key]) for row in rows) for key in keys]
    if width is not None:
        widths = _fitted(widths, width)
    return "\n".join(_line(line, widths, right) for line in cells)


def csv_table(rows: Sequence[Row]) -> str:
    """The rows as CSV, with a header."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _text(value):
    if value is None:
        return ""
    return f"{value:,}" if isinstance(value, int) else str(value)


def _is_number(value):
    text = _text(value).rstrip("%MKG").replace(",", "").replace(".", "", 1)
    return text.isdigit()


def _fitted(widths, width):
    """Widths of the first columns that fit, the last of them perhaps cut."""
    kept: list[int] = []
    for wanted in widths:
        left = width - sum(kept) - len(GAP) * len(kept)
        if left < min(wanted, SHORTEST):
            break
        kept.append(min(wanted, left))
    return kept


def _line(line, widths, right):
    cells = [
        _cut(text, size).rjust(size) if to_the_right else _cut(text, size).ljust(size)
        for text, size, to_the_right in zip(line, widths, right, strict=False)
    ]
    return GAP.join(cells).rstrip()


def _cut(text, size):
    return text if len(text) <= size else text[: size - 1] + "…"
