"""Figure of the confusion matrix of the test set."""

from collections.abc import Sequence

import torch
from PIL import Image, ImageDraw
from torch import Tensor
from torchmetrics.functional.classification import multiclass_confusion_matrix

from figure.picture import BLACK, TEXT, WHITE, captioned, shortened, text_width, write
from figure.summed_counts import SummedCounts

WIDTH = 840  # pixels of the matrix, at most
WITH_NUMBERS, WITH_NAMES, WITH_PICTURE = 20, 100, 1000  # largest number of classes for numbers, names, a picture at all
BLUE = (8, 48, 107)


class ConfusionMatrix(SummedCounts):
    """Picture of the counts of (true class, predicted class) over the test set of all ranks, for up to 1000 classes."""

    needs = ("test_logits",)
    name, description = "confusion_matrix", "confusion matrix"

    def count(self, outputs_BK: Tensor, targets: Tensor) -> Tensor | None:
        if (classes := outputs_BK.shape[1]) > WITH_PICTURE:
            return None
        return multiclass_confusion_matrix(outputs_BK.argmax(1), targets, classes, validate_args=False)

    def draw(self, counts: Tensor, names: Sequence[str]) -> Image.Image:
        return drawn_matrix(counts, names)


def drawn_matrix(counts_KK: Tensor, names: Sequence[str]) -> Image.Image:
    """Draw cells as blue as the square root of their share of the row, with counts and names if there is room."""
    classes = len(names)
    cell = max(1, min(64, WIDTH // classes))
    # the root makes a few confusions in a hundred visible
    strength_KK = (counts_KK / counts_KK.sum(1, keepdim=True).clamp(min=1)).sqrt()
    colours_KK3 = torch.lerp(torch.tensor(WHITE).float(), torch.tensor(BLUE).float(), strength_KK[..., None])
    cells = Image.fromarray(colours_KK3.round().to(torch.uint8).numpy())
    matrix = cells.resize((cell * classes, cell * classes), Image.Resampling.NEAREST)
    draw = ImageDraw.Draw(matrix)
    if classes <= WITH_NUMBERS:
        for row, column in counts_KK.nonzero().tolist():
            count = int(counts_KK[row, column])
            text = str(count) if count < 10_000 else f"{count // 1000}k"
            colour = WHITE if strength_KK[row, column] > 0.5 else BLACK
            centre = (column + 0.5) * cell, (row + 0.5) * cell
            write(draw, centre, text, min(TEXT, cell // 3), colour, "centre")
    draw.rectangle([0, 0, matrix.width - 1, matrix.height - 1], outline=BLACK)
    if classes <= WITH_NAMES:
        matrix = with_names(matrix, names, cell)
    return captioned(matrix, "Row: true class. Column: predicted.", "Colour: root of the share of the row.", width=320)


def with_names(matrix: Image.Image, names: Sequence[str], cell: int) -> Image.Image:
    """Write the class names to the left of the rows and, upwards, above the columns."""
    size = min(TEXT, cell)
    short = [shortened(name, 120, size) for name in names]
    margin = round(max(text_width(name, size) for name in short)) + 8
    left, top = (Image.new("RGB", (margin, matrix.height), WHITE) for _ in range(2))
    for labels, x, align in ((left, margin - 4, "right"), (top, 4, "left")):
        draw = ImageDraw.Draw(labels)
        for number, name in enumerate(short):
            write(draw, (x, (number + 0.5) * cell), name, size, align=align)
    sheet = Image.new("RGB", (margin + matrix.width, margin + matrix.height), WHITE)
    sheet.paste(matrix, (margin, margin))
    sheet.paste(left, (0, margin))
    sheet.paste(top.transpose(Image.Transpose.ROTATE_90), (margin, 0))
    return sheet
