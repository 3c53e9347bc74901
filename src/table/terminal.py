"""Print a table of runs: in a terminal as many columns as fit, in a pipe all of them as plain text."""

import sys
from dataclasses import replace
from typing import TYPE_CHECKING

from table.rows import Cell, Column, Table
from table.text import cell_text, plain

if TYPE_CHECKING:  # the import takes 0.1 s, and --help must be instant
    from rich.table import Table as RichTable

ELASTIC = {"folder": 40, "comment": 24, "error": 24}  # columns that may be cut or folded, and their least width
RICH_ROWS = 1000  # rich draws 2,000 rows a second: longer tables are plain text
COLORS = {"finished": "green", "running": "cyan", "interrupted": "yellow"}  # the others are red


def show(table: Table) -> None:
    """Print the table on stdout; on stderr the number of runs, the settings they share, and the omitted columns."""
    from rich.console import Console

    console = Console(highlight=False)
    drawn = console.is_terminal and len(table.rows) <= RICH_ROWS
    left_out: list[str] = []
    if console.is_terminal:
        widths = {c.name: _width(table, c, heading(c) if drawn else c.name) for c in table.columns}
        table, widths, left_out = fit(table, widths, console.width, ELASTIC if drawn else {})
    if drawn and table.rows:
        console.print(_drawn(table, widths))
    elif table.rows:
        sys.stdout.write(plain(table))
    sys.stdout.flush()  # the table comes before the notes
    for note in notes(table, left_out):
        print(note, file=sys.stderr)


def notes(table: Table, left_out: list[str]) -> list[str]:
    """Return the lines that are printed below the table."""
    counts = ", ".join(f"{count} {status}" for status, count in table.statuses.most_common())
    total = table.statuses.total()
    lines = [f"{total} run{'s' * (total != 1)}" + (f": {counts}" if counts else "")]
    if table.shared and table.rows:
        lines.append("in all of them: " + " ".join(f"{name}={value}" for name, value in table.shared.items()))
    lines += table.notes
    if left_out:
        lines.append(f"too narrow for {', '.join(left_out)}: report.py output=runs.csv holds all columns")
    return lines


def fit(
    table: Table, widths: dict[str, int], width: int, elastic: dict[str, int]
) -> tuple[Table, dict[str, int], list[str]]:
    """Fit a table into a terminal by omitting columns, the last ones first.

    Args:
        table: the table with all columns.
        widths: the width that each column needs, by name.
        width: the width of the terminal.
        elastic: the least width of the columns that may be cut or folded.

    Returns the fitted table, the width of each of its columns, and the names of the omitted ones.
    """
    kept = list(table.columns)
    least = {name: min(widest, elastic.get(name, widest)) for name, widest in widths.items()}
    spare = width - 1 - sum(least[column.name] + 3 for column in kept)  # a line and two spaces each
    left_out: list[str] = []
    for column in reversed(table.columns):
        if spare >= 0:
            break
        if not column.essential:
            kept.remove(column)
            left_out.insert(0, column.name)
            spare += least[column.name] + 3
    if spare < 0 and "folder" in elastic and "folder" in least:  # a path folds, a number must not be cut
        least["folder"] = max(least["folder"] + spare, 10)
    fitted = {}
    for column in kept:
        fitted[column.name] = min(widths[column.name], least[column.name] + max(spare, 0))
        spare -= fitted[column.name] - least[column.name]
    return replace(table, columns=kept), fitted, left_out


def heading(column: Column) -> str:
    """Return a column's name in two lines, which are narrower: hparams. / lr, test_ / accuracy."""
    kind = "/" if "/" in column.name else "_"  # test_accuracy/ n=16
    group, separator, name = column.name.rpartition(kind if column.kind == "metric" else ".")
    return f"{group}{separator}\n{name}" if separator else name


def _width(table: Table, column: Column, heading: str) -> int:
    from rich.cells import cell_len

    return max(*map(len, heading.split("\n")), *(cell_len(cell_text(row, column)) for row in table.rows), 0)


def _drawn(table: Table, widths: dict[str, int]) -> "RichTable":
    from rich.table import Table as RichTable
    from rich.text import Text

    drawn = RichTable(header_style="bold")
    for column in table.columns:
        drawn.add_column(
            heading(column),
            justify="right" if column.numeric else "left",
            vertical="bottom",
            no_wrap=column.name != "folder",
            overflow="fold" if column.name == "folder" else "ellipsis",  # a path must stay complete to be copied
            width=widths[column.name],
        )
    for row in table.rows:
        # Text: a comment may contain what rich takes for markup
        drawn.add_row(*(Text(cell_text(row, column), style=_style(row, column)) for column in table.columns))
    return drawn


def _style(row: dict[str, Cell], column: Column) -> str:
    return COLORS.get(str(row.get("status")), "red") if column.name in ("status", "not counted", "error") else ""
