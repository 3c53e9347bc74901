"""What a network is made of, and what it costs: a line for each layer."""

from typing import Any

from pytorch_lightning import Callback, LightningModule, Trainer
from rich import get_console
from torch import Tensor

from figure.layer_text import as_csv, as_markdown, as_picture, as_rich
from figure.layers import layers_of
from figure.one_item import in_words, item
from figure.show import Tolerated, is_wanted, show, show_text
from process.console import open_console, shown
from set_module.set_network import draws_patches, temporary_patch_num


class LayerTable(Callback):
    """Of one test image, or one bag, with as many patches as there are at most; as text, CSV and a picture.

    Printed as well, unless `verbosity` is 0.
    """

    def __init__(self, verbosity: int) -> None:
        self.verbosity = verbosity

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.wanted = is_wanted(trainer) and trainer.is_global_zero

    def on_test_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int, *_: Any
    ) -> None:
        if self.wanted and batch_idx == 0:
            with Tolerated("table of the layers"):
                images, index_1 = item(batch, 0)
                self._show(trainer, pl_module.network, images, index_1)

    def _show(self, trainer: Trainer, network: Any, images: Any, index_1: Tensor) -> None:
        most = network.patch_num[1] if draws_patches(network) else 1
        with temporary_patch_num(network, most):
            layers, seen = layers_of(network, images, index_1), in_words(network, images, index_1)
        title = f"{type(network).__name__}: {seen}"
        show_text(trainer, "layer_table.md", as_markdown(title, layers))
        show_text(trainer, "layer_table.csv", as_csv(layers))
        show(trainer, "pictures/layer_table", as_picture(title, layers))
        if shown(self.verbosity) > 0 and get_console().is_terminal:
            get_console().print(as_rich(title, layers))  # above the bar, which is drawn on this one
        else:
            open_console(self.verbosity, width=200).print(as_rich(title, layers))  # no terminal: no width to fit
