"""Figures of a table of runs: a line per row, or a curve per row against the number of patches."""

import logging
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import fonts
from process.errors import UserError
from process.files import replacing
from table.rows import AT_SIZE, Spread, Table, row_labels

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ROWS, CURVES = 100, 30  # more cannot be read
LONGEST = 48  # characters of a label
DASHES = ("-", "--", ":")  # after ten colours


def draw(table: Table, path: Path, metric: str | None = None) -> list[str]:
    """Draw the rows of a table, with short labels that say in what they differ.

    Return the names of labels in letters that no font of this system has: such a label is a number in the figure.
    Raises a UserError if there is nothing to draw, or more than can be read.

    Args:
        metric: draw it against the number of patches; else draw the metric by which the table is sorted.
    """
    drawn = [c.name for c in table.columns if c.kind == "metric"] if metric else [table.ranking or ""]
    if not any(drawn):
        raise UserError(f"output={path}: none of these runs has a metric to draw")
    there = [bool(_points(row, drawn)) for row in table.rows]
    most = CURVES if metric else ROWS
    if there.count(True) > most:
        what = "curves" if metric else "rows"
        raise UserError(
            f"output={path}: {there.count(True)} {what} cannot be read; choose some by filters, or top={most}"
        )
    try:
        import matplotlib
        from matplotlib.figure import Figure
    except ImportError as error:
        raise UserError(f"output={path}: a figure needs matplotlib: pip install matplotlib") from error

    title, texts = row_labels(table)
    labels, families, numbered = _drawable([*(_cut(text) for text in texts), title, metric or drawn[0]])
    looks: dict[Any, Any] = {"font.family": families, "text.parse_math": False}
    looks["svg.hashsalt"] = "PatchSets"
    looks["pdf.fonttype"] = 42  # TrueType: publishers refuse Type 3, matplotlib's default
    with matplotlib.rc_context(looks):
        figure = Figure(figsize=(7, 4.2) if metric else (8, 1.2 + 0.3 * there.count(True)))
        axis = figure.subplots()
        rows = [(row, label) for row, label, is_there in zip(table.rows, labels, there, strict=False) if is_there]
        (_draw_curves if metric else _draw_lines)(axis, rows, drawn, labels[-2], labels[-1], table)
        with replacing(path, "wb") as file:
            figure.savefig(file, format=path.suffix[1:], dpi=110, bbox_inches="tight")
    return numbered


def _draw_lines(axis: "Axes", rows: list[Any], drawn: list[str], title: str, metric: str, table: Table) -> None:
    """Draw each run as a dot, the mean of a group with its standard deviation."""
    for height, (row, _) in enumerate(rows):
        cell = row[drawn[0]]
        if isinstance(cell, Spread):
            axis.plot(cell.values, [height] * len(cell.values), "o", color="C0", alpha=0.35, markeredgewidth=0)
            axis.errorbar(cell.mean, height, xerr=cell.std, fmt="o", color="C0", capsize=3)
        else:
            axis.plot(cell, height, "o", color="C0")
    axis.set_yticks(range(len(rows)), [label for _, label in rows])
    axis.set_ylim(len(rows) - 0.5, -0.5)  # the first row on top
    axis.set_xlabel(f"{metric} ({'less' if drawn[0] in table.lower_is_better else 'more'} is better)")
    axis.set_ylabel(title)
    axis.grid(alpha=0.3)


def _draw_curves(axis: "Axes", rows: list[Any], drawn: list[str], title: str, metric: str, table: Table) -> None:
    """Draw the mean of each row against the number of patches, with its standard deviation as bars."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, NullLocator

    ticks: set[int] = set()
    lowest = math.inf
    for place, (row, label) in enumerate(rows):
        sizes, means, stds = zip(*_points(row, drawn), strict=True)
        style = DASHES[place // 10 % len(DASHES)]
        axis.errorbar(sizes, means, stds, capsize=2, marker="o", markersize=3, linestyle=style, label=label)
        ticks |= set(sizes)
        lowest = min(lowest, *means)
    axis.set_xscale("log", base=2)
    axis.set_xticks(_apart(sorted(ticks)), map(str, _apart(sorted(ticks))))
    axis.xaxis.set_minor_locator(NullLocator())
    axis.set_xlabel("number of patches")
    axis.set_ylabel(metric.replace("_", " "))
    if drawn[0] in table.lower_is_better and lowest > 0:
        axis.set_yscale("log")
        axis.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axis.yaxis.set_minor_formatter(NullFormatter())
    axis.grid(alpha=0.3)
    if len(rows) > 1:
        axis.legend(
            title=title or None, fontsize="small", title_fontsize="small", loc="upper left", bbox_to_anchor=(1, 1)
        )


def _points(row: dict[str, Any], drawn: list[str]) -> list[tuple[int, float, float]]:
    """Return the size, the mean and the standard deviation (0 for a single run) of each metric that the row has."""
    points = []
    for name in drawn:
        cell, size = row.get(name), AT_SIZE.fullmatch(name)
        if isinstance(cell, Spread | float):
            mean, std = (cell.mean, cell.std or 0.0) if isinstance(cell, Spread) else (cell, 0.0)
            points.append((int(size["n"]) if size else 0, mean, std))
    return points


def _apart(sizes: list[int]) -> list[int]:
    """Return the sizes whose labels do not touch on a logarithmic axis, the largest included."""
    kept: list[int] = []
    for size in reversed(sizes):
        if not kept or math.log2(kept[-1] / size) > math.log2(sizes[-1] / sizes[0]) / 16:
            kept.append(size)
    return kept[::-1]


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[: LONGEST // 2 - 2]} ... {text[3 - LONGEST // 2 :]}"


def _drawable(texts: list[str]) -> tuple[list[str], list[str], list[str]]:
    """Return the texts as a figure can show them, the names of the fonts it needs, and a line per numbered text."""
    from matplotlib import font_manager, get_data_path
    from PIL import ImageFont

    logging.getLogger(font_manager.__name__).setLevel(logging.ERROR)  # it warns of fonts without a normal weight
    base = ImageFont.truetype(Path(get_data_path(), "fonts", "ttf", "DejaVuSans.ttf"), fonts.SIZE)
    shown, families, numbered = list[str](), ["DejaVu Sans"], list[str]()
    for text in map(fonts.composed, texts):
        letters = fonts.lacking(base, text)
        path = fonts.find(letters) if letters else None
        if path is not None:
            font_manager.fontManager.addfont(path)
            families.append(font_manager.get_font(path).family_name)
        if letters and path is None:
            numbered.append(f"#{len(numbered) + 1} in the figure: {text} (no font of this system has its letters)")
            text = f"#{len(numbered)}"
        shown.append(text)
    return shown, list(dict.fromkeys(families)), numbered
