"""Probabilities of images: of a network that draws its patches, the mean over several draws."""

# B images, K classes, D draws

from typing import Any

import torch
from pytorch_lightning import LightningModule
from torch import Tensor

from process.errors import UserError


class Predictor(LightningModule):
    """p = mean_d softmax(network(images, d)), d = 0 .. draws - 1, with the standard deviation (n - 1) over the draws.

    Draw d has the same places in every image, so that what is said of an image depends on nothing but the image. A
    network that draws nothing looks once. `patch_num` patches in each draw; None: as many as in training. Raises
    UserError for a network of bags, for a patch_num that the network cannot have, for more than the memory holds, and
    where probabilities are not finite.
    """

    stage = "predict"  # what a bar calls it

    def __init__(self, network: Any, draws: int, patch_num: int | None) -> None:
        super().__init__()
        if hasattr(network, "cutout") and network.cutout is None:
            raise UserError("this network takes bags of images, not images: nothing to predict for a file")
        self.network, self.draws = network, draws if hasattr(network, "patch_num") else 1
        if patch_num is None:
            return
        if not hasattr(network, "patch_num"):
            raise UserError(f"patch_num={patch_num}: this network does not draw patches: leave it out")
        if network.max_patch_num and patch_num > network.max_patch_num:
            raise UserError(f"patch_num={patch_num}: must be <= {network.max_patch_num} (hparams.patch_replace=false)")
        network.patch_num = patch_num

    def predict_step(self, batch: tuple[Tensor, Tensor, Any], batch_idx: int) -> tuple[Tensor, Tensor | None]:
        """Probabilities [B, K], and their spread [B, K] where there are several draws. B may be 0."""
        images_BCHW, index_B, _ = batch
        if len(index_B) == 0:
            return images_BCHW.new_empty(0, 1, dtype=torch.float32), None
        try:
            draws_DBK = torch.stack(
                [self.network(images_BCHW, torch.full_like(index_B, d)).float().softmax(1) for d in range(self.draws)]
            )
        except RuntimeError as error:
            if isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error):
                fewer = " or patch_num" if hasattr(self.network, "patch_num") else ""
                size = f"{len(index_B)} images at once are more than the memory holds"
                raise UserError(f"{size}: choose a smaller hparams.batch_size{fewer}") from error
            raise
        if not draws_DBK.isfinite().all():
            raise UserError("the network's outputs are not finite: its weights are broken, take others by ckpt=")
        return draws_DBK.mean(0), draws_DBK.std(0) if self.draws > 1 else None
