"""What pages take from other files: MkDocs runs this when it builds the site.

A comment in a page, `<!-- kind: argument -->`, gives way to what `FILLINGS[kind](argument)` returns.
Cards, tutorials and API pages are made whole. Nothing here imports Keras: the zoo is read from zoo/MODELS.md,
whose table the tests keep current.
"""

import ast
import html
import json
import pathlib
import re
import shutil
import statistics

import mkdocs_gen_files as site
import nbconvert
import nbformat

ROOT = pathlib.Path(__file__).parent.parent
PACKAGE, RECORDS = ROOT / "keras_structnets", ROOT / "zoo"
RESULTS = ROOT / "benchmarks" / "results"
STEMS = {
    "gconv": "GConvNets",
    "lowcost": "Low-cost parameterizations",
    "simnets": "Deep SimNets",
}
PAPERS = {
    "similarity": "simnets",
    "mex": "simnets",
    "diffusion": "lowcost",
}  # files whose name is not that of a paper
API = (
    "ops",
    "constraints",
    "inference",
    "initializers",
    "layers",
    "losses",
    "blocks",
    "zoo",
    "conversion",
    "pretraining",
    "analysis",
    "training",
)


def main():
    """Write every page that is not there as it will be shown."""
    for path in sorted((ROOT / "docs").rglob("*.md")):
        fill(path.relative_to(ROOT / "docs").as_posix())
    copy(RECORDS / "accuracy.png", "accuracy.png")
    copy(RESULTS / "figure2b_digits.png", "papers/figure2b_digits.png")
    for path in sorted(RECORDS.glob("*/card.md")):
        write_card(path)
    for path in sorted((ROOT / "tutorials").glob("*.ipynb")):
        write_tutorial(path)
    for name in API:
        write_api(name)


def fill(page):
    """Replace the comments of one page."""
    with site.open(page, "r") as file:
        text = file.read()
    filled = re.sub(r"<!-- (\w+): (.*?) -->", lambda m: FILLINGS[m[1]](m[2]), text)
    if filled != text:
        write(page, filled)


def write(page, text):
    """Write one page of the site."""
    with site.open(page, "w") as file:
        file.write(text)


def copy(source, page):
    """Copy a file into the site."""
    with open(source, "rb") as file, site.open(page, "wb") as target:
        shutil.copyfileobj(file, target)


def add_to_nav(section, title, page):
    """Add a page to the end of a section of mkdocs.yml's `nav`."""
    nav = site.FilesEditor.current().config.nav
    next(part[section] for part in nav if section in part).append({title: page})


# From the READMEs


def section_of_readme(title):
    """The text under a heading of README.md."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    return re.search(rf"^## {re.escape(title)}\n(.*?)(?=^## |\Z)", text, re.M | re.S)[1].strip()


def table_of(path):
    """The lines of the table between the marks of a README."""
    text = path.read_text(encoding="utf-8")
    table = re.search(r"<!-- table -->\n(.*?)<!-- end of table -->", text, re.S)[1]
    return table.replace("| accuracy | |\n", "| accuracy | summary |\n", 1).splitlines()


def cells(line):
    """The cells of a line of a table."""
    return [cell.strip() for cell in line.strip().strip("|").split("|")]


def zoo_table(paper):
    """The zoo with links to cards and papers, or with the name of a paper its rows alone."""
    head, line, *rows = [cells(text) for text in table_of(RECORDS / "MODELS.md")]
    rows = [
        [card_link(row[0]), paper_link(row[1]), *row[2:]]
        for row in rows
        if paper in ("all", row[1])
    ]
    lines = [head, line, *rows]
    if paper != "all":
        lines = [[name, *rest] for name, _, *rest in lines]
    return "\n".join(f"| {' | '.join(row)} |" for row in lines)


def card_link(name):
    """The name of a network, which leads to the card of its record if it has one."""
    cards = sorted(RECORDS.glob(f"{name.strip('`')}_cifar*/card.md"))
    return f"[{name}](../zoo/{cards[0].parent.name}/card.md)" if cards else name


def paper_link(paper):
    """The name of a paper, which leads to our page on it or to arXiv."""
    for stem, title in STEMS.items():
        if paper == title:
            return f"[{paper}](../papers/{stem}.md)"
    return re.sub(r"(.*), arXiv:(.*)", r"[\1](https://arxiv.org/abs/\2)", paper)


def records_table(_):
    """The records, as zoo/README.md has them."""
    return "\n".join(table_of(RECORDS / "README.md"))


def scatter(_):
    """An empty place for the scatter plot of docs/javascripts/zoo.js, which holds the points."""
    papers = {cells(row)[0].strip("`"): cells(row)[1] for row in table_of(RECORDS / "MODELS.md")}
    columns, _, *rows = map(cells, table_of(RECORDS / "README.md"))
    printed = {
        re.search("`(.*)`", row[0])[1]: row[columns.index("paper")].strip("%") for row in rows
    }
    points = []
    for path in sorted(RECORDS.glob("*/results.json")):
        results = json.loads(path.read_text(encoding="utf-8"))
        points.append(
            {
                "record": path.parent.name,
                "model": results["model"],
                "paper": papers[results["model"]],
                "parameters": results["parameters"],
                "accuracy": 100 * statistics.fmean(run["accuracy"] for run in results["runs"]),
                "epochs": results["runs"][0]["epochs"],
                "printed": float(printed.get(path.parent.name) or 0) or None,
            }
        )
    return f'<div id="scatter" data-points="{html.escape(json.dumps(points))}"></div>'


def write_card(path):
    """The card of a record, beside its curves, with its exported files."""
    name, text = path.parent.name, path.read_text(encoding="utf-8")
    heads, rule, *rows = result_table("exports").splitlines()
    rows = [row for row in rows if row.startswith(f"| {name} |")]
    if rows:
        text += "\n".join(["", "## Exported files", "", heads, rule, *rows, ""])
    write(f"zoo/{name}/card.md", text)
    for picture in ("curves.png", "confusion.png"):
        if path.with_name(picture).is_file():
            copy(path.with_name(picture), f"zoo/{name}/{picture}")
    add_to_nav("Zoo", name, f"zoo/{name}/card.md")


# From the source


def docstring(path):
    """The docstring of a module as Markdown."""
    text = ast.get_docstring(ast.parse((ROOT / path).read_text(encoding="utf-8")))
    lines = text.replace("<backend>", "BACKEND").splitlines()
    return "\n".join(
        line if line.startswith(" " * 4) else html.escape(line, False) for line in lines
    )


def source_of(name):
    """The file of a part of the library: a module or the `__init__.py` of a package."""
    module = PACKAGE / f"{name}.py"
    return module if module.exists() else PACKAGE / name / "__init__.py"


def write_api(name):
    """What a part of the library offers, by paper where its files are; 2-D stands for 1-D and 3-D."""
    source = source_of(name)
    tree = ast.parse(source.read_text(encoding="utf-8"))
    imports = [node for node in tree.body if isinstance(node, ast.ImportFrom)]
    file_of = {a.name: node.module.rpartition(".")[2] for node in imports for a in node.names}
    assigned = (node for node in tree.body if isinstance(node, ast.Assign))
    public = next(ast.literal_eval(n.value) for n in assigned if n.targets[0].id == "__all__")
    paper_of = {member: PAPERS.get(file_of.get(member), file_of.get(member)) for member in public}
    by_paper = set(paper_of.values()) >= set(STEMS)
    parts = [f"# `{name}`", docstring(source.relative_to(ROOT))]
    headings = dict(STEMS) if by_paper else {}
    if by_paper and set(paper_of.values()) > set(STEMS):
        headings[None] = "Other"
    for stem in headings or [None]:
        if by_paper:
            parts.append(f"## {headings[stem]}")
            if (PACKAGE / name / f"{stem}.py").exists():
                parts.append(docstring(f"keras_structnets/{name}/{stem}.py"))
        for member in public:
            here = paper_of[member] if by_paper and paper_of[member] in STEMS else None
            if stem == here and not member.endswith(("1D", "3D")):
                parts += _of_member(name, member, file_of.get(member))
    write(f"api/{name}.md", "\n\n".join(parts) + "\n")


def _of_member(name, member, file):
    module = f"{member}." * (member == file)  # of the same name
    parts = [f"::: keras_structnets.{name}.{module}{member}"]
    pictures = json.loads((ROOT / "docs/pictures/pictures.json").read_text("utf-8"))["layers"]
    if name == "layers" and member in pictures:
        parts.append(f"![{member}](../pictures/{pictures[member]})")
    if member.endswith("2D"):
        others = " and ".join(f"`{member[:-2]}{rank}D`" for rank in (1, 3))
        parts.append(f"{others} are the same in one and in three dimensions.")
    return parts


# Tutorials: notebooks with their outputs, which `make notebooks` writes


def title_of(notebook):
    """The first heading of a notebook."""
    return notebook.cells[0].source.partition("\n")[0].removeprefix("# ")


def write_tutorial(path):
    """One tutorial as a page: text, code and outputs."""
    notebook = nbformat.read(path, 4)
    source = notebook.metadata.source
    notebook.cells[0].source += (
        f"\n\nDownload: [notebook]({path.name}), [Python file]({path.stem}.py). The outputs are those of "
        f"Keras {source.keras} with {source.backend} on two CPU cores. It took {source.seconds} seconds."
    )
    exporter = nbconvert.MarkdownExporter()
    text, resources = exporter.from_notebook_node(
        notebook, {"output_files_dir": path.stem, "unique_key": path.stem}
    )
    write(f"tutorials/{path.stem}.md", text.replace("../docs/", "../"))
    for name, data in resources["outputs"].items():
        with site.open(f"tutorials/{name}", "wb") as file:
            file.write(data)
    for suffix in (".ipynb", ".py"):
        copy(path.with_suffix(suffix), f"tutorials/{path.stem}{suffix}")
    add_to_nav("Tutorials", title_of(notebook), f"tutorials/{path.stem}.md")


def tutorials_list(_):
    """Links to all tutorials."""
    lines = []
    for path in sorted((ROOT / "tutorials").glob("*.ipynb")):
        notebook = nbformat.read(path, 4)
        seconds = notebook.metadata.source.seconds
        lines.append(f"- [{title_of(notebook)}]({path.stem}.md), {seconds} seconds")
    return "\n".join(lines)


# Benchmarks


def result_table(name):
    """A table of benchmarks/results."""
    return (RESULTS / f"{name}.md").read_text(encoding="utf-8")


FILLINGS = {
    "readme": section_of_readme,
    "zoo": zoo_table,
    "records": records_table,
    "scatter": scatter,
    "docstring": docstring,
    "tutorials": tutorials_list,
    "result": result_table,
}

main()
