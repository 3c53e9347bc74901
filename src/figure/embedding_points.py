"""What a network makes of some images of a batch, or of their patches, before it names them."""

# B images, k of them, N patches in all, D features

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

LARGEST = 128  # pixels of a side: thousands of pictures are kept


@dataclass
class Point:
    """Features [D] and what they are of: uint8 [C, H, W], or of a bag [n, C, H, W]; all on the CPU."""

    features: Tensor
    label: int
    is_wrong: bool
    picture: Tensor


def points_of_images(network: Any, logits_BK: Tensor, batch: Any, numbers: list[int]) -> list[Point]:
    """What the last linear layer takes; where it takes patches one by one, the mean over those of an image."""
    images, labels_k, index_k, number_k = chosen(batch, numbers)
    features_kD = taken_by(last_linear(network), network, images, index_k)
    if len(features_kD) != len(labels_k):
        lengths_k = network.cut(images, index_k)[0].lengths
        features_kD = torch.stack([each_nD.mean(0) for each_nD in features_kD.split(lengths_k.tolist())])
    wrong_k = logits_BK[number_k].argmax(1) != labels_k
    pictures = images if isinstance(images, Tensor) else images.to_list()
    columns = zip(features_kD.cpu(), labels_k.tolist(), wrong_k.tolist(), pictures, strict=True)
    return [Point(features_D, label, wrong, small(picture)) for features_D, label, wrong, picture in columns]


def points_of_patches(network: Any, batch: Any, numbers: list[int], each: int) -> list[Point]:
    """What the pool takes: the features of the first patches of each image, after they have seen each other."""
    images, labels_k, index_k, _ = chosen(batch, numbers)
    patches, corners = network.cut(images, index_k)
    features_ND = network.encode(patches, corners).values.float().cpu()
    first_N = (patches.numbers() < each).cpu()
    label_N = labels_k[patches.index].cpu()
    columns = zip(features_ND[first_N], label_N[first_N].tolist(), patches.values.cpu()[first_N], strict=True)
    return [Point(features_D, label, False, small(patch)) for features_D, label, patch in columns]


def chosen(batch: Any, numbers: list[int]) -> tuple[Any, Tensor, Tensor, Tensor]:
    """Images (or a SetBatch of bags), labels and index of these numbers in the batch, and the numbers."""
    images_BCHW, labels_B, index_B = batch
    number_k = torch.tensor(numbers, device=labels_B.device)
    images = images_BCHW[number_k] if isinstance(images_BCHW, Tensor) else images_BCHW.select(number_k)
    return images, labels_B[number_k], index_B[number_k], number_k


def small(picture: Tensor) -> Tensor:
    """uint8 [C, H, W] or [n, C, H, W] on the CPU, no larger than it will be drawn."""
    factor = LARGEST / max(picture.shape[-2:])
    if factor >= 1:
        return picture.to("cpu", copy=True)  # of a view of a batch, the rest is not kept
    pixels = picture.float().view(-1, *picture.shape[-3:])
    size = [max(1, round(factor * length)) for length in picture.shape[-2:]]
    smaller = functional.interpolate(pixels, size, mode="area").round().to("cpu", torch.uint8)
    return smaller.view(*picture.shape[:-2], *size)


def last_linear(network: nn.Module) -> nn.Linear:
    """Of the head, where there is one. Raises ValueError where there is none: nothing tells features from logits."""
    layers = [part for part in getattr(network, "head", network).modules() if isinstance(part, nn.Linear)]
    if not layers:
        raise ValueError("the network has no linear layer at its end")
    return layers[-1]


def taken_by(layer: nn.Module, network: nn.Module, *inputs: Any) -> Tensor:
    """What the layer gets while `network(*inputs)` runs."""
    taken: list[Tensor] = []
    handle = layer.register_forward_pre_hook(lambda _, arguments: taken.append(arguments[0]))
    try:
        network(*inputs)
    finally:
        handle.remove()
    return taken[-1].detach().float()
