"""The inputs of an exported network: images, or elements with a mask. Plain tensors, as other programs have no sets."""

# B images or sets, S slots for elements, C H W of an image, p side of a patch, F features of a vector

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from network.canvas import Canvas
from network.fixed_canvas import FixedCanvas
from network.fixed_patches import FixedPatches
from network.padded_patches import PaddedPatches
from network.stepwise_patches import StepwisePatches
from process.errors import UserError
from set_module.lazy_images import ImageReader, LazyImages
from set_module.set_batch import SetBatch
from set_module.set_network import (
    SetNetwork,
    draws_at_random,
    draws_patches,
    split_outputs,
    takes_bags,
    temporary_patch_num,
)


class Images:
    """Interface of images: uint8 [B, C, H, W] -> outputs [B, K], B >= 1.

    A patch network cuts the patches of the mode `patches`, see `fixed_corners`; None: as it does itself, its choice of
    places included, or `even` if it draws them. Raises a UserError for `even` if it draws no patches, and for None if
    its choice cannot be exported.
    """

    file_name = "model"
    axes: tuple[dict[int, str], ...] = ({0: "batch"},)
    names: tuple[str, ...] = ("images",)

    def __init__(self, network: Any, image_size: Sequence[int], patches: str | None) -> None:
        self.network, self.words = network, "images"
        self.module: nn.Module = network
        if isinstance(network, SetNetwork | Canvas):
            own = own_mode(network)
            if patches is None and own == "even" and not draws_at_random(network):
                raise UserError(
                    f"no file can hold how model/selection={self.network.cutout.mode} chooses its places: "
                    "patches=even, grid or all exports the network with places that are the same for all images"
                )
            patches = patches or own
            if patches == "even" and not draws_patches(network):
                raise UserError(f"patches=even: this network draws no patches, it cuts those of model/selection={own}")
            self.module = image_form(network, image_size, patches)
            self.words = f"images, {self.module.num_patches} patches of each (patches={patches})"

    def inputs(self, images_BCHW: Any) -> tuple[Tensor, ...]:
        return (images_BCHW,)

    def outputs(self, images_BCHW: Any) -> Tensor:
        """Return the outputs of the network itself, with which the file is compared."""
        if isinstance(self.module, FixedCanvas):
            return self.module.outputs(images_BCHW)
        if not isinstance(self.module, FixedPatches):
            with temporary_patch_num(self.network, getattr(self.module, "num_patches", 0)):
                return split_outputs(self.network(images_BCHW))[0]
        lengths_B = torch.full((len(images_BCHW),), self.module.num_patches)
        corners = SetBatch(self.module.corners.repeat(len(images_BCHW), 1), lengths_B)
        return self.network.read(self.network.encode(self.network.cutout.cut(images_BCHW, corners), corners))

    def compared(self, images_BCHW: Any) -> Any:
        """Return which images a file must agree on: those whose patches do not depend on how a program rounds."""
        if not isinstance(self.module, StepwisePatches):
            return slice(None)
        decided_B = self.module.is_decided(images_BCHW)
        return decided_B if decided_B.any() else slice(None)


class Patches:
    """Interface of sets: patches uint8 [B, S, C, p, p], mask bool [B, S] (true: a patch) -> logits [B, K].

    Networks with positions take the upper left corners as well, int64 [B, S, 2], (y, x); for images of any size it may
    be their share of the way to the last place, float32 in 0..1. Each set has at least one patch; B and S >= 1. The
    outputs are of all patches that are given: a masked autoencoder hides none of them.
    """

    file_name = "model_patches"

    def __init__(self, network: Any) -> None:
        self.network, self.module = network, PaddedPatches(network)
        self.names = ("patches", "mask") if network.position is None else ("patches", "mask", "corners")
        self.axes = ({0: "batch", 1: "slots"},) * len(self.names)
        self.words = ", ".join(self.names)

    def inputs(self, images_BCHW: Any) -> tuple[Tensor, ...]:
        """Return the padded patches of images, cut as the network cuts them, or of bags."""
        corners: Any
        patches, corners = self.network.cut(images_BCHW)
        if self.network.position is None or corners is None:
            return patches.pad()
        if getattr(self.network.position, "relative", False):
            corners = corners.with_values(corners.relative)
        return (*patches.pad(), corners.pad()[0])

    def outputs(self, images_BCHW: Any) -> Tensor:
        return self.network.read(self.network.encode(*self.network.cut(images_BCHW)))

    def compared(self, images_BCHW: Any) -> Any:
        return slice(None)


class Vectors:
    """Interface of sets of vectors: values float32 [B, S, F], mask bool [B, S] (true: an element) -> outputs [B, K].

    Each set has at least one element; B and S >= 1.
    """

    file_name = "model"
    axes: tuple[dict[int, str], ...] = 2 * ({0: "batch", 1: "slots"},)
    names = ("values", "mask")
    words = "values, mask"

    def __init__(self, network: Any) -> None:
        self.network, self.module = network, PaddedPatches(network)

    def inputs(self, sets: Any) -> tuple[Tensor, ...]:
        return sets.map(Tensor.float).pad()  # those of a file may be float16

    def outputs(self, sets: Any) -> Tensor:
        return split_outputs(self.network(sets))[0]

    def compared(self, sets: Any) -> Any:
        return slice(None)


class OutputAlone(nn.Module):
    """Network of images without what else it returns by name: exported files have one output."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images_BCHW: Tensor) -> Tensor:
        return split_outputs(self.network(images_BCHW))[0]


Interface = Images | Patches | Vectors
ImageForm = FixedPatches | FixedCanvas | StepwisePatches


class LazyShape(tuple[int, ...]):
    """(C, H, W) of images that are read patch by patch, so that networks of them are exported for patches alone."""


class Noise(ImageReader):
    """Reader of images of noise, which depends on the seed and the image."""

    def __init__(self, shape: Sequence[int], seed: int) -> None:
        self.channels, self.height, self.width = shape
        self.seed = seed

    def size(self, item: int) -> tuple[int, int]:
        return self.height, self.width

    def read(self, item: int, corners_n2: Tensor, size: int) -> Tensor:
        generator = torch.Generator().manual_seed(self.seed * 1000 + item)
        shape = (len(corners_n2), self.channels, size, size)
        return torch.randint(256, shape, dtype=torch.uint8, generator=generator)


def image_form(network: Any, image_size: Sequence[int], mode: str) -> ImageForm:
    """Return the form of a network that cuts patches, or pastes them, at the same places of each image.

    In the network's own mode, if that chooses step by step, it is the form that makes this choice.
    """
    if mode == network.cutout.mode and hasattr(network.cutout, "select"):
        return StepwisePatches(network)
    if isinstance(network, Canvas):
        return FixedCanvas(network, image_size, mode)
    return FixedPatches(network, image_size, mode)


def own_mode(network: Any) -> str:
    """Return the mode that cuts as the network does, its choice of places included, or `even`, which is nearly so."""
    mode = str(network.cutout.mode)
    return mode if mode in ("grid", "all", "fixed") or hasattr(network.cutout, "select") else "even"


def interfaces(network: Any, element: Sequence[int], patches: str | None) -> list[Interface]:
    """Return all interfaces that fit the network, for elements or images of the shape (F,) or (C, H, W).

    Raises a UserError for a network that weighs patches by an attention map of their image: no interface has both.
    """
    if getattr(getattr(network, "cutout", None), "mode", None) == "attention_sampling":
        raise UserError(
            "model/selection=attention_sampling weighs the patches by an attention map of the image, which no file "
            "holds: use src/predict.py, or train with model/selection=topk, whose model_patches.* is exact"
        )
    if len(element) == 1:
        return [Vectors(network)]
    if isinstance(element, LazyShape):
        return [Patches(network)]
    image_size = element[1:]
    images: list[Interface] = [] if takes_bags(network) else [Images(network, image_size, patches)]
    return [*images, Patches(network)] if isinstance(network, SetNetwork) else images


def random_input(network: Any, count: int, element: Sequence[int], seed: int) -> Tensor | SetBatch | LazyImages:
    """Return noise: uint8 images [B, C, H, W] or LazyImages; for a network of sets, 1 to 9 images or vectors each."""
    if isinstance(element, LazyShape):
        return LazyImages(Noise(element, seed), range(count))
    generator = torch.Generator().manual_seed(seed)
    is_set = takes_bags(network)
    lengths_B = torch.randint(1, 10, (count,), generator=generator) if is_set else torch.ones(count, dtype=torch.int64)
    shape = (int(lengths_B.sum()), *element)
    if len(element) == 1:
        return SetBatch(torch.randn(shape, generator=generator), lengths_B)
    images = torch.randint(256, shape, dtype=torch.uint8, generator=generator)
    return SetBatch(images, lengths_B) if is_set else images
