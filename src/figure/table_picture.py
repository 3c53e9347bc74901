"""Picture of a table."""

from collections.abc import Sequence

from PIL import Image, ImageDraw

from figure.picture import BLACK, TEXT, WHITE, captioned, text_width, write

GRAY, STRIPE = (110, 110, 110), (243, 245, 248)


def drawn_table(rows: Sequence[Sequence[str]], right_aligned: Sequence[bool], *lines: str) -> Image.Image:
    """Draw a heading, striped rows and a last row for all of them, below lines of text.

    Args:
        right_aligned: of each column, whether its texts are aligned to the right, as numbers are.
    """
    gap, height = 24, TEXT + 7
    widths = [round(max(text_width(text, TEXT) for text in column)) + gap for column in zip(*rows, strict=True)]
    sheet = Image.new("RGB", (sum(widths), height * len(rows)), WHITE)
    draw = ImageDraw.Draw(sheet)
    for number, row in enumerate(rows):
        top, left = number * height, 0
        if number % 2 == 0 and number not in (0, len(rows) - 1):
            draw.rectangle([0, top, sheet.width, top + height - 1], fill=STRIPE)
        for text, width, right in zip(row, widths, right_aligned, strict=True):
            x, align = (left + width - gap // 2, "right") if right else (left + gap // 2, "left")
            write(draw, (x, top + height // 2), text, TEXT, BLACK if number else GRAY, align)
            left += width
    for line in (height, height * (len(rows) - 1)):
        draw.line([0, line, sheet.width, line], fill=BLACK)
    return captioned(sheet, *lines, width=round(max(text_width(text, TEXT) for text in lines)))
