"""The two simplest embeddings of elements, vectors or patches: the numbers themselves, and one linear layer of them."""

# N elements in all, F numbers of an element, C channels, p side of a patch, D features

from torch import nn


def flat_size(channels: int | None, patch_size: int | None, features: int | None) -> int:
    """Return how many numbers an element holds: `features` of a vector, C * p * p of a patch.

    Raises ValueError for an element that is neither or both.
    """
    if features is not None and channels is None and patch_size is None:
        return features
    if features is None and channels is not None and patch_size is not None:
        return channels * patch_size**2
    raise ValueError(
        f"{channels=}, {patch_size=}, {features=}: give channels and patch_size of patches, or features of vectors"
    )


class IdentityEmbed(nn.Flatten):
    """The numbers of an element as they are: vectors [N, F] -> [N, F], patches [N, C, p, p] -> [N, C * p * p].

    Raises ValueError for an element that is neither a vector nor a patch, or both.
    """

    def __init__(self, channels: int | None = None, patch_size: int | None = None, features: int | None = None) -> None:
        super().__init__()
        self.out_features = flat_size(channels, patch_size, features)


class LinearEmbed(nn.Sequential):
    """W x_i + b of the numbers of an element: vectors [N, F] or patches [N, C, p, p] -> [N, width].

    For patches it is the embedding of the Vision Transformer: Dosovitskiy et al. 2021, arXiv:2010.11929, eq. 1. Raises
    ValueError for a width below 1, and for an element that is neither a vector nor a patch, or both.
    """

    def __init__(
        self, width: int, channels: int | None = None, patch_size: int | None = None, features: int | None = None
    ) -> None:
        if width < 1:
            raise ValueError(f"{width=}: choose >= 1")
        super().__init__(nn.Flatten(), nn.Linear(flat_size(channels, patch_size, features), width))
        self.out_features = width
