"""The predictions of images: for a network that draws its patches, the mean over several draws."""

# B images, D draws

from collections.abc import Mapping
from typing import Any

import torch
from pytorch_lightning import LightningModule
from torch import Tensor

from process.errors import UserError
from set_module.set_batch import SetBatch
from set_module.set_network import (
    draws_at_random,
    draws_patches,
    looks_in_order,
    outputs_at,
    patch_num_limit,
    split_outputs,
    takes_bags,
)


class Predictor(LightningModule):
    """LightningModule that predicts p = mean_d predict(network(images, d)), d = 0 .. draws - 1.

    `predict` is the task's, such as the softmax of logits. The spread is the standard deviation (n - 1) over the draws.
    Draw d has the same places in each image, so that a prediction depends on the image alone. A network that draws no
    patches gets the image once. Raises UserError for a network of bags, a patch_num that the network cannot have,
    places of a network that has learned none, too little memory, and predictions that are not finite.

    Args:
        task: gives the predictions of the network's outputs.
        patch_num: the number of patches in each draw; None: as many as in the test.
        places: whether the corners of the patches are returned, in the order in which the network chooses them.
    """

    stage = "predict"  # its name in a progress bar
    of_bags = False  # whether it predicts bags, which networks of bags take
    places: SetBatch | None = None  # those of the present batch

    def __init__(self, network: Any, task: Any, draws: int, patch_num: int | None, places: bool = False) -> None:
        super().__init__()
        if takes_bags(network) and not self.of_bags:
            raise UserError("this network takes bags of images, not images: nothing to predict for a file")
        if places and not looks_in_order(network):
            raise UserError("places=true: this network does not choose where to look: leave it out")
        self.network, self.task, self.draws = network, task, draws if draws_at_random(network) else 1
        self.with_places = places
        if patch_num is None:
            return
        if not draws_patches(network):
            raise UserError(f"patch_num={patch_num}: this network does not draw patches: leave it out")
        limit = patch_num_limit(network)
        if limit and patch_num > limit:
            raise UserError(f"patch_num={patch_num}: must be <= {limit}, the most that its selection takes")
        network.patch_num = patch_num

    def predict_step(self, batch: tuple[Any, Tensor, Any], batch_idx: int) -> tuple[Any, Any, SetBatch | None]:
        """Return predictions [B, ...], their spread [B, ...] if there are several draws, and places. B may be 0.

        The first two are dictionaries if the task consists of several. Places are the corners [N, 2], or None.
        """
        images_BCHW, index_B, _ = batch
        if len(index_B) == 0:
            return torch.empty(0, 1), None, None
        return *self._predictions(images_BCHW, index_B), self.places

    def _predictions(self, images_BCHW: Any, index_B: Tensor) -> tuple[Any, Any]:
        try:
            draws = [self.task.predict(self._outputs(images_BCHW, index_B, d)) for d in range(self.draws)]
        except RuntimeError as error:
            if isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error):
                fewer = " or patch_num" if draws_patches(self.network) else ""
                size = f"{len(index_B)} {'bags' if self.of_bags else 'images'} at once need too much memory"
                raise UserError(f"{size}: choose a smaller hparams.batch_size{fewer}") from error
            raise
        if isinstance(draws[0], Mapping):
            of_tasks = {name: self._summarized([draw[name] for draw in draws]) for name in draws[0]}
            means, stds = ({name: found[part] for name, found in of_tasks.items()} for part in (0, 1))
            return means, stds if self.draws > 1 else None
        return self._summarized(draws)

    def _outputs(self, images_BCHW: Tensor, index_B: Tensor, draw: int) -> Tensor:
        draw_B = torch.full_like(index_B, draw)
        if not self.with_places:
            return split_outputs(self.network(images_BCHW, draw_B))[0]
        corners = self.places = self.network.cutout.positions(images_BCHW, draw_B)
        return outputs_at(self.network, images_BCHW, corners)

    def _summarized(self, draws: list[Tensor]) -> tuple[Tensor, Tensor | None]:
        """Return the mean and, of several, the standard deviation."""
        found = torch.stack(draws)
        if not found.isfinite().all():
            raise UserError("the network's outputs are not finite: its weights are broken, choose others by ckpt=")
        return found.mean(0), found.std(0) if self.draws > 1 else None
