"""Figure of the test items with the largest loss: often their targets are incorrect, or they show something else."""

from dataclasses import dataclass
from typing import Any

import torch
from PIL.Image import Image
from pytorch_lightning import Callback, LightningModule, Trainer
from torch import Tensor
from torch.nn import functional

from figure.answers import describe_labels, describe_values, predictions_of
from figure.item_picture import Limits, drawn_item, is_set, limits_of
from figure.picture import (
    SIDE,
    WarnOnFailure,
    captioned,
    class_name,
    drawn,
    grid,
    has_picture_logger,
    log_picture,
    outlined,
)
from process.ranks import gather_from_ranks
from set_module.lazy_images import LazyImages
from set_module.set_network import cuts_images

WITH_OUTLINES = 16  # largest number of patches that are outlined


@dataclass
class Case:
    """Tested image, bag or set of vectors, on the CPU: its loss, its target, and what is predicted.

    An image that is read patch by patch is LazyImages of one.
    Predictions are logits of classes [K], probabilities of labels [K], or values.
    """

    loss: float
    image: Any
    index: int
    target: Tensor
    predicted: Tensor


class WorstImages(Callback):
    """Figure of the `count` test items of largest loss over all ranks, whatever the training loss is.

    The loss is the cross entropy of a class, the mean binary cross entropy of labels, the mean absolute error of
    values. Keeps no more than `count` in memory. Raises ValueError for a count below 1.
    """

    needs = (("test_logits", "test_values", "test_labels"),)

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
                self.cases = worst(self.cases + cases_of(pl_module, logits, batch, self.count), self.count)

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not self.wanted:
            return
        every = gather_from_ranks(None if self.drawing.failed else self.cases, trainer.world_size)
        self.cases = []
        if trainer.is_global_zero and None not in every and any(every):
            with self.drawing:
                cases = worst([case for cases_of_rank in every for case in cases_of_rank], self.count)
                limits = common_limits(cases)
                tiles = [tile(trainer, pl_module, case, limits) for case in cases]
                log_picture(trainer, "pictures/worst_images", grid(tiles, columns=4))


def cases_of(pl_module: LightningModule, outputs_BK: Tensor, batch: Any, count: int) -> list[Case]:
    """Return the `count` cases of largest loss of a batch."""
    images_BCHW, targets, index_B = batch
    predictions = outputs_BK.float() if hasattr(pl_module, "test_logits") else predictions_of(pl_module, outputs_BK)
    loss_B = losses_of(pl_module, outputs_BK, predictions, targets)
    loss_k, number_k = loss_B.nan_to_num(nan=torch.inf, posinf=torch.inf).topk(min(count, len(loss_B)))
    target_k, predicted_k = targets[number_k].cpu(), predictions[number_k].cpu()
    columns = number_k.tolist(), loss_k.tolist(), index_B[number_k].tolist(), target_k, predicted_k
    return [
        Case(loss, kept(images_BCHW, number), index, target, predicted)
        for number, loss, index, target, predicted in zip(*columns, strict=True)
    ]


def kept(images: Any, number: int) -> Any:
    """Return one item on the CPU, which does not keep the batch in memory."""
    if isinstance(images, LazyImages):
        return images[[number]].to("cpu")
    return images[number].detach().to("cpu", copy=True)


def losses_of(pl_module: LightningModule, outputs_BK: Tensor, predictions: Tensor, targets: Tensor) -> Tensor:
    """Return the loss of each item, [B]."""
    if hasattr(pl_module, "test_logits"):
        return functional.cross_entropy(predictions, targets, reduction="none")
    if hasattr(pl_module, "test_labels"):
        loss_BK = functional.binary_cross_entropy_with_logits(outputs_BK.float(), targets.float(), reduction="none")
        return loss_BK.mean(1)
    return (predictions - targets).abs().reshape(len(targets), -1).mean(1)


def worst(cases: list[Case], count: int) -> list[Case]:
    return sorted(cases, key=lambda case: (-case.loss, case.index))[:count]


def common_limits(cases: list[Case]) -> Limits | None:
    """Return the limits between which all sets of vectors are drawn; None for images."""
    items = [case.image for case in cases]
    return limits_of(torch.cat(items)) if isinstance(items[0], Tensor) and items[0].ndim == 2 else None


def tile(trainer: Trainer, pl_module: LightningModule, case: Case, limits: Limits | None = None) -> Image:
    return captioned(*picture_of(pl_module, case, limits), *words_of(trainer, pl_module, case), width=SIDE)


def words_of(trainer: Trainer, pl_module: LightningModule, case: Case) -> tuple[str, str]:
    """Return two lines: what is true, and what is predicted."""
    if hasattr(pl_module, "test_labels"):
        chosen = describe_labels(trainer, case.predicted > 0.5)
        return f"true: {describe_labels(trainer, case.target > 0.5)}", f"predicted: {chosen}"
    if hasattr(pl_module, "test_values"):
        return f"true: {describe_values(case.target)}", f"predicted: {describe_values(case.predicted)}"
    probability_K, label = case.predicted.softmax(0), int(case.target)
    predicted = int(probability_K.argmax())
    return (
        f"{float(probability_K[label]):.3f} true: {class_name(trainer, label)}",
        f"{float(probability_K[predicted]):.3f} predicted: {class_name(trainer, predicted)}",
    )


def picture_of(pl_module: LightningModule, case: Case, limits: Limits | None = None) -> tuple[Image, str]:
    """Draw an image, with outlines of its patches if they are few; return the picture and a caption with its number."""
    lazy = isinstance(case.image, LazyImages)
    if not lazy and is_set(case.image):
        kind = "bag" if case.image.ndim == 4 else "set"
        return drawn_item(case.image, limits=limits), f"{kind} {case.index}, {len(case.image)} elements"
    network: Any = getattr(pl_module, "network", None)
    if not cuts_images(network):
        return drawn(case.image), f"image {case.index}"
    # in evaluation mode these are the patches that were tested
    images = case.image if lazy else case.image[None]
    patches, corners = network.cut(images, torch.tensor([case.index]))
    few = corners.values if len(corners.values) <= WITH_OUTLINES else corners.values[:0]
    return outlined(images, 0, few, patches.values.shape[-1]), f"image {case.index}, {len(corners.values)} patches"
