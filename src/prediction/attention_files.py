"""A table for each bag: the attention that each element gets, with its coordinates."""

import csv
import logging
from pathlib import Path
from typing import Any

from pytorch_lightning import Callback, LightningModule, Trainer

from process.files import explain_os_errors, replacing

log = logging.getLogger(__name__)


class AttentionFiles(Callback):
    """Callback that writes folder/<bag>.csv, a row for each element: element[,x,y],attention[,instance_label].

    Of a pool with several heads, the columns are attention_0, attention_1, ... A column sums to 1.

    Args:
        bags: have `short_names`, and `files` with `coords()` and `instance_labels()`, each None where it is unknown.
    """

    def __init__(self, folder: Path, bags: Any) -> None:
        self.folder, self.bags, self.written, self.without = folder, bags, 0, 0

    def on_predict_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int, *_: Any
    ) -> None:
        weights, index_B = outputs[2], batch[1]
        if weights is None:
            self.without += len(index_B)
        else:
            for i, weights_nH in zip(index_B.tolist(), weights.to("cpu"), strict=True):
                self._write(i, weights_nH.tolist())

    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self.without:
            log.info("no attention is written: the pool of this network has no weights, as gated_attention has")

    def _write(self, i: int, weights: list[list[float]]) -> None:
        coords, labels = self.bags.files[i].coords(), self.bags.files[i].instance_labels()
        heads = len(weights[0])
        names = ["attention"] if heads == 1 else [f"attention_{head}" for head in range(heads)]
        header = ["element", *(["x", "y"] if coords is not None else []), *names]
        header += ["instance_label"] if labels is not None else []
        places: list[list[Any]] = [[] for _ in weights] if coords is None else coords.tolist()
        known: list[list[Any]] = [[] for _ in weights] if labels is None else labels[:, None].tolist()
        path = self.folder / f"{self.bags.short_names[i]}.csv"
        with explain_os_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as file:
            rows = csv.writer(file, lineterminator="\n")
            rows.writerow(header)
            for number, (place, row, label) in enumerate(zip(places, weights, known, strict=True)):
                rows.writerow([number, *place, *(f"{weight:.7g}" for weight in row), *label])
        self.written += 1
