"""Figure of predicted against true values over the test set."""

# N items, K values of an item

from typing import Any

import torch
from PIL import Image, ImageDraw
from pytorch_lightning import Callback, LightningModule, Trainer
from torch import Tensor

from figure.answers import predictions_of
from figure.picture import BLACK, TEXT, WHITE, WarnOnFailure, captioned, grid, has_picture_logger, log_picture, write
from process.ranks import gather_from_ranks

SIDE, FINE, LEFT = 440, 3, 72  # pixels of the plane, drawn FINE times as large and shrunk; pixels for the numbers
MOST_VALUES, MOST_POINTS = 4, 5000  # panels, and points of a panel
DISTINCT, JITTER = 50, 0.3  # whole targets, of at most so many values, are spread by so much to both sides
DOT, GRAY = (8, 48, 107), (150, 150, 150)
OUTLIERS = 0.005  # the share of predictions at either end that may lie outside of the plane, at its border


class Scatter(Callback):
    """Picture of predicted against true values over the test set of all ranks, a panel for each of up to four values.

    Whole targets of few values, such as counts, are spread to both sides, so that equal points are seen.
    """

    needs = ("test_values",)

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.wanted, self.pairs = has_picture_logger(trainer), list[Tensor]()
        self.drawing = WarnOnFailure("scatter plot")

    def on_test_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, *_: Any
    ) -> None:
        if self.wanted:
            with self.drawing:
                values = (batch[1], predictions_of(pl_module, outputs))
                both = [each.reshape(len(batch[2]), -1)[:, :MOST_VALUES].detach().float() for each in values]
                self.pairs.append(torch.stack(both))

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not self.wanted:
            return
        own = torch.cat(self.pairs, dim=1).cpu() if self.pairs else None
        every = gather_from_ranks([None] if self.drawing.failed else [own], trainer.world_size)
        self.pairs = []
        pairs = [pairs_2NK for (pairs_2NK,) in every if pairs_2NK is not None]
        if trainer.is_global_zero and pairs and not self.drawing.failed:
            with self.drawing:
                log_picture(trainer, "pictures/scatter", drawn_panels(*torch.cat(pairs, dim=1)))


def drawn_panels(true_NK: Tensor, predicted_NK: Tensor) -> Image.Image:
    """Draw a panel for each value, two in a row."""
    panels = []
    for number, (true_N, predicted_N) in enumerate(zip(true_NK.unbind(1), predicted_NK.unbind(1), strict=True)):
        error = float((predicted_N - true_N).abs().mean())
        name = f"Value {number}: mean" if true_NK.shape[1] > 1 else "Mean"
        panels.append(captioned(drawn_panel(true_N, predicted_N), f"{name} absolute error {error:.4g}."))
    text = f"Right: true. Up: predicted. {len(true_NK):,} items."
    more = f" {MOST_POINTS:,} of them are drawn." if len(true_NK) > MOST_POINTS else ""
    return captioned(grid(panels, columns=2), text + more)


def drawn_panel(true_N: Tensor, predicted_N: Tensor) -> Image.Image:
    """Draw points between the same limits on both axes, and a line where prediction and truth are equal."""
    kept_N = true_N.isfinite() & predicted_N.isfinite()
    true_N, predicted_N = true_N[kept_N], predicted_N[kept_N]
    number_M = torch.arange(min(len(true_N), MOST_POINTS)) * len(true_N) // max(1, min(len(true_N), MOST_POINTS))
    low, high = limits(true_N, predicted_N)
    right_M, up_M = spread(true_N)[number_M], predicted_N[number_M]

    def pixel(value_M: Tensor) -> list[float]:
        return (((value_M - low) / (high - low)).clamp(0, 1) * SIDE * FINE).tolist()

    plane = Image.new("RGB", (SIDE * FINE, SIDE * FINE), WHITE)
    draw, radius = ImageDraw.Draw(plane), FINE * (3 if len(number_M) <= 500 else 2 if len(number_M) <= 2000 else 1)
    draw.line([0, SIDE * FINE, SIDE * FINE, 0], fill=GRAY, width=FINE)
    for x, y in zip(pixel(right_M), pixel(up_M), strict=True):
        centre_y = SIDE * FINE - y
        draw.ellipse([x - radius, centre_y - radius, x + radius, centre_y + radius], fill=DOT)
    sheet = Image.new("RGB", (LEFT + SIDE + 1, SIDE + TEXT + 12), WHITE)
    sheet.paste(plane.resize((SIDE, SIDE), Image.Resampling.BOX), (LEFT, 0))
    draw = ImageDraw.Draw(sheet)
    draw.rectangle([LEFT, 0, LEFT + SIDE, SIDE], outline=BLACK)
    for share, align in ((0.0, "left"), (0.5, "centre"), (1.0, "right")):
        text = f"{low + share * (high - low):.4g}"
        write(draw, (LEFT + share * SIDE, SIDE + TEXT // 2 + 6), text, TEXT, align=align)
        write(draw, (LEFT - 6, SIDE - share * (SIDE - TEXT) - TEXT / 2), text, TEXT, align="right")
    return sheet


def limits(true_N: Tensor, predicted_N: Tensor) -> tuple[float, float]:
    """Return the range of all targets and, but for a few at either end, of the predictions, and a margin."""
    if not len(true_N):
        return 0.0, 1.0
    outside = int(OUTLIERS * len(predicted_N))
    sorted_N = predicted_N.sort().values
    low = min(float(true_N.min()), float(sorted_N[outside]))
    high = max(float(true_N.max()), float(sorted_N[-1 - outside]))
    margin = 0.04 * (high - low) or 0.5
    return low - margin, high + margin


def spread(true_N: Tensor) -> Tensor:
    """Return whole targets of few values each moved a little, by its place in the test set; other targets unchanged."""
    if not len(true_N) or bool((true_N != true_N.round()).any()) or len(true_N.unique()) > DISTINCT:
        return true_N
    shift_N = torch.arange(len(true_N), dtype=torch.float64) * 0.618034 % 1 * 2 - 1
    return true_N + JITTER * shift_N.float()
