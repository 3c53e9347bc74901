"""Iterative patch selection: the patches to which the network's own attention gives the largest weights."""

# B images, N patches in all, P places of an image, H heads

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from selection.chosen_places import gumbel
from selection.scored_places import ScoredPlaces
from set_module.lazy_images import LazyImages
from set_module.set_batch import SetBatch


class IterativeSelection(ScoredPlaces):
    """PatchCutout of the M places with the largest attention weights, averaged over heads, of the network's pool.

    Bergner et al. 2023, arXiv:2210.13007, section 3. All patches of a grid are embedded without gradients, in
    evaluation mode, `chunk` of them at a time; those that are chosen are embedded again, with gradients. Memory is
    bounded by M and the chunk, beside H numbers for each place: these are what is kept of earlier chunks in place of
    the paper's M best embeddings, so that the choice does not depend on the chunk. In training, with `noise`, the
    weights' logarithms plus so much Gumbel noise choose, which depends on the seed, the epoch, the image and the place
    alone: with 1, places are sampled without replacement by their weights. The paper has none. Raises ValueError where
    no network has called `score_by`, and for a chunk below 1 or a negative noise.
    """

    score: Callable[[SetBatch, SetBatch], Tensor] | None = None

    def __init__(
        self,
        size: int,
        count: int | Sequence[int],
        seed: int,
        test_count: int | None = None,
        stride: int | None = None,
        apart: int = 0,
        chunk: int = 256,
        noise: float = 0.0,
        **facts: Any,
    ) -> None:
        super().__init__(size, count, seed, test_count, stride, apart, "ips")
        if chunk < 1:
            raise ValueError(f"{chunk=}: choose a number of patches >= 1")
        if noise < 0:
            raise ValueError(f"{noise=}: choose a number >= 0")
        self.chunk, self.noise = chunk, noise

    def score_by(self, score: Callable[[SetBatch, SetBatch], Tensor]) -> None:
        """Set the function of patches [N, C, p, p] and corners [N, 2] that gives the scores [N, H] before softmax."""
        self.score = score

    @torch.no_grad()
    def positions(self, images: Tensor | LazyImages, index_B: Tensor) -> SetBatch:
        """Return the corners [N, 2] of the chosen patches, the one with the largest weight first."""
        if self.score is None:
            raise ValueError("this network has no attention that could choose patches: choose model=attention_mil")
        candidates = self.candidates(images)
        scores_NH, first = torch.empty(0), 0
        for corners in self.parts(images, candidates, self.chunk):
            scores_nH = self.score(self.cut(images, corners), corners)
            if first == 0:  # a list of small parts would stand between large blocks of memory that could not be reused
                scores_NH = scores_nH.new_empty(len(candidates.values), scores_nH.shape[1])
            scores_NH[first : first + len(scores_nH)] = scores_nH
            first += len(scores_nH)
        weights_BP = candidates.with_values(scores_NH).pad(-torch.inf)[0].log_softmax(1).logsumexp(2)
        if self.training and self.noise:
            draw_P = 1 + torch.arange(weights_BP.shape[1], device=weights_BP.device)
            weights_BP += self.noise * gumbel(self.seed, self.epoch, index_B[:, None].to(draw_P.device), draw_P)
        return self.best(images, candidates, weights_BP, index_B.to(weights_BP.device))[0]
