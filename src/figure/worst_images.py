"""Figure of the test images with the largest loss: often their labels are incorrect, or they show something else."""

from dataclasses import dataclass
from typing import Any

import torch
from PIL.Image import Image
from pytorch_lightning import Callback, LightningModule, Trainer
from torch import Tensor
from torch.nn import functional

from figure.picture import (
    SIDE,
    WarnOnFailure,
    boxed,
    captioned,
    class_name,
    drawn,
    grid,
    has_picture_logger,
    log_picture,
    mosaic,
)
from process.ranks import gather_from_ranks
from set_module.set_network import cuts_images

WITH_OUTLINES = 16  # largest number of patches that are outlined


@dataclass
class Case:
    """Tested image, or bag of images, on the CPU: loss = -log of the probability of the label."""

    loss: float
    image: Tensor
    index: int
    label: int
    predicted: int
    label_probability: float
    probability: float


class WorstImages(Callback):
    """Figure of the `count` test images of largest cross entropy over all ranks, whatever the training loss is.

    Keeps no more than `count` in memory. Raises ValueError for a count below 1.
    """

    needs = ("test_logits",)

    def __init__(self, count: int) -> None:
        if type(count) is not int or count < 1:
            raise ValueError(f"worst_images.count={count}: choose a whole number >= 1, or worst_images=null")
        self.count = count

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.wanted, self.cases = has_picture_logger(trainer), list[Case]()
        self.drawing = WarnOnFailure("picture of the worst images")

    def on_test_batch_end(self, trainer: Trainer, pl_module: LightningModule, logits: Any, batch: Any, *_: Any) -> None:
        if self.wanted:
            with self.drawing:
                self.cases = worst(self.cases + cases_of(logits, batch, self.count), self.count)

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not self.wanted:
            return
        every = gather_from_ranks(None if self.drawing.failed else self.cases, trainer.world_size)
        self.cases = []
        if trainer.is_global_zero and None not in every and any(every):
            with self.drawing:
                cases = worst([case for cases_of_rank in every for case in cases_of_rank], self.count)
                tiles = [tile(trainer, pl_module, case) for case in cases]
                log_picture(trainer, "pictures/worst_images", grid(tiles, columns=4))


def cases_of(logits_BK: Tensor, batch: Any, count: int) -> list[Case]:
    """Return the `count` cases of largest loss of a batch."""
    images_BCHW, labels_B, index_B = batch
    logits_BK = logits_BK.float()
    loss_B = functional.cross_entropy(logits_BK, labels_B, reduction="none")
    loss_k, number_k = loss_B.nan_to_num(nan=torch.inf).topk(min(count, len(labels_B)))
    probability_kK = logits_BK[number_k].softmax(1)
    label_k, predicted_k = labels_B[number_k], probability_kK.argmax(1)
    both_k2 = probability_kK.gather(1, torch.stack([label_k, predicted_k], dim=1))
    columns = loss_k, index_B[number_k], label_k, predicted_k, *both_k2.unbind(1)
    return [
        Case(loss, images_BCHW[number].detach().to("cpu", copy=True), *rest)
        for number, loss, *rest in zip(number_k.tolist(), *(column.tolist() for column in columns), strict=True)
    ]


def worst(cases: list[Case], count: int) -> list[Case]:
    return sorted(cases, key=lambda case: (-case.loss, case.index))[:count]


def tile(trainer: Trainer, pl_module: LightningModule, case: Case) -> Image:
    label, predicted = class_name(trainer, case.label), class_name(trainer, case.predicted)
    return captioned(
        *picture_of(pl_module, case),
        f"{case.label_probability:.3f} true: {label}",
        f"{case.probability:.3f} predicted: {predicted}",
        width=SIDE,
    )


def picture_of(pl_module: LightningModule, case: Case) -> tuple[Image, str]:
    """Draw an image, with outlines of its patches if they are few; return the picture and a caption with its number."""
    if case.image.ndim > 3:
        return mosaic(list(case.image)), f"bag {case.index}, {len(case.image)} elements"
    network: Any = getattr(pl_module, "network", None)
    if not cuts_images(network):
        return drawn(case.image), f"image {case.index}"
    # in evaluation mode these are the patches that were tested
    patches, corners = network.cut(case.image[None], torch.tensor([case.index]))
    few = corners.values if len(corners.values) <= WITH_OUTLINES else corners.values[:0]
    return boxed(case.image, few, patches.values.shape[-1]), f"image {case.index}, {len(corners.values)} patches"
