"""Figure of the evidence for and against the predicted class, pixel by pixel, in test images."""

from typing import Any

from PIL.Image import Image
from pytorch_lightning import Trainer
from torch import Tensor, inf

from figure.picture import captioned, class_name, drawn, grid, tinted
from figure.sampled_images import SampledImages
from set_module.set_network import cuts_images, split_outputs, temporary_patch_num


class Evidence(SampledImages):
    """Figure of the evidence in `count` images from the whole test set, defined by `PatchNetwork.evidence`.

    Each image is covered with `patches` patches, or fewer if it has fewer places. Networks that do not cut patches out
    of images get no figure. Raises ValueError for numbers below 1.
    """

    name = "evidence"

    def __init__(self, count: int, patches: int) -> None:
        super().__init__(count)
        if patches < 1:
            raise ValueError(f"evidence.patches={patches}: choose >= 1, or evidence=null")
        self.patches = patches

    def suits(self, network: Any) -> bool:
        return cuts_images(network)

    def draw(self, trainer: Trainer, network: Any, images_BCHW: Tensor, labels_B: Tensor, index_B: Tensor) -> Image:
        with temporary_patch_num(network, self.patches):
            probability_BK = split_outputs(network(images_BCHW, index_B))[0].float().softmax(1)
            probability_B, predicted_B = probability_BK.max(1)
            maps_BHW = network.evidence(images_BCHW, index_B, predicted_B)
        rows = zip(images_BCHW, maps_BHW, labels_B.tolist(), predicted_B.tolist(), probability_B.tolist(), strict=True)
        tiles = [
            captioned(
                grid([drawn(image_CHW), overlaid(image_CHW, map_HW)], columns=2),
                f"{probability:.3f} predicted: {class_name(trainer, predicted)}",
                f"true: {class_name(trainer, label)}",
            )
            for image_CHW, map_HW, label, predicted, probability in rows
        ]
        text = "Red: speaks for the predicted class, or has weight. Blue: speaks against it."
        return captioned(grid(tiles, columns=2), text)


def overlaid(image_CHW: Tensor, map_HW: Tensor) -> Image:
    """Draw a map as `tinted` does; one of positive values only (weights) starts at its smallest value instead of 0."""
    return tinted(image_CHW, map_HW - map_HW.nan_to_num(nan=inf).min().clamp(min=0))
