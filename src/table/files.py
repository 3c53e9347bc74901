"""Write a table of runs to a file, in the format of its ending."""

from pathlib import Path

from process.errors import UserError
from process.files import replacing
from table.rows import Spread, Table
from table.text import cell_text, comma_separated, markdown

FIGURE_ROWS = 100  # more cannot be read


def write(table: Table, path: Path) -> None:
    """Write the table. Raises a UserError if the file cannot be written, or if there is nothing to draw."""
    if path.suffix not in (".csv", ".md"):
        draw(table, path)
        return
    with replacing(path) as file:
        file.write(comma_separated(table) if path.suffix == ".csv" else markdown(table))


def draw(table: Table, path: Path) -> None:
    """Draw one line per row: each run as a dot, the mean of a group with its standard deviation."""
    metric = table.ranking
    if metric is None:
        raise UserError(f"output={path}: none of these runs has a metric to draw")
    rows = [row for row in table.rows if isinstance(row.get(metric), float | Spread)]
    if len(rows) > FIGURE_ROWS:
        raise UserError(f"output={path}: {len(rows)} rows cannot be read; choose some by filters, or top={FIGURE_ROWS}")
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise UserError(f"output={path}: a figure needs matplotlib: pip install matplotlib") from error

    settings = [column for column in table.columns if column.kind == "setting"]
    figure = Figure(figsize=(8, 1.2 + 0.3 * len(rows)))
    axis = figure.subplots()
    labels = []
    for height, row in enumerate(rows):
        cell = row[metric]
        if isinstance(cell, Spread):
            axis.plot(cell.values, [height] * len(cell.values), "o", color="C0", alpha=0.35, markeredgewidth=0)
            axis.errorbar(cell.mean, height, xerr=cell.std, fmt="o", color="C0", capsize=3)
        elif isinstance(cell, float):
            axis.plot(cell, height, "o", color="C0")
        label = " ".join(f"{c.name}={text}" for c in settings if (text := cell_text(row, c)))
        labels.append(label or str(row.get("folder") or "all runs"))
    axis.set_yticks(range(len(rows)), labels, parse_math=False)  # $ starts no formula
    axis.invert_yaxis()  # the first row on top
    axis.set_xlabel(f"{metric} ({'less' if table.lower_is_better else 'more'} is better)")
    axis.grid(alpha=0.3)
    with replacing(path, "wb") as file:
        figure.savefig(file, format=path.suffix[1:], dpi=110, bbox_inches="tight")
