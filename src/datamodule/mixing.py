"""Training bags that are drawn anew in each epoch: what is in a negative bag may be in any bag."""

import torch
from torch import Tensor

from process.errors import UserError
from set_module.counter_rng import random_int
from set_module.set_batch import SetBatch

# B bags of a batch, N elements of them, M elements of all bags, P training bags

STREAM = 0x4D495842  # added to the seed: independent of other random numbers with the same seed
EXTRA, DONOR, FIRST = 0, 1, 2  # draws of a bag: how many elements more, whose size, and from here on the elements


class Mixing:
    """Mixture of the training bags of two classes, of which 1 says that at least one element is positive.

    A bag of class 1 keeps its elements and gets e negative ones behind them, e ~ U{0, ..., most}. A bag of class 0 is
    drawn anew: n + e negative elements, n the size of a random training bag of class 1. The negative elements are drawn
    with replacement from all training bags of class 0. So labels stay right, and the size of a bag says nothing about
    its label. A function of (seed, epoch, index_B). Raises UserError without training bags of both classes.
    """

    def __init__(self, members: SetBatch, labels: Tensor, position_P: Tensor, most: int, seed: int) -> None:
        self.labels, self.lengths, self.most, self.seed = labels, members.lengths, most, seed + STREAM
        self.first = members.lengths.cumsum(0) - members.lengths
        labels_P = labels.index_select(0, position_P)
        self.positive = position_P[labels_P == 1]
        negative = position_P[labels_P == 0]
        for bags, label in ((negative, 0), (self.positive, 1)):
            if len(bags) == 0:
                raise UserError(
                    f"data.mix={most}: none of the {len(position_P)} training bags is of class {label}: data.mix=null, "
                    "or more training bags"
                )
        negative_bag = torch.zeros_like(labels, dtype=torch.bool).index_fill(0, negative, True)
        self.pool = negative_bag.index_select(0, members.index).nonzero()[:, 0]  # elements of bags of class 0

    def places(self, own_B: Tensor, epoch: int, index_B: Tensor) -> SetBatch:
        """Return the places [N] of the elements of mixed bags among all M elements of the source.

        Whatever is known of the M elements, such as their labels, is selected by them too.

        Args:
            own_B: the bags, by their places in the source.
            index_B: the same, or other numbers for the repetitions of a bag in an epoch.
        """
        positive_B = self.labels.index_select(0, own_B) == 1
        donor_B = self.positive.index_select(0, self._draw(len(self.positive), epoch, index_B, DONOR))
        kept_B = self.lengths.index_select(0, own_B.where(positive_B, donor_B))
        lengths_B = kept_B + self._draw(self.most + 1, epoch, index_B, EXTRA)
        bags = SetBatch(own_B.repeat_interleave(lengths_B), lengths_B)
        number_N, owner_N = bags.numbers(), bags.values
        drawn_N = self._draw(len(self.pool), epoch, index_B.index_select(0, bags.index), FIRST + number_N)
        is_kept_N = number_N < kept_B.where(positive_B, 0).index_select(0, bags.index)
        kept_N = self.first.index_select(0, owner_N) + number_N
        return bags.with_values(kept_N.where(is_kept_N, self.pool.index_select(0, drawn_N)))

    def _draw(self, high: int, epoch: int, index: Tensor, draw: Tensor | int) -> Tensor:
        return random_int(high, self.seed, epoch, index, draw)
