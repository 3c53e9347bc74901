"""predictions.csv: a row for each image, written as soon as it is classified."""

import csv
import itertools
from collections import Counter
from collections.abc import Sequence
from typing import IO, Any

from pytorch_lightning import Callback, LightningModule, Trainer

FIRST = 8  # predictions that a terminal shows
CLASSES = 10  # the most frequent ones, whose number of images it shows


class Table(Callback):
    """Callback that writes the columns file, class, probability, spread (with several draws), p(NAME) per class.

    The spread is the standard deviation of the predicted class's probability over the draws. The file begins with a
    byte-order mark if a name is not ASCII: Excel misreads it otherwise. `counts` is the number of images of each
    predicted class, `unreadable` the files that were left out, `first` the lines that a terminal shows.
    """

    def __init__(self, file: IO[str], names: Sequence[str], class_names: Sequence[str], spread: bool) -> None:
        self.names, self.class_names, self.spread = names, class_names, spread
        self.counts: Counter[str] = Counter()
        self.unreadable: list[str] = []
        self.first: list[str] = []
        if not all(name.isascii() for name in itertools.chain(class_names, names)):
            file.write("\ufeff")
        self.rows = csv.writer(file, lineterminator="\n")
        columns = ["file", "class", "probability", *(["spread"] if spread else [])]
        self.rows.writerow([*columns, *(f"p({name})" for name in class_names)])

    def on_predict_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int, *_: Any
    ) -> None:
        (mean_BK, spread_BK), (_, index_B, unreadable) = outputs, batch
        self.unreadable += unreadable.values()
        labels = mean_BK.argmax(1).tolist() if len(index_B) else []
        spreads = spread_BK.tolist() if spread_BK is not None else mean_BK.tolist()
        for i, label, means, stds in zip(index_B.tolist(), labels, mean_BK.tolist(), spreads, strict=True):
            name, class_name, std = self.names[i], self.class_names[label], [stds[label]] if self.spread else []
            self.counts[class_name] += 1
            self.rows.writerow([name, class_name, *(f"{value:.6f}" for value in (means[label], *std, *means))])
            if len(self.first) < FIRST:
                found = " ± ".join(f"{value:.4f}" for value in (means[label], *std))
                self.first.append(f"{name}  {class_name}  {found}")

    def totals(self) -> dict[str, object]:
        """Return the number of images, of unreadable files, and of images of each predicted class."""
        classes = [f"{name}: {count:,}" for name, count in self.counts.most_common(CLASSES)]
        more = [f"{len(self.counts) - CLASSES:,} other classes"] if len(self.counts) > CLASSES else []
        unreadable = {"unreadable": len(self.unreadable)} if self.unreadable else {}
        return {"images": self.counts.total(), **unreadable, "predicted": ", ".join(classes + more)}
