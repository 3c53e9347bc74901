"""Figure of the confusion matrix of the test set."""

from typing import Any

import torch
from PIL import Image, ImageDraw
from pytorch_lightning import Callback, LightningModule, Trainer
from torch import Tensor
from torchmetrics.functional.classification import multiclass_confusion_matrix

from figure.picture import (
    BLACK,
    TEXT,
    WHITE,
    WarnOnFailure,
    captioned,
    class_name,
    has_picture_logger,
    log_picture,
    shortened,
    text_width,
    write,
)
from process.ranks import gather_from_ranks

WIDTH = 840  # pixels of the matrix, at most
WITH_NUMBERS, WITH_NAMES, WITH_PICTURE = 20, 100, 1000  # largest number of classes for numbers, names, a picture at all
BLUE = (8, 48, 107)


class ConfusionMatrix(Callback):
    """Picture of the counts of (true class, predicted class) over the test set of all ranks, for up to 1000 classes."""

    needs = ("test_logits",)

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.wanted = has_picture_logger(trainer)
        self.counts_KK: Tensor | None = None
        self.drawing = WarnOnFailure("confusion matrix")

    def on_test_batch_end(self, trainer: Trainer, pl_module: LightningModule, logits: Any, batch: Any, *_: Any) -> None:
        if not self.wanted:
            return
        with self.drawing:
            if (classes := logits.shape[1]) <= WITH_PICTURE:
                counts_KK = multiclass_confusion_matrix(logits.argmax(1), batch[1], classes, validate_args=False)
                self.counts_KK = counts_KK if self.counts_KK is None else self.counts_KK + counts_KK

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not self.wanted:
            return
        own = [] if self.counts_KK is None else [self.counts_KK.cpu()]
        every = gather_from_ranks(None if self.drawing.failed else own, trainer.world_size)
        self.counts_KK = None
        if trainer.is_global_zero and None not in every and any(every):
            with self.drawing:
                counts_KK = torch.stack([counts for counts_of_rank in every for counts in counts_of_rank]).sum(0)
                names = [class_name(trainer, label) for label in range(len(counts_KK))]
                log_picture(trainer, "pictures/confusion_matrix", drawn_matrix(counts_KK, names))


def drawn_matrix(counts_KK: Tensor, names: list[str]) -> Image.Image:
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


def with_names(matrix: Image.Image, names: list[str], cell: int) -> Image.Image:
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
