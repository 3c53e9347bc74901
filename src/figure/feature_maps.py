"""What the layers of a network make of one image, or of its patches."""

import logging
from typing import Any

from pytorch_lightning import Callback, LightningModule, Trainer
from torch import Tensor, nn

from figure.feature_picture import drawn_patches, drawn_stages
from figure.one_item import item
from figure.picture import boxed, drawn, framed, mosaic
from figure.show import Tolerated, class_name, is_wanted, show
from figure.stages import Stage, stages_of
from set_module.set_network import SetNetwork, temporary_patch_num

log = logging.getLogger(__name__)

PATCHES = 12  # rows of a picture, at most


class FeatureMaps(Callback):
    """Of test image number `image` in its source: after each convolution; of a set, after each layer up to the pool.

    Raises ValueError for what is no such number.
    """

    def __init__(self, image: int) -> None:
        if type(image) is not int or image < 0:
            raise ValueError(f"image={image}: choose a whole number >= 0")
        self.image = image

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.wanted, self.found = is_wanted(trainer) and trainer.is_global_zero, False

    def on_test_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int, *_: Any
    ) -> None:
        if self.wanted and not self.found:
            with Tolerated("picture of the feature maps"):
                for number in (batch[2] == self.image).nonzero()[:1, 0].tolist():
                    self.found = True
                    self._show(trainer, pl_module.network, int(batch[1][number]), *item(batch, number))

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self.wanted and not self.found:
            here = "" if trainer.world_size == 1 else " by the first process; visualize.py tests all in one"
            log.info(f"no picture of the feature maps: image {self.image} was not among those tested{here}")

    def _show(self, trainer: Trainer, network: Any, label: int, images: Any, index_1: Tensor) -> None:
        kind = "image" if isinstance(images, Tensor) else "bag"
        title = f"{kind} {self.image}, {class_name(trainer, label)}"
        if not isinstance(network, SetNetwork):
            if stages := stages_of(network, "", (nn.Conv2d,), network, images, index_1):
                show(trainer, "pictures/feature_maps", framed(drawn_stages(drawn(images[0]), title, stages)))
            return
        with temporary_patch_num(network, PATCHES):
            patches, corners = network.cut(images, index_1)
            stages = stages_of(network, "embed.", (nn.Conv2d, nn.Linear), network.encode, patches, corners)
            if network.encoder is not None:
                stages.append(Stage("encoder", network.encode(patches, corners).values.detach().float().cpu()))
        seen = list(patches.values[:PATCHES])
        if corners is None:
            whole, word = mosaic(seen), "element"
        else:
            whole, word = boxed(images[0], corners.values[:PATCHES], seen[0].shape[-1]), "patch"
        show(trainer, "pictures/feature_maps", framed(drawn_patches(whole, title, word, seen, stages)))
