"""Pooling by a few latent vectors that read the set and then attend to each other, several times."""

# B sets, N elements in all, k latents, D features, H heads

from typing import Any

import torch
from torch import Tensor, nn

from set_module.mab import MAB
from set_module.set_batch import SetBatch
from set_module.set_sequential import SetModule


class LatentPool(SetModule):
    """Z <- MAB(Z, X), then `depth` times Z <- MAB(Z, Z), all of it `rounds` times; z = mean_j LN(Z_j).

    Z begins as k learned vectors, the latents. Perceiver, Jaegle et al. 2021, arXiv:2103.03206, section 3, in time
    linear in the size of a set. Rounds after the first share their weights, as in the paper. MAB has its norm in front.
    SetBatch of [N, D] -> [B, D]. Raises ValueError for latents or rounds below 1, depth below 0.
    """

    def __init__(
        self,
        in_features: int,
        latents: int = 8,
        heads: int = 4,
        depth: int = 2,
        rounds: int = 2,
        expansion: int | None = 4,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if latents < 1 or rounds < 1 or depth < 0:
            raise ValueError(f"{latents=}, {rounds=}, {depth=}: choose latents and rounds >= 1, depth >= 0")

        def block() -> MAB:
            return MAB(in_features, heads, "pre", expansion, dropout)

        self.rounds = rounds
        self.latents_kD = nn.Parameter(torch.randn(latents, in_features) * 0.02)  # as in the paper
        self.read = nn.ModuleList(block() for _ in range(min(rounds, 2)))
        self.relate = nn.ModuleList(nn.ModuleList(block() for _ in range(depth)) for _ in range(min(rounds, 2)))
        self.norm = nn.LayerNorm(in_features)
        self.out_features = in_features

    def forward(self, sets: SetBatch) -> Tensor:
        latents: Any = self.latents_kD
        for number in range(self.rounds):
            used = min(number, 1)
            latents = self.read[used](latents, sets)
            for block in self.relate[used]:  # type: ignore[attr-defined]
                latents = block(latents, latents)
        return self.norm(latents).mean(1)

    def weights(self, sets: SetBatch) -> SetBatch:
        """Return the attention of each latent in the first round, per head: SetBatch of [N, k * H]."""
        first: Any = self.read[0]
        weights: SetBatch = first.weights(self.latents_kD, sets)
        return weights
