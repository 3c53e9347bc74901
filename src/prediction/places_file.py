"""A table of the patches that a network has chosen of each image, in their order."""

# B images, N patches in all

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pytorch_lightning import Callback, LightningModule, Trainer
from torch import Tensor

from process.files import explain_os_errors, replacing
from set_module.set_batch import SetBatch


class PlacesFile(Callback):
    """Callback that writes the column file of an image, the number of its patch 1, 2, ..., and the corner x, y of it.

    The corner is the upper left one, in pixels of the image as the network sees it. `written` is the number of patches.
    """

    def __init__(self, path: Path, names: Sequence[str]) -> None:
        self.path, self.names, self.written = path, names, 0
        self.found: list[tuple[Tensor, SetBatch]] = []

    def on_predict_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int, *_: Any
    ) -> None:
        if outputs[2] is not None:
            self.found.append((batch[1].cpu(), outputs[2].to("cpu")))

    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not self.found:
            return
        with explain_os_errors(self.path), replacing(self.path) as file:
            if not all(name.isascii() for name in self.names):
                file.write("\ufeff")  # Excel misreads the names otherwise
            rows = csv.writer(file, lineterminator="\n")
            rows.writerow(["file", "patch", "x", "y"])
            for index_B, corners in self.found:
                for i, corners_n2 in zip(index_B.tolist(), corners, strict=True):
                    for number, (y, x) in enumerate(corners_n2.tolist(), 1):
                        rows.writerow([self.names[i], number, x, y])
                        self.written += 1
