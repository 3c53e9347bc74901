"""A network of torchvision or timm by its name, as an embedding alone: for embed.py without a run."""

import torch
from torch import nn

from network.normalize import Normalize
from network.timm_embed import TimmEmbed
from network.torchvision_embed import TorchvisionEmbed

LIBRARIES = {"torchvision": TorchvisionEmbed, "timm": TimmEmbed}


class NamedEmbed(nn.Module):
    """Network that is its embedding, `embed`: uint8 [N, C, p, p] -> [N, D], as that of networks of sets.

    Random weights are a function of the seed. The other arguments and errors are those of PretrainedEmbed.
    """

    def __init__(
        self,
        library: str,
        name: str,
        weights: str | None,
        resize: int | str | None,
        channels: int,
        patch_size: int,
        seed: int,
    ) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            embedding = LIBRARIES[library](channels, patch_size, name, weights, resize)
        self.embed = nn.Sequential(Normalize([0.0], [1.0], channels), embedding)
