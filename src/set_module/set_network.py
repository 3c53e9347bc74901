"""The interface of networks of sets, by which all packages distinguish networks of patches, bags and whole images."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from torch import Tensor, nn

from set_module.patch_cutout import PatchCutout
from set_module.set_batch import SetBatch


@runtime_checkable
class SetNetwork(Protocol):
    """Network whose input is a set: output = read(encode(*cut(inputs, index))), [B, K].

    Called, it returns the output, or a dictionary of `output` and what else it knows. `cutout` cuts patches out of
    images; it is None where the data are sets already. `position` embeds the corners of patches and `encoder` relates
    the elements to each other, or they are None. A network whose number of patches may be chosen has `patch_num` as
    well, and may have `max_patch_num` and `logits_at`.
    """

    if TYPE_CHECKING:  # hidden from isinstance, which from Python 3.12 on finds no submodule of an nn.Module
        cutout: PatchCutout | None
        position: nn.Module | None
        encoder: nn.Module | None

    def cut(self, inputs: Tensor | SetBatch, index_B: Tensor | None = None) -> tuple[SetBatch, SetBatch | None]:
        """Return the patches and their corners; sets stay as they are and have no corners."""
        ...

    def encode(self, patches: SetBatch, corners: SetBatch | None = None) -> SetBatch:
        """Return the features of the elements."""
        ...

    def read(self, features: SetBatch) -> Tensor:
        """Return the output [B, K] of the features."""
        ...


def cuts_images(network: object) -> bool:
    """Return whether a network cuts patches out of images."""
    return isinstance(network, SetNetwork) and network.cutout is not None


def sees_patches(network: Any) -> bool:
    """Return whether a network cuts patches out of images, or pastes them into a canvas."""
    return cuts_images(network) or (hasattr(network, "paint") and network.cutout is not None)


def takes_bags(network: object) -> bool:
    """Return whether a network takes bags only, no images."""
    return isinstance(network, SetNetwork) and network.cutout is None


def draws_patches(network: object) -> bool:
    """Return whether the number of patches may be chosen, by setting `patch_num`."""
    return hasattr(network, "patch_num")


def draws_at_random(network: Any) -> bool:
    """Return whether the number of patches may be chosen, and their places are drawn: each draw has others."""
    return draws_patches(network) and getattr(getattr(network, "cutout", None), "mode", "random") == "random"


def looks_in_order(network: Any) -> bool:
    """Return whether the number of patches may be chosen, and fewer of them are the first ones of a learned order."""
    return draws_patches(network) and not draws_at_random(network)


def outputs_at(network: Any, images_BCHW: Tensor, corners: SetBatch) -> Tensor:
    """Return the outputs [B, K] of a network that cuts or pastes patches, for those at these corners."""
    if isinstance(network, SetNetwork):
        assert network.cutout is not None
        return network.read(network.encode(network.cutout.cut(images_BCHW, corners), corners))
    outputs_BK: Tensor = network.read(images_BCHW, corners)
    return outputs_BK


def patch_num_range(network: Any) -> tuple[int, int]:
    """Return the smallest and the largest number of patches that a network draws."""
    number = network.patch_num
    return (number, number) if isinstance(number, int) else tuple(number)


def patch_num_limit(network: Any) -> int | None:
    """Return the number of places if patches are drawn without replacement; else None, which is no limit."""
    limit: int | None = getattr(network, "max_patch_num", None)
    return limit


def logits_at(network: Any, images_BCHW: Any, index_B: Tensor | None, numbers: Sequence[int]) -> dict[int, Tensor]:
    """Return {n: logits [B, K] of n patches of each image}; a network's own `logits_at` embeds each patch once."""
    if not numbers:
        return {}
    if hasattr(network, "logits_at"):
        found: dict[int, Tensor] = network.logits_at(images_BCHW, index_B, numbers)
        return found
    found = {}
    for number in numbers:
        with temporary_patch_num(network, number):
            found[number] = split_outputs(network(images_BCHW, index_B))[0]
    return found


@contextmanager
def temporary_patch_num(network: Any, number: int) -> Iterator[None]:
    """Let a network draw `number` patches, or as many as there are places; restore its own number at the end.

    It has no effect on networks whose number of patches is fixed.
    """
    if not draws_patches(network):
        yield
        return
    before = network.patch_num
    network.patch_num = min(number, patch_num_limit(network) or number)
    try:
        yield
    finally:
        network.patch_num = before


def split_outputs(outputs: Any) -> tuple[Tensor, Mapping[str, Any]]:
    """Return the outputs [B, K] of a network, and what else it has returned if that is a dictionary with `output`."""
    if isinstance(outputs, Mapping):
        return outputs["output"], outputs
    return outputs, {}
