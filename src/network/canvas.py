"""Canvas network: a CNN sees the chosen patches where they were, in an image that is empty elsewhere."""

# B images, N patches in all, C H W of an image, K outputs

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from network.cutting_network import CuttingNetwork
from network.normalize import Normalize
from selection.coverage import coverage
from selection.learned_places import LearnedPlaces
from selection.random_places import RandomPlaces
from set_module.set_batch import SetBatch


class Canvas(CuttingNetwork):
    """y = body([m x, m]), x the normalised image, m 1 where a chosen patch covers a pixel and 0 elsewhere.

    selection makes a PatchCutout, as in PatchNetwork; body(channels=C + 1, image_size=[H, W], num_outputs=K, mean, std)
    any network of images, whose Normalize is taken out. uint8 [B, C, H, W] -> [B, K]; the order of patches, and a
    patch that is chosen twice, mean nothing. In evaluation mode test_patch_num patches are taken (None: as many as in
    training). Raises ValueError for arguments that the selection refuses, and for a body without Normalize.
    """

    def __init__(
        self,
        channels: int,
        image_size: Sequence[int],
        num_outputs: int,
        mean: Sequence[float],
        std: Sequence[float],
        patch_size: int,
        patch_num_min: int,
        patch_num_max: int,
        seed: int,
        body: Callable[..., nn.Module],
        selection: Callable[..., Any] = RandomPlaces,
        test_patch_num: int | None = None,
    ) -> None:
        super().__init__()
        counts = {"count": (patch_num_min, patch_num_max), "test_count": test_patch_num}
        facts: dict[str, Any] = {"image_size": image_size, "mean": mean, "std": std}
        self.cutout = selection(
            size=patch_size, seed=seed, **counts, channels=channels, num_outputs=num_outputs, **facts
        )
        self.places = (image_size[0] - patch_size + 1) * (image_size[1] - patch_size + 1)
        self.normalize = Normalize(mean, std, channels)
        plain = {"mean": [0.0], "std": [1.0]}
        self.body = body(channels=channels + 1, num_outputs=num_outputs, **facts | plain)
        normalizes = [name for name, module in self.body.named_modules() if isinstance(module, Normalize)]
        if len(normalizes) != 1:
            raise ValueError(f"the body has {len(normalizes)} Normalize: give a network of images that begins with one")
        self.body.set_submodule(normalizes[0], nn.Identity())

    def forward(self, images_BCHW: Tensor, index_B: Tensor | None = None) -> Tensor:
        return self.read(images_BCHW, self.corners(images_BCHW, index_B))

    def training_loss(
        self, images_BCHW: Tensor, targets: Any, index_B: Tensor, loss: Callable[[Tensor, Any], Tensor]
    ) -> tuple[Tensor, Tensor]:
        """Return the outputs [B, K] and the loss of a training step.

        While a selection with a reader learns places, its loss is added, and the body learns from the same places,
        n ~ U{lo..hi} of each image, without a gradient for them.
        """
        cutout = self.cutout
        if not isinstance(cutout, LearnedPlaces) or cutout.reader is None or not cutout.explores:
            outputs_BK = self(images_BCHW, index_B)
            return outputs_BK, loss(outputs_BK, targets)
        loss_of_places, masks_BKHW = cutout.training_loss(images_BCHW, targets, index_B, loss)
        number_B = cutout.drawn_lengths(index_B)[0] - 1
        mask_BHW = masks_BKHW[torch.arange(len(number_B), device=number_B.device), number_B]
        outputs_BK = self.paint(images_BCHW, mask_BHW[:, None])
        return outputs_BK, loss(outputs_BK, targets) + loss_of_places

    def corners(self, images_BCHW: Tensor, index_B: Tensor | None = None) -> SetBatch:
        """Return the upper left corners of the chosen patches, [N, 2]."""
        assert self.cutout is not None
        index_B = torch.arange(len(images_BCHW)) if index_B is None else index_B
        return self.cutout.positions(images_BCHW, index_B.to(images_BCHW.device))

    def read(self, images_BCHW: Tensor, corners: SetBatch) -> Tensor:
        """Return the outputs [B, K] for the patches at these corners."""
        assert self.cutout is not None
        return self.paint(images_BCHW, coverage(corners, self.cutout.size, images_BCHW.shape[2:]))

    def paint(self, images_BCHW: Tensor, mask_B1HW: Tensor) -> Tensor:
        """Return the outputs [B, K] of the images where the mask is 1."""
        images = self.normalize(images_BCHW)
        mask_B1HW = mask_B1HW.to(images.dtype)
        canvas = torch.cat([images * mask_B1HW, mask_B1HW], dim=1)
        outputs_BK: Tensor = self.body(canvas)
        return outputs_BK

    def logits_at(self, images_BCHW: Tensor, index_B: Tensor | None, numbers: Sequence[int]) -> dict[int, Tensor]:
        """Return {n: outputs [B, K] of the first n patches} for each of the numbers. Call it in evaluation mode."""
        before, self.patch_num = self.patch_num, max(numbers)
        corners = self.corners(images_BCHW, index_B)
        self.patch_num = before
        return {n: self.read(images_BCHW, corners.prefix(n)) for n in numbers}
