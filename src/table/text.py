"""A table of runs as text: plain columns, Markdown, LaTeX, CSV; and written to a file, as text or drawn."""

import csv
import io
import itertools
import re
from pathlib import Path
from typing import Any

from process.files import replacing
from process.text import escape_markdown, one_line
from table.query import as_text
from table.rows import AT_SIZE, Cell, Column, Interval, Spread, Table

ESCAPED = {letter: f"\\{letter}" for letter in "&%$#_{}"}  # what LaTeX reads as commands
ESCAPED |= {"[": "{[}", "]": "{]}"}  # at the begin of a row they would be an argument of the line break before
ESCAPED |= {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
ESCAPED |= {"<": "$<$", ">": "$>$", "±": r"$\pm$"}


def cell_text(row: dict[str, Cell], column: Column) -> str:
    """Return a cell as text: metrics with four digits, `mean ± std`; control characters are replaced."""
    cell = row.get(column.name)
    if isinstance(cell, Interval):
        digits = _digits(max(abs(cell.low), abs(cell.high)), least=5e-5)
        return f"{cell.low:{digits}} to {cell.high:{digits}}"
    if isinstance(cell, float) and column.kind == "difference":
        return f"{cell:+{_digits(cell, least=5e-5)}}"
    if isinstance(cell, Spread):
        digits = _digits(cell.mean)
        n = f" (n={len(cell.values)})" if len(cell.values) != row.get("n") else ""  # not all runs have this metric
        return f"{cell.mean:{digits}}" + (f" ± {cell.std:{digits}}" if cell.std is not None else "") + n
    if isinstance(cell, float) and column.kind in ("metric", "p"):
        return f"{cell:{_digits(cell)}}"
    return "" if cell is None else one_line(as_text(cell))


def plain(table: Table) -> str:
    """Return aligned columns without lines, for `grep` and `less`."""
    from rich.cells import cell_len  # a Japanese character takes two cells

    aligned = []
    for column in table.columns:
        texts = [column.name, *(cell_text(row, column) for row in table.rows)]
        widths = [cell_len(text) for text in texts]
        widest = max(widths)
        gaps = [" " * (widest - width) for width in widths]
        aligned.append([gap + text if column.numeric else text + gap for text, gap in zip(texts, gaps, strict=True)])
    return "".join("  ".join(line).rstrip() + "\n" for line in zip(*aligned, strict=True))


def markdown(table: Table) -> str:
    lines = [[in_markdown(column.name) for column in table.columns]]
    lines += [["---:" if column.numeric else "---" for column in table.columns]]
    lines += [[in_markdown(cell_text(row, column)) for column in table.columns] for row in table.rows]
    notes = "".join(f"\n{in_markdown(note)}\n" for note in table.notes)
    return "".join(f"| {' | '.join(line)} |\n" for line in lines) + notes


def in_markdown(text: str) -> str:
    """Return text so that Markdown, and HTML out of it, show it unchanged, in a table and outside of one."""
    return escape_markdown(one_line(text), in_block=False)


def latex(table: Table) -> str:
    """Return a tabular of the package booktabs; the best mean of each metric, as printed, is bold."""
    best = {column.name: _best(table, column) for column in table.columns if column.kind == "metric"}
    lines = [r"% \usepackage{booktabs}"]
    lines += [f"% {note}" for note in (*table.notes, *([_shared(table)] if table.shared else []))]
    lines += [rf"\begin{{tabular}}{{{''.join('r' if c.numeric else 'l' for c in table.columns)}}}", r"\toprule"]
    lines += [*_latex_names(table), r"\midrule"]
    for row in table.rows:
        cells = []
        for column in table.columns:
            text = escaped(cell_text(row, column), column)
            is_best = column.name in best and best[column.name] == _printed_mean(row, column)
            cells.append(rf"\textbf{{{text}}}" if text and is_best else text)
        lines.append(" & ".join(cells) + r" \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}"]) + "\n"


def _latex_names(table: Table) -> list[str]:
    """Return the names of the columns; above several numbers of patches a line that says of which metric they are."""
    above, rules, names = list[str](), "", list[str]()
    for metric, group in itertools.groupby(table.columns, lambda column: column.name.rpartition("/n=")[0]):
        columns = list(group)
        if metric and len(columns) > 1:
            title = f"{_latex_name(metric, 'metric')} by the number of patches"
            above.append(rf"\multicolumn{{{len(columns)}}}{{c}}{{{title}}}")
            rules += rf"\cmidrule(lr){{{len(names) + 1}-{len(names) + len(columns)}}}"
            names += [column.name.removeprefix(f"{metric}/n=") for column in columns]
        else:
            above += [""] * len(columns)
            names += [_latex_name(column.name, column.kind) for column in columns]
    lines = [" & ".join(names) + r" \\"]
    return [" & ".join(above) + r" \\", rules, *lines] if rules else lines


def escaped(text: str, column: Column) -> str:
    """Return a cell's text for LaTeX; the minus of a number is a minus there, not a hyphen."""
    if column.kind not in ("fact", "setting"):
        text = re.sub(r"(?<!\S)-(?=\d)", "\u2212", text)
    return "".join(ESCAPED.get(letter, letter) for letter in text).replace("\u2212", "$-$")


def _latex_name(name: str, kind: str) -> str:
    if at := AT_SIZE.fullmatch(name):
        return f"{_latex_name(at['metric'], kind)}, $n={at['n']}$"
    name = name.removeprefix("hparams.").replace("class=", "")
    return escaped(name.replace("_", " ") if kind != "setting" else name, Column(name, kind))


def _best(table: Table, column: Column) -> str | None:
    values = [
        (cell.mean if isinstance(cell, Spread) else cell, row)
        for row in table.rows
        if (cell := row.get(column.name)) is not None
    ]
    numbers = [(value, row) for value, row in values if isinstance(value, int | float) and value == value]
    if len(numbers) < 2:
        return None
    _, row = (min if column.name in table.lower_is_better else max)(numbers, key=lambda pair: pair[0])
    return _printed_mean(row, column)


def _printed_mean(row: dict[str, Cell], column: Column) -> str:
    return cell_text(row, column).partition(" ")[0]


def _shared(table: Table) -> str:
    return "in all of them: " + " ".join(f"{name}={one_line(value)}" for name, value in table.shared.items())


def comma_separated(table: Table) -> str:
    """Return CSV, numbers with all their digits; a mean over runs becomes three columns, an interval two."""
    lines: list[list[Any]] = [[], *([] for _ in table.rows)]
    for column in table.columns:
        cells = [row.get(column.name) for row in table.rows]
        kinds = set(map(type, cells))
        ends = ("", "_std", "_n") if Spread in kinds else ("_low", "_high") if Interval in kinds else ("",)
        lines[0] += [column.name + end for end in ends]
        for line, cell in zip(lines[1:], cells, strict=True):
            parts = _parts(cell)
            line += [*parts, *[None] * (len(ends) - len(parts))]
    file = io.StringIO()
    csv.writer(file, lineterminator="\n").writerows(lines)
    return file.getvalue()


def _parts(cell: Cell) -> list[Any]:
    if isinstance(cell, Spread):
        return [cell.mean, cell.std, len(cell.values)]
    if isinstance(cell, Interval):
        return [cell.low, cell.high]
    return [one_line(cell) if isinstance(cell, str) else cell]


def _digits(value: float, least: float = 1e-3) -> str:
    """Return the format of a number: four digits after the point if it is from `least` to 10,000, or 0."""
    return ".4f" if value == 0 or least <= abs(value) < 1e4 else ".3g"


FORMATS = {".csv": comma_separated, ".md": markdown, ".tex": latex}


def write(table: Table, path: Path, metric: str | None = None) -> list[str]:
    """Write the table, or draw it; return the lines that a reader of the figure needs.

    Raises a UserError if the file cannot be written, or if there is nothing to draw.

    Args:
        metric: draw the curve of this metric against the number of patches instead of the table's sorted metric.
    """
    if path.suffix not in FORMATS:
        from table.plot import draw

        return draw(table, path, metric)
    with replacing(path) as file:
        file.write(FORMATS[path.suffix](table))
    return []
