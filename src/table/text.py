"""A table of runs as text: plain columns, Markdown, CSV."""

import csv
import io
from typing import Any

from table.query import as_text
from table.rows import Cell, Column, Spread, Table


def cell_text(row: dict[str, Cell], column: Column) -> str:
    """Return a cell as text: metrics with four digits, `mean ± std`; control characters are replaced."""
    cell = row.get(column.name)
    if isinstance(cell, Spread):
        digits = _digits(cell.mean)
        n = f" (n={len(cell.values)})" if len(cell.values) != row.get("n") else ""  # not all runs have this metric
        return f"{cell.mean:{digits}}" + (f" ± {cell.std:{digits}}" if cell.std is not None else "") + n
    if isinstance(cell, float) and column.kind == "metric":
        return f"{cell:{_digits(cell)}}"
    return "" if cell is None else _clean(as_text(cell))


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
    lines = [[column.name for column in table.columns], ["---:" if c.numeric else "---" for c in table.columns]]
    lines += [[cell_text(row, column).replace("|", "\\|") for column in table.columns] for row in table.rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def comma_separated(table: Table) -> str:
    """Return CSV, numbers with all their digits; a mean over runs becomes three columns."""
    spread = {name for row in table.rows for name, cell in row.items() if isinstance(cell, Spread)}
    lines: list[list[Any]] = [[]]
    for column in table.columns:
        lines[0] += [f"{column.name}{end}" for end in ("", "_std", "_n")] if column.name in spread else [column.name]
    for row in table.rows:
        lines.append([])
        for column in table.columns:
            cell = row.get(column.name)
            if isinstance(cell, Spread):
                lines[-1] += [cell.mean, cell.std, len(cell.values)]
            else:
                lines[-1] += [_clean(cell) if isinstance(cell, str) else cell] + 2 * [None] * (column.name in spread)
    file = io.StringIO()
    csv.writer(file, lineterminator="\n").writerows(lines)
    return file.getvalue()


def _digits(value: float) -> str:
    return ".4f" if value == 0 or 1e-3 <= abs(value) < 1e4 else ".3g"


def _clean(text: str) -> str:
    return "".join(letter if letter.isprintable() else " " if letter.isspace() else "\ufffd" for letter in text)
