"""Figure of the precision, recall and F1 score of each label over the test set."""

# K labels

from collections.abc import Sequence

import torch
from PIL import Image
from torch import Tensor

from figure.picture import shortened
from figure.summed_counts import SummedCounts
from figure.table_picture import drawn_table

MOST, WIDTH, TEXT = 100, 240, 15  # labels that are shown; pixels of a name and of its letters


class LabelTable(SummedCounts):
    """Table of precision, recall and F1 of each label over the test set of all ranks; those of lowest F1 first.

    A label is predicted if its probability is above 0.5. Of more than 100 labels, the 100 of lowest F1 are shown.
    """

    needs = ("test_labels",)
    name, description = "labels", "table of the labels"

    def count(self, outputs_BK: Tensor, targets: Tensor) -> Tensor:
        """Return the numbers of correct predictions, predictions and true labels, [3, K]."""
        predicted_BK, true_BK = outputs_BK > 0, targets > 0.5
        return torch.stack([(predicted_BK & true_BK).sum(0), predicted_BK.sum(0), true_BK.sum(0)])

    def draw(self, counts: Tensor, names: Sequence[str]) -> Image.Image:
        return drawn_scores(counts, names)


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
