"""Write a table of runs to a file, in the format of its ending."""

from pathlib import Path

from process.files import replacing
from table.rows import Table
from table.text import comma_separated, latex, markdown

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
