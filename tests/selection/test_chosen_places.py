"""The noise of a choice."""

import torch

from selection import chosen_places
from selection.chosen_places import gumbel


def test_noise_is_finite_for_the_smallest_and_the_largest_draw(monkeypatch):
    """An infinite one, about every 17 million draws, made a softmax and then the weights NaN."""
    monkeypatch.setattr(chosen_places, "random_int", lambda high, *_: torch.tensor([0, high - 1]))
    smallest, largest = gumbel(0, 0, torch.tensor(0), torch.tensor(0)).tolist()
    assert -2.9 < smallest < -2.7  # -log(log(2^24))
    assert 16.5 < largest < 16.7  # -log(2^-24)
