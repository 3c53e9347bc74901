"""The network this repository is about: it names an image by a set of its patches, any number, any order."""

# B images, C H W of an image, D features, K classes

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor, nn

from network.mlp import MLP
from network.normalize import Normalize
from set_module.patch_cutout import PatchCutout
from set_module.set_sequential import SetSequential


class PatchSet(nn.Module):
    """y = head(pool({embed(x_i)})), x_i patches cut at random from the image.

    Zaheer et al. 2017, "Deep Sets", arXiv:1703.06114. embed(channels=C, patch_size=p) makes a module
    [N, C, p, p] -> [N, D], pool(in_features=D) one SetBatch of [N, D] -> [B, P]; both have `out_features`.
    uint8 [B, C, H, W] -> [B, K]. Raises ValueError for a patch larger than the image and impossible counts.
    """

    def __init__(
        self,
        channels: int,
        image_size: Sequence[int],
        num_classes: int,
        mean: Sequence[float],
        std: Sequence[float],
        patch_size: int,
        patch_num_min: int,
        patch_num_max: int,
        seed: int,
        embed: Callable[..., Any],
        pool: Callable[..., Any],
        hidden: Sequence[int] = (256,),
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        for name, length in zip(("height", "width"), image_size, strict=True):
            if patch_size > length:
                raise ValueError(f"{patch_size=} exceeds the image {name} {length}: choose <= {length}")
        self.cutout = PatchCutout(patch_size, (patch_num_min, patch_num_max), seed)
        embedding = embed(channels=channels, patch_size=patch_size)
        self.embed = SetSequential(Normalize(mean, std, channels), embedding)
        self.pool = pooling = pool(in_features=embedding.out_features)
        mlp = MLP(pooling.out_features, hidden)
        self.head = nn.Sequential(mlp, nn.Dropout(dropout), nn.Linear(mlp.out_features, num_classes))

    @property
    def patch_num(self) -> tuple[int, int]:
        """The smallest and the largest number of patches; set it to a number or a pair."""
        return self.cutout.count

    @patch_num.setter
    def patch_num(self, count: int | Sequence[int]) -> None:
        self.cutout.count = count

    def forward(self, images_BCHW: Tensor, index_B: Tensor | None = None) -> Tensor:
        return self.head(self.pool(self.embed(self.cutout(images_BCHW, index_B))))
