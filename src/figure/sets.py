"""Which networks are of sets, and of how many patches: what pictures of them depend on."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from pytorch_lightning import LightningModule


def is_patch_network(pl_module: LightningModule) -> bool:
    """Whether its network cuts the images that it gets."""
    return getattr(getattr(pl_module, "network", None), "cutout", None) is not None


def cuts_or_takes_sets(network: Any) -> bool:
    """Whether it is one of sets: of patches, which it cuts, or of the elements of bags."""
    return hasattr(network, "cut") and hasattr(network, "encode")


@contextmanager
def more_patches(network: Any, number: int) -> Iterator[None]:
    """As many patches as there can be, up to a number; afterwards as many as before."""
    if not hasattr(network, "patch_num"):
        yield
        return
    before = network.patch_num
    network.patch_num = min(number, network.max_patch_num or number)
    try:
        yield
    finally:
        network.patch_num = before
