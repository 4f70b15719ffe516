"""The tables that are written by `python -m tests.readme`, and that the tests compare.

README.md has the trained networks, zoo/MODELS.md all networks, and zoo/README.md the records.
`zoo/accuracy.png` is drawn too, and `zoo/results.csv` has what `structnets list --pretrained --csv` prints.
"""

import pathlib
import re

from keras_structnets import tables, zoo
from keras_structnets.training import report
from keras_structnets.zoo.registry import of_skeleton, parameters_of

ROOT = pathlib.Path(__file__).parent.parent
README, RECORDS, MODELS = ROOT / "README.md", ROOT / "zoo" / "README.md", ROOT / "zoo" / "MODELS.md"
RESULTS = ROOT / "zoo" / "results.csv"
MARKS = re.compile("(<!-- table -->\n).*?(<!-- end of table -->)", re.DOTALL)


def zoo_table():
    """The records: sizes, what they were trained on, accuracy and the paper's accuracy."""
    rows = [
        "| name | paper | parameters | FLOPs | weights | epochs | accuracy | paper's accuracy | |",
        "|---|---|---:|---:|---|---:|---:|---:|---|",
    ]
    for info in map(zoo.info, zoo.list_models(pretrained=True)):
        papers = f"{info.printed_accuracy['cifar10']}%"
        for dataset, record in info.records.items():
            epochs, accuracy = str(record.runs[0]["epochs"]), f"{report.mean(record.runs):.1%}"
            cells = *sizes_of(info.name), f"`{dataset}`", epochs, accuracy, papers
            rows.append(row(info, *cells))
    return "\n".join(rows) + "\n"


def models_table():
    """All networks: name, paper, sizes, and what the records reached."""
    rows = [
        "| name | paper | parameters | printed | operations | accuracy | |",
        "|---|---|---:|---:|---:|---:|---|",
    ]
    for info in map(zoo.info, zoo.list_models()):
        count, flops = sizes_of(info.name)
        rows.append(row(info, count, info.printed.get(10, ""), flops, accuracy_of(info)))
    return "\n".join(rows) + "\n"


def row(info, *cells):
    """A row of a table, between the name and the summary."""
    return f"| {' | '.join([f'`{info.name}`', info.paper, *cells, info.summary])} |"


def sizes_of(name):
    """Parameters and FLOPs as texts, from one skeleton of the model."""
    count, flops = of_skeleton(lambda m: (parameters_of(m), zoo.flops(m).total), name)
    return f"{count:,}", f"{flops / 1e6:.1f}M"


def accuracy_of(info):
    """Mean accuracy of each record."""
    reached = [report.mean(record.runs) for record in info.records.values()]
    return ", ".join(f"{accuracy:.1%}" for accuracy in reached)


def with_table(text, table):
    """`text` with `table` between its marks."""
    return MARKS.sub(lambda m: m[1] + table + m[2], text)


if __name__ == "__main__":
    for path, table in (
        (README, zoo_table()),
        (MODELS, models_table()),
        (RECORDS, report.records_table()),
    ):
        path.write_text(with_table(path.read_text(encoding="utf-8"), table), encoding="utf-8")
    RESULTS.write_text(tables.csv_table(zoo.results()), encoding="utf-8")
    report.draw_records(RECORDS.with_name("accuracy.png"))
    for folder in RECORDS.parent.glob("*/results.json"):
        card = report.record_card_of(folder.parent)
        (folder.parent / "card.md").write_text(card, encoding="utf-8")
