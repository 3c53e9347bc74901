"""Figure of the precision, recall and F1 score of each label over the test set."""

# K labels

from collections.abc import Sequence
from typing import Any

import torch
from PIL import Image
from pytorch_lightning import Callback, LightningModule, Trainer
from torch import Tensor

from figure.picture import WarnOnFailure, class_name, has_picture_logger, log_picture, shortened
from figure.table_picture import drawn_table
from process.ranks import gather_from_ranks

MOST, WIDTH, TEXT = 100, 240, 15  # labels that are shown; pixels of a name and of its letters


class LabelTable(Callback):
    """Table of precision, recall and F1 of each label over the test set of all ranks; those of lowest F1 first.

    A label is predicted if its probability is above 0.5. Of more than 100 labels, the 100 of lowest F1 are shown.
    """

    needs = ("test_labels",)

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.wanted = has_picture_logger(trainer)
        self.counts_3K: Tensor | None = None
        self.drawing = WarnOnFailure("table of the labels")

    def on_test_batch_end(self, trainer: Trainer, pl_module: LightningModule, logits: Any, batch: Any, *_: Any) -> None:
        if self.wanted:
            with self.drawing:
                predicted_BK, true_BK = logits > 0, batch[1] > 0.5
                counts_3K = torch.stack([(predicted_BK & true_BK).sum(0), predicted_BK.sum(0), true_BK.sum(0)])
                self.counts_3K = counts_3K if self.counts_3K is None else self.counts_3K + counts_3K

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not self.wanted:
            return
        own = [] if self.counts_3K is None else [self.counts_3K.cpu()]
        every = gather_from_ranks(None if self.drawing.failed else own, trainer.world_size)
        self.counts_3K = None
        if trainer.is_global_zero and None not in every and any(every):
            with self.drawing:
                counts_3K = torch.stack([counts for counts_of_rank in every for counts in counts_of_rank]).sum(0)
                names = [class_name(trainer, label) for label in range(counts_3K.shape[1])]
                log_picture(trainer, "pictures/labels", drawn_scores(counts_3K, names))


def scores(counts_3K: Tensor) -> Tensor:
    """Return precision, recall and F1 [3, K] of the numbers of correct predictions, predictions and true labels.

    A share of nothing is NaN.
    """
    correct_K, predicted_K, true_K = counts_3K.double().unbind(0)
    return torch.stack([correct_K / predicted_K, correct_K / true_K, 2 * correct_K / (predicted_K + true_K)])


def drawn_scores(counts_3K: Tensor, names: Sequence[str]) -> Image.Image:
    """Draw a row for each label, and the means over the labels that have a score."""
    scores_3K = scores(counts_3K)
    order_K = scores_3K[2].nan_to_num(nan=-1.0).argsort(stable=True)[:MOST].tolist()
    head = ("label", "items", "precision", "recall", "F1")
    rows = [
        (shortened(names[k], WIDTH, TEXT), f"{int(counts_3K[2, k]):,}", *map(_text, scores_3K[:, k].tolist()))
        for k in order_K
    ]
    mean = ("mean", f"{counts_3K[2].double().mean():,.1f}", *map(_text, scores_3K.nanmean(1).tolist()))
    shown = f"The {len(order_K)} of {len(names)} labels" if len(order_K) < len(names) else "Labels"
    return drawn_table(
        [head, *rows, mean],
        (False, True, True, True, True),
        f"{shown} of lowest F1 score first.",
        "Mean: over the labels that have a score.",
    )


def _text(score: float) -> str:
    return f"{score:.3f}" if score == score else "-"
