"""The table of a network's layers as Markdown, CSV, on a terminal and as a picture."""

import csv
from collections.abc import Sequence
from io import StringIO

from PIL import Image, ImageDraw
from rich.table import Table

from figure.layers import Layer
from figure.picture import BLACK, TEXT, WHITE, captioned, font, framed

HEAD = ("layer", "type", "output", "parameters", "multiply-adds")
TO_THE_RIGHT = (False, False, True, True, True)
NOTE = "Multiply-adds: of convolutions, matrix products and attention."
GRAY, STRIPE = (110, 110, 110), (243, 245, 248)


def cells(layers: Sequence[Layer]) -> list[tuple[str, ...]]:
    """A row for each layer, and the sum."""
    rows = [
        (layer.name, layer.kind, layer.shape, _count(layer.parameters), _count(layer.multiply_adds)) for layer in layers
    ]
    sums = sum(layer.parameters for layer in layers), sum(layer.multiply_adds for layer in layers)
    return [*rows, ("in all", "", "", *(f"{total:,}" for total in sums))]


def _count(number: int) -> str:
    return f"{number:,}" if number else ""


def as_markdown(title: str, layers: Sequence[Layer]) -> str:
    """Aligned, so that it can be read as it is."""
    rows = [HEAD, *cells(layers)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]

    def line(row: tuple[str, ...]) -> str:
        aligned = zip(row, widths, TO_THE_RIGHT, strict=True)
        return (
            "| "
            + " | ".join(text.rjust(width) if right else text.ljust(width) for text, width, right in aligned)
            + " |"
        )

    rule = ["-" * (width + 1) + (":" if right else "-") for width, right in zip(widths, TO_THE_RIGHT, strict=True)]
    return "\n".join([title, "", line(HEAD), f"|{'|'.join(rule)}|", *map(line, rows[1:]), "", NOTE, ""])


def as_csv(layers: Sequence[Layer]) -> str:
    """Numbers as they are, without the sum."""
    text = StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([name.replace("-", "_") for name in HEAD])
    writer.writerows([layer.name, layer.kind, layer.shape, layer.parameters, layer.multiply_adds] for layer in layers)
    return text.getvalue()


def as_rich(title: str, layers: Sequence[Layer]) -> Table:
    table = Table(title=title, caption=NOTE, title_justify="left", title_style="bold", caption_justify="left")
    for name, right in zip(HEAD, TO_THE_RIGHT, strict=True):
        table.add_column(name, justify="right" if right else "left", overflow="fold")
    *rows, total = cells(layers)
    for row in rows:
        table.add_row(*row)
    table.add_section()
    table.add_row(*total, style="bold")
    return table


def as_picture(title: str, layers: Sequence[Layer]) -> Image.Image:
    """Rows on stripes, numbers at the right of their columns."""
    rows = [HEAD, *cells(layers)]
    gap, height = 24, TEXT + 7
    widths = [round(max(font(TEXT).getlength(text) for text in column)) + gap for column in zip(*rows, strict=True)]
    sheet = Image.new("RGB", (sum(widths), height * len(rows)), WHITE)
    draw = ImageDraw.Draw(sheet)
    for number, row in enumerate(rows):
        top, left = number * height, 0
        if number % 2 == 0 and number not in (0, len(rows) - 1):
            draw.rectangle([0, top, sheet.width, top + height - 1], fill=STRIPE)
        for text, width, right in zip(row, widths, TO_THE_RIGHT, strict=True):
            x, anchor = (left + width - gap // 2, "rm") if right else (left + gap // 2, "lm")
            draw.text((x, top + height // 2), text, BLACK if number else GRAY, font(TEXT), anchor=anchor)
            left += width
    for line in (height, height * (len(rows) - 1)):
        draw.line([0, line, sheet.width, line], fill=BLACK)
    wide = round(max(font(TEXT).getlength(text) for text in (title, NOTE)))
    return framed(captioned(sheet, title, NOTE, width=wide))
