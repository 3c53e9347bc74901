"""What the network says of sets of patches that somebody chose, and what each patch adds."""

# N elements (patches, or images of a bag), S sets, C H W of an image, p side of a patch, K classes

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from set_module.heat_map import heat_map
from set_module.set_batch import SetBatch


@dataclass(frozen=True)
class Elements:
    """`patches`, uint8 [N, C, p, p]; `corners`, upper left (y, x) [N, 2], None where nobody knows of places."""

    patches: Tensor
    corners: Tensor | None

    def __len__(self) -> int:
        return len(self.patches)


def draw(network: Any, image_CHW: Tensor, index: int, number: int | None, other: int = 0) -> list[tuple[int, int]]:
    """The corners that the network draws of this test image; `other` counts the draws before, as seeds of their own."""
    cutout = copy(network.cutout)  # as several people may look at the same network
    if number is not None:
        cutout.count = number
    cutout.seed += 7919 * other
    corners = cutout.positions((1, *image_CHW.shape), torch.tensor([index])).values
    return [(y, x) for y, x in corners.tolist()]


def cut(network: Any, image_CHW: Tensor, corners: Sequence[tuple[int, int]]) -> Elements:
    corners_N2 = torch.tensor(corners)
    sets = SetBatch(corners_N2, torch.tensor([len(corners)]))
    return Elements(network.cutout.cut(image_CHW[None], sets).values, corners_N2)


@torch.no_grad()
def read_sets(network: Any, elements: Elements, sets: Sequence[Sequence[int]]) -> Tensor:
    """Logits [S, K] of sets, each given by the places of its elements."""
    place_M = torch.tensor([place for members in sets for place in members])
    lengths_S = torch.tensor([len(members) for members in sets])

    def chosen(values_N: Tensor) -> SetBatch:
        return SetBatch(values_N.index_select(0, place_M), lengths_S)

    if network.encoder is None:  # no patch sees another: each is embedded once, in however many sets it is
        whole = torch.tensor([len(elements)])
        corners = None if elements.corners is None else SetBatch(elements.corners, whole)
        features_ND = network.encode(SetBatch(elements.patches, whole), corners).values
        return network.read(chosen(features_ND)).float()
    corners = None if elements.corners is None else chosen(elements.corners)
    return network.read(network.encode(chosen(elements.patches), corners)).float()


def left_out(network: Any, elements: Elements, label: int) -> Tensor:
    """log p(label | all) - log p(label | all but i), [N]; NaN for a single element, without which there is no set."""
    number = len(elements)
    if number == 1:
        return torch.full((1,), torch.nan)
    sets = [range(number), *([j for j in range(number) if j != i] for i in range(number))]
    log_probability_S = read_sets(network, elements, sets).log_softmax(1)[:, label]
    return log_probability_S[0] - log_probability_S[1:]


def scored(network: Any, elements: Elements, label: int) -> Tensor:
    """What `PatchNetwork.scores` says of each element, [N]: the pool's weights, votes, or gradient x input."""
    whole = torch.tensor([len(elements)])
    corners = None if elements.corners is None else SetBatch(elements.corners, whole)
    scores = network.scores(SetBatch(elements.patches, whole), corners, torch.tensor([label]))
    return scores.values[:, 0].float()


def over_pixels(scores_N: Tensor, corners_N2: Tensor, patch_size: int, image_size: Sequence[int]) -> Tensor:
    """The mean score of the patches over each pixel, [H, W]; NaN where none lies."""
    whole = torch.tensor([len(scores_N)])
    return heat_map(SetBatch(scores_N[:, None], whole), SetBatch(corners_N2, whole), patch_size, image_size)[0, 0]


@torch.no_grad()
def covered(network: Any, image_CHW: Tensor, label: int, squares: int = 14) -> Tensor:
    """For a network that sees the whole image: the fall of log p(label) where a gray square covers the pixel, [H, W].

    Zeiler & Fergus 2014, arXiv:1311.2901, section 4.2: squares of a quarter of the image, about squares^2 of them.
    """
    height, width = image_CHW.shape[1:]
    side = max(1, min(height, width) // 4)
    rows, columns = (
        sorted({round(i * (length - side) / (squares - 1)) for i in range(squares)}) for length in (height, width)
    )
    corners_N2 = torch.cartesian_prod(torch.tensor(rows), torch.tensor(columns))
    gray_C11 = image_CHW.float().mean((1, 2), keepdim=True).to(torch.uint8)
    images_NCHW = image_CHW.repeat(len(corners_N2) + 1, 1, 1, 1)
    for image, (y, x) in zip(images_NCHW[1:], corners_N2.tolist(), strict=True):
        image[:, y : y + side, x : x + side] = gray_C11
    log_probability_N = network(images_NCHW).float().log_softmax(1)[:, label]
    return over_pixels(log_probability_N[0] - log_probability_N[1:], corners_N2, side, (height, width))
