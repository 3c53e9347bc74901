"""predictions.csv: a row for each image or bag, written as soon as it is predicted."""

import csv
import itertools
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import IO, Any

from pytorch_lightning import Callback, LightningModule, Trainer

FIRST = 8  # predictions that a terminal shows
ANSWERS = 10  # the most frequent ones, whose number of images it shows


class Table(Callback):
    """Callback that writes the column file, and those of the task: class, probability, spread, p(NAME) per class.

    The spread is the standard deviation of a number over several draws. The file begins with a byte-order mark if a
    name is not ASCII: Excel misreads it otherwise. `written` is the number of images or other `items`, `counts` that of
    each answer (class, label, count), `unreadable` the files that were left out, `first` the lines that a terminal
    shows.
    """

    def __init__(
        self,
        file: IO[str],
        names: Sequence[str],
        task: Any,
        class_names: Sequence[str],
        spread: bool,
        items: str = "images",
    ) -> None:
        self.names, self.task, self.class_names, self.items = names, task, class_names, items
        self.counts: Counter[str] = Counter()
        self.written = 0
        self.unreadable: list[str] = []
        self.first: list[str] = []
        if not all(name.isascii() for name in itertools.chain(class_names, names)):
            file.write("\ufeff")
        self.rows = csv.writer(file, lineterminator="\n")
        self.rows.writerow(["file", *task.columns(class_names, spread)])

    def on_predict_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int, *_: Any
    ) -> None:
        (predictions, spreads, *_), (_, index_B, unreadable) = outputs, batch
        self.unreadable += unreadable.values()
        for number, i in enumerate(index_B.tolist()):
            item = _item(predictions, number), _item(spreads, number), self.class_names
            self.rows.writerow([self.names[i], *self.task.row(*item)])
            self.counts.update(self.task.counted(item[0], self.class_names))
            if self.written < FIRST:
                self.first.append(f"{self.names[i]}  {self.task.brief(*item)}")
            self.written += 1

    def totals(self) -> dict[str, object]:
        """Return the number of images, of unreadable files, and of images of each answer."""
        answers = [f"{name}: {count:,}" for name, count in self.counts.most_common(ANSWERS)]
        more = [f"{len(self.counts) - ANSWERS:,} others"] if len(self.counts) > ANSWERS else []
        unreadable = {"unreadable": len(self.unreadable)} if self.unreadable else {}
        predicted = {"predicted": ", ".join(answers + more)} if answers else {}
        return {self.items: self.written, **unreadable, **predicted}


def _item(values: Any, number: int) -> Any:
    """Return the part of one item: of each task, if there are several."""
    if isinstance(values, Mapping):
        return {name: value[number] for name, value in values.items()}
    return None if values is None else values[number]
