"""Figure of the order in which a network looks at an image, and what it answers after each patch."""

# B images, n patches of each, K classes

from typing import Any

import torch
from PIL import Image, ImageDraw
from pytorch_lightning import Trainer
from torch import Tensor

from figure.looking import number_boxes, seen_part
from figure.picture import TEXT, WHITE, captioned, class_name, grid, shortened, write
from figure.sampled_images import SampledImages
from set_module.set_network import logits_at, looks_in_order, patch_num_range, temporary_patch_num

SIDE = 150  # pixels of an image in a strip
CLASSES = 3  # whose probabilities are written
TRUE, OTHER = (150, 214, 174), (255, 205, 158)  # bars of the true class and of others


class OrderOfLooking(SampledImages):
    """Figure of `count` images, a strip of each: its patches in the order of choice, the probabilities after each.

    A strip has a tile for each number of patches up to that in the test, or `steps` of them if these are more, and
    before them one without any. What was not seen shows the scores of the next place, where the selection has scores.
    Networks whose patches have no learned order get no figure. Raises ValueError for numbers below 1.
    """

    name = "order_of_looking"

    def __init__(self, count: int, steps: int) -> None:
        super().__init__(count)
        if steps < 1:
            raise ValueError(f"order_of_looking.steps={steps}: choose >= 1, or order_of_looking=null")
        self.steps = steps

    def suits(self, network: Any) -> bool:
        return looks_in_order(network)

    def draw(
        self, trainer: Trainer, network: Any, images_BCHW: Tensor, labels_B: Tensor, index_B: Tensor
    ) -> Image.Image:
        most = patch_num_range(network)[1]
        steps = min(self.steps, most)
        numbers = [most * (step + 1) // steps for step in range(steps)]
        with torch.no_grad(), temporary_patch_num(network, most):
            corners = network.cutout.positions(images_BCHW, index_B)
            after = logits_at(network, images_BCHW, index_B, numbers)
        probability_BSK = torch.stack([after[number].float().softmax(1) for number in numbers], dim=1).cpu()
        names = [class_name(trainer, k) for k in range(probability_BSK.shape[2])]
        strips = []
        for image_CHW, corners_n2, probability_SK, label in zip(
            images_BCHW, corners, probability_BSK, labels_B.tolist(), strict=True
        ):
            tiles = [_tile(network, image_CHW, corners_n2[:0], "no patch")]
            for number, probability_K in zip(numbers, probability_SK, strict=True):
                words = f"{number} patch{'es' * (number > 1)}"
                tile = _tile(network, image_CHW, corners_n2[:number], words, is_last=number == most)
                tiles.append(grid([tile, _answer(probability_K, names, label)], columns=1, margin=4))
            strips.append(captioned(grid(tiles, columns=len(tiles)), f"true class: {names[label]}"))
        words = "Patches in the order of choice. Violet: the scores of the next one, each at its centre, and the best."
        bars = "Below, the probabilities after each patch. Green: the true class."
        return captioned(grid(strips, columns=1, margin=16), words, bars)


def _tile(network: Any, image_CHW: Tensor, corners_n2: Tensor, words: str, is_last: bool = False) -> Image.Image:
    """Draw what was seen of an image; if more is to come, also the scores of the next place."""
    cutout, corners = network.cutout, corners_n2.tolist()
    scores_of = None if is_last else getattr(cutout, "next_scores", None)
    scores_RX = None if scores_of is None else scores_of(image_CHW, corners_n2)
    picture = seen_part(image_CHW, corners, cutout.size, SIDE, scores_RX)
    boxes = [(str(number), corner) for number, corner in enumerate(corners, 1)]
    number_boxes(picture, boxes, cutout.size, image_CHW.shape[1:])
    return captioned(picture, words)


def _answer(probability_K: Tensor, names: list[str], label: int) -> Image.Image:
    """Draw the likeliest classes and their probabilities, each on a bar as long; that of the true class is green."""
    line = TEXT + 5
    sheet = Image.new("RGB", (SIDE, line * CLASSES), WHITE)
    pen = ImageDraw.Draw(sheet)
    value_K, class_K = probability_K.topk(min(CLASSES, len(probability_K)))
    for row, (value, k) in enumerate(zip(value_K.tolist(), class_K.tolist(), strict=True)):
        top, middle = row * line, (row + 0.5) * line - 1
        pen.rectangle((0, top, round(value * (SIDE - 1)), top + line - 3), fill=TRUE if k == label else OTHER)
        write(pen, (3, middle), shortened(names[k], SIDE - 45, TEXT - 2), TEXT - 2)
        write(pen, (SIDE - 2, middle), f"{value:.2f}", TEXT - 2, align="right")
    return sheet
