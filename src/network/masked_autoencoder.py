"""Masked autoencoder of patches: learns without labels, by predicting the patches that it does not see."""

# B images, N patches in all, M of them hidden, C channels, p side of a patch, D features

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from network.patch_network import PatchNetwork
from set_module.counter_rng import FIXED, random_int
from set_module.lazy_images import LazyImages
from set_module.mab import MAB
from set_module.reduce import accumulable, set_mean
from set_module.set_batch import SetBatch

STREAM = 0x4D4145  # added to the seed: which patches are seen is independent of where they are


class MaskedAutoencoder(PatchNetwork):
    """x_j = decoder(position(c_j), encoder({embed(x_i) + position(c_i)})), i the patches that are seen, j the others.

    A share `visible` of the patches of an image is seen, at least one. The decoder consists of `depth` attention blocks
    MAB(query, features), one query for the position of each hidden patch, and a linear layer. He et al. 2022, "Masked
    autoencoders are scalable vision learners", arXiv:2111.06377, for sets of patches. Which patches are seen is a
    function of (seed, epoch, image index), the same in each epoch of evaluation. The parts `embed`, `position` and
    `encoder` are those of PatchNetwork, so that another network with the same parts can begin with their weights.

    Returns a dictionary: `output` [B, D], the mean features of the patches that are seen; `reconstruction` and
    `pixels`, SetBatches of [M, C, p, p], the predicted and the true pixels of hidden patches, normalised; their
    `corners` [M, 2]. Of a single patch, which is seen, it predicts this patch. Raises ValueError for `visible` outside
    of 0..1, a depth below 1, and a network without positions.
    """

    def __init__(
        self,
        num_outputs: int | None = None,  # every network is given it: here the features are the output
        visible: float = 0.25,
        depth: int = 2,
        heads: int = 4,
        position: Callable[..., Any] | None = None,
        **patches: Any,
    ) -> None:
        super().__init__(position=position, **patches)
        if position is None or self.cutout is None:
            raise ValueError(
                "a masked autoencoder predicts patches from their positions: choose model/position=learned"
            )
        if not 0 < visible < 1:
            raise ValueError(f"{visible=}: choose a share of the patches between 0 and 1, such as 0.25")
        if depth < 1:
            raise ValueError(f"{depth=}: choose >= 1")
        self.visible = visible
        size = self.cutout.size
        places = [side - size + 1 for side in patches["image_size"]]
        self.query = position(features=self.num_features, places=places)
        self.decoder = nn.ModuleList(MAB(self.num_features, heads, norm="pre", expansion=2) for _ in range(depth))
        self.norm = nn.LayerNorm(self.num_features)
        self.pixels = nn.Linear(self.num_features, patches["channels"] * size**2)

    def forward(self, inputs: Tensor | LazyImages | SetBatch, index_B: Tensor | None = None) -> dict[str, Any]:
        patches, corners = self.cut(inputs, index_B)
        if corners is None:
            raise ValueError("the elements of sets have no places: give images")
        rank_N = self.ranks(patches, index_B)
        seen_B = (patches.lengths * self.visible).long().clamp(min=1)
        hidden_from_B = seen_B.minimum(patches.lengths - 1)
        seen_N = rank_N < seen_B.index_select(0, patches.index)
        hidden_N = rank_N >= hidden_from_B.index_select(0, patches.index)
        features = self.encode(_chosen(patches, seen_N), _chosen(corners, seen_N))
        hidden_corners, pixels = _chosen(corners, hidden_N), _chosen(patches, hidden_N).map(self.embed[0])
        return {
            "output": self.read(features),
            "reconstruction": self.reconstruct(features, hidden_corners),
            "pixels": pixels,
            "corners": hidden_corners,
        }

    def ranks(self, patches: SetBatch, index_B: Tensor | None) -> Tensor:
        """Return the rank of each patch in a random order of its image, int64 [N]."""
        assert self.cutout is not None
        index_B = torch.arange(len(patches)) if index_B is None else index_B
        index_N = index_B.to(patches.index.device).index_select(0, patches.index)
        epoch = self.cutout.epoch if self.training else FIXED
        draw_N = random_int(2**31 - 1, self.cutout.seed + STREAM, epoch, index_N, draw=patches.numbers())
        order_N = draw_N.argsort(stable=True)
        order_N = order_N.index_select(0, patches.index.index_select(0, order_N).argsort(stable=True))
        return torch.empty_like(order_N).index_copy_(0, order_N, patches.numbers())

    def reconstruct(self, features: SetBatch, corners: SetBatch) -> SetBatch:
        """Return the normalised pixels [M, C, p, p] that the features [N, D] of other patches say for these corners."""
        queries = corners.map(lambda corners_M2: self.query(corners_M2).to(features.values.dtype))
        for block in self.decoder:
            queries = block(queries, features)
        channels, size = self.embed[0].channels, self.cutout.size  # type: ignore[union-attr]
        return queries.map(self.norm).map(self.pixels).map(lambda x_MF: x_MF.unflatten(1, (channels, size, size)))

    def read(self, features: SetBatch) -> Tensor:
        return set_mean(features)


class ReconstructionLoss(nn.Module):
    """Mean squared error of the reconstruction over all pixels of hidden patches, for task=loss."""

    def forward(self, outputs_BD: Tensor, targets: Any, others: Mapping[str, Any]) -> Tensor:
        reconstruction, pixels = others["reconstruction"].values, others["pixels"].values
        return (accumulable(reconstruction) - pixels).square().mean()


def _chosen(sets: SetBatch, kept_N: Tensor) -> SetBatch:
    """Return the elements where the mask is true, at least one of each set. Waits for a GPU."""
    number_M = kept_N.nonzero()[:, 0]
    index_M = sets.index.index_select(0, number_M)
    lengths_B = torch.zeros_like(sets.lengths).index_add_(0, index_M, torch.ones_like(index_M))
    return SetBatch(sets.values.index_select(0, number_M), lengths_B)
