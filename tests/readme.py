"""The table of the zoo in README.md: `python -m tests.readme` writes it, the test compares it."""

import pathlib
import re

from keras_structnets import training, zoo

README = pathlib.Path(__file__).parent.parent / "README.md"
MARKS = re.compile("(<!-- table -->\n).*?(<!-- end of table -->)", re.DOTALL)


def with_table(text):
    """The text of README.md with the table of the zoo as it is now."""
    rows = ["| name | paper | parameters | printed | |", "|---|---|---:|---:|---|"]
    for name in zoo.list_models():
        info = zoo.info(name)
        count, printed = training.parameters(name), info.printed.get(10, "")
        rows.append(f"| `{name}` | {info.paper} | {count:,} | {printed} | {info.summary} |")
    return MARKS.sub(lambda m: m[1] + "\n".join(rows) + "\n" + m[2], text)


if __name__ == "__main__":
    README.write_text(with_table(README.read_text(encoding="utf-8")), encoding="utf-8")
