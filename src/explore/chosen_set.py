"""A set that a person chose, its logits, and a score for each of its elements."""

# N elements (patches, or images of a bag), S sets, C H W of an image, p side of a patch, K classes

import random
from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from set_module.patch_heat_map import heat_map
from set_module.set_batch import SetBatch
from set_module.set_network import SetNetwork, split_outputs

Corner = tuple[int, int]  # upper left, (y, x)


@dataclass
class ChosenSet:
    """A set of numbered elements: 0, 1, ... were drawn by the network, -1, -2, ... were added by hand.

    An element keeps its number when more or fewer are drawn. At least one element stays in the set.
    """

    drawn: list[Corner]  # of a bag, whose images have no places: any value for each
    added: list[Corner] = field(default_factory=list)
    out: set[int] = field(default_factory=set)  # the numbers of elements that were taken out
    shuffles: int = 0

    def numbers(self) -> list[int]:
        """Return the numbers of all elements, in the order of the set; those taken out keep their place in it."""
        numbers = [*range(len(self.drawn)), *(-1 - place for place in range(len(self.added)))]
        if self.shuffles:
            random.Random(self.shuffles).shuffle(numbers)
        return numbers

    def inside(self) -> list[int]:
        """Return the numbers of the elements that the network gets."""
        return [number for number in self.numbers() if number not in self.out]

    def corner(self, number: int) -> Corner:
        return self.drawn[number] if number >= 0 else self.added[-1 - number]

    def redraw(self, drawn: list[Corner]) -> None:
        """Replace the drawn elements; keep what was added or taken out by hand as far as it still exists."""
        self.drawn = drawn
        self.out &= set(self.numbers())
        if not self.inside():
            self.out.clear()

    def toggle(self, number: int) -> bool:
        """Take the element out, or put it in again; return False if it is the last one that is in."""
        if self.inside() == [number]:
            return False
        self.out ^= {number}
        return True

    def add_patch(self, y: float, x: float, patch_size: int, image_size: tuple[int, int]) -> None:
        """Add a patch centred at the pixel, or as close to it as fits into the image."""
        height, width = image_size
        top = min(max(round(y - patch_size / 2), 0), height - patch_size)
        left = min(max(round(x - patch_size / 2), 0), width - patch_size)
        self.added.append((top, left))

    def patch_at(self, y: float, x: float, patch_size: int, out: bool = False) -> int | None:
        """Return the patch with the nearest centre that covers the pixel, among those in the set (`out`: taken out)."""

        def distance(number: int) -> float:
            top, left = self.corner(number)
            return max(abs(top + patch_size / 2 - y), abs(left + patch_size / 2 - x))

        nearest = min(self.out if out else self.inside(), key=distance, default=None)
        return nearest if nearest is not None and distance(nearest) <= patch_size / 2 else None


@dataclass(frozen=True)
class Elements:
    """Elements for the network: `patches`, uint8 [N, C, p, p], and their `corners` [N, 2] in the `image` [C, H, W].

    The images of a bag have neither.
    """

    patches: Tensor
    corners: Tensor | None
    image: Tensor | None = None

    def __len__(self) -> int:
        return len(self.patches)


def draw_corners(network: Any, image_CHW: Tensor, index: int, number: int | None, redraws: int = 0) -> list[Corner]:
    """Return the corners that the network draws for this test image.

    Args:
        index: the position of the image in the test set, part of the random seed.
        number: how many patches; None if the number is not free.
        redraws: how often the user asked for other patches; each has a seed of its own.
    """
    cutout = copy(network.cutout)  # several people may look at the same network
    if number is not None:
        cutout.count = number
    cutout.seed += 7919 * redraws
    corners = cutout.positions(image_CHW[None], torch.tensor([index])).values
    return [(y, x) for y, x in corners.tolist()]


def cut(network: Any, image_CHW: Tensor, corners: Sequence[Corner]) -> Elements:
    corners_N2 = torch.tensor(corners)
    sets = SetBatch(corners_N2, torch.tensor([len(corners)]))
    return Elements(network.cutout.cut(image_CHW[None], sets).values, corners_N2, image_CHW)


@torch.no_grad()
def logits_of_sets(network: Any, elements: Elements, sets: Sequence[Sequence[int]]) -> Tensor:
    """Return the logits [S, K] of several sets, each a sequence of positions in `elements`."""
    place_M = torch.tensor([place for members in sets for place in members])
    lengths_S = torch.tensor([len(members) for members in sets])

    def chosen(values_N: Tensor) -> SetBatch:
        return SetBatch(values_N.index_select(0, place_M), lengths_S)

    if not isinstance(network, SetNetwork):  # it pastes the patches into a canvas
        assert elements.image is not None
        assert elements.corners is not None
        return network.read(elements.image.expand(len(sets), -1, -1, -1), chosen(elements.corners)).float()
    if network.encoder is None:  # no patch sees another: each is embedded once, even if it is in many sets
        whole = torch.tensor([len(elements)])
        corners = None if elements.corners is None else SetBatch(elements.corners, whole)
        features_ND = network.encode(SetBatch(elements.patches, whole), corners).values
        return network.read(chosen(features_ND)).float()
    corners = None if elements.corners is None else chosen(elements.corners)
    return network.read(network.encode(chosen(elements.patches), corners)).float()


def leave_one_out(network: Any, elements: Elements, label: int) -> Tensor:
    """Return log p(label | all) - log p(label | all but i), [N]; NaN for a single element, as no set is left."""
    number = len(elements)
    if number == 1:
        return torch.full((1,), torch.nan)
    sets = [range(number), *([j for j in range(number) if j != i] for i in range(number))]
    log_probability_S = logits_of_sets(network, elements, sets).log_softmax(1)[:, label]
    return log_probability_S[0] - log_probability_S[1:]


def network_scores(network: Any, elements: Elements, label: int) -> Tensor:
    """Return `PatchNetwork.scores` of each element, [N]: the pool's weights, votes, or gradient x input."""
    whole = torch.tensor([len(elements)])
    corners = None if elements.corners is None else SetBatch(elements.corners, whole)
    scores = network.scores(SetBatch(elements.patches, whole), corners, torch.tensor([label]))
    return scores.values[:, 0].float()


def score_map(scores_N: Tensor, corners_N2: Tensor, patch_size: int, image_size: Sequence[int]) -> Tensor:
    """Return the mean score of the patches over each pixel, [H, W]; NaN where no patch lies."""
    whole = torch.tensor([len(scores_N)])
    return heat_map(SetBatch(scores_N[:, None], whole), SetBatch(corners_N2, whole), patch_size, image_size)[0, 0]


@torch.no_grad()
def occlusion_map(network: Any, image_CHW: Tensor, label: int, squares: int = 14) -> Tensor:
    """Return the decrease of log p(label) while a gray square covers the pixel, [H, W], for networks of whole images.

    Zeiler & Fergus 2014, arXiv:1311.2901, section 4.2: squares of a quarter of the image, about squares^2 of them.
    """
    height, width = image_CHW.shape[1:]
    side = max(1, min(height, width) // 4)
    rows, columns = (torch.linspace(0, length - side, squares).round().long().unique() for length in (height, width))
    corners_N2 = torch.cartesian_prod(rows, columns)
    gray_C11 = image_CHW.float().mean((1, 2), keepdim=True).to(torch.uint8)
    images_NCHW = image_CHW.repeat(len(corners_N2) + 1, 1, 1, 1)
    for image, (y, x) in zip(images_NCHW[1:], corners_N2.tolist(), strict=True):
        image[:, y : y + side, x : x + side] = gray_C11
    log_probability_N = split_outputs(network(images_NCHW))[0].float().log_softmax(1)[:, label]
    return score_map(log_probability_N[0] - log_probability_N[1:], corners_N2, side, (height, width))
