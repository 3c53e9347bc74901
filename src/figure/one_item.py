"""One image, or one bag of them, out of a batch, for pictures of what a network does with it."""

from typing import Any

import torch
from torch import Tensor

from set_module.set_network import SetNetwork


def item(batch: Any, number: int) -> tuple[Any, Tensor]:
    """The images [1, C, H, W] or a SetBatch of one bag, and the index [1]; the batch is not kept."""
    images_BCHW, _, index_B = batch
    if isinstance(images_BCHW, Tensor):
        images_1CHW: Any = images_BCHW[number : number + 1].clone()
    else:
        images_1CHW = images_BCHW.select(torch.tensor([number], device=index_B.device))
    return images_1CHW, index_B[number : number + 1].clone()


def in_words(network: Any, images_1CHW: Any, index_1: Tensor) -> str:
    """`an image of 1 x 28 x 28, 64 patches of 15 x 15`, `a bag of 9 elements of 1 x 28 x 28`."""
    if not isinstance(images_1CHW, Tensor):
        return f"a bag of {len(images_1CHW.values)} elements of {by(images_1CHW.values.shape[1:])}"
    words = f"an image of {by(images_1CHW.shape[1:])}"
    if not isinstance(network, SetNetwork):
        return words
    patches = network.cut(images_1CHW, index_1)[0].values
    return f"{words}, {len(patches)} patch{'es' * (len(patches) != 1)} of {by(patches.shape[2:])}"


def by(shape: Any) -> str:
    return " x ".join(map(str, shape))
