"""Embedding of patches by a network of a library, such as one that was trained on ImageNet: what all of them share."""

# N patches in all, C channels, p side of a patch, D features

import difflib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from process.errors import UserError, first_line

OWN = "default"  # of weights and of resize: what the library itself says


@dataclass(frozen=True)
class Training:
    """Facts of a network's training: mean and std of each channel of pixels in 0..1, side in pixels, interpolation."""

    mean: Sequence[float]
    std: Sequence[float]
    side: int
    interpolation: str = "bilinear"  # or bicubic


class PretrainedEmbed(nn.Module, ABC):
    """Network of a library without its last linear layer: [N, C, p, p] of pixels in 0..1 -> [N, D].

    A grey patch becomes three equal channels. Mean and std are those with which the network was trained, so the ones
    of the data are not used. Raises ValueError for a name that the library does not know, for a size that the network
    does not take, and for one that gives maps; UserError for weights that cannot be had. A subclass defines `opened`.

    Args:
        channels: C, 1 or 3.
        name: of the network, as the library gives it.
        weights: a file of its state dict, whose last layer is not used, or `default`: the library's, from its cache,
            downloaded if they are not there; None: random weights.
        resize: side in pixels to which patches are stretched, `default`: that of the training; None: they keep theirs.
        frozen: whether its weights stay as they are; batch normalisation and dropout then are in evaluation mode.
    """

    takes_pixels = True  # in 0..1: it normalises them itself
    mean: Tensor  # [C, 1, 1]
    std: Tensor
    library: str

    def __init__(
        self,
        channels: int,
        patch_size: int,
        name: str,
        weights: str | None = None,
        resize: int | str | None = None,
        frozen: bool = True,
    ) -> None:
        super().__init__()
        if channels not in (1, 3):
            raise ValueError(f"{channels=}: networks of {self.library} take 1 (grey) or 3 (RGB)")
        trunk, training = self.opened(name, weights)
        if resize is not None and resize != OWN and not (type(resize) is int and resize > 0):
            raise ValueError(f"{resize=}: choose a number of pixels, {OWN}, which is {training.side}, or null")
        self.trunk, self.frozen, self.interpolation = trunk, frozen, training.interpolation
        self.resize = training.side if resize == OWN else resize
        self.register_buffer("mean", torch.tensor(training.mean).view(-1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(training.std).view(-1, 1, 1), persistent=False)
        if frozen:
            self.trunk.requires_grad_(False)
        self.out_features = self._width(name, channels, patch_size, training.side)
        self.train()

    @abstractmethod
    def opened(self, name: str, weights: str | None) -> tuple[nn.Module, Training]:
        """Return the network without its last linear layer, [N, 3, p, p] -> [N, D], and how it was trained."""

    def _width(self, name: str, channels: int, patch_size: int, own_size: int) -> int:
        """Return D, of a patch that the network embeds."""
        try:
            with torch.no_grad():
                features_1D = self.eval()(torch.zeros(1, channels, patch_size, patch_size))
        except (AssertionError, RuntimeError, ValueError) as error:
            side = self.resize or patch_size
            raise ValueError(
                f"{name} takes no patches of {side} pixels ({first_line(error)}): set resize={own_size}"
            ) from error
        if features_1D.ndim != 2:
            raise ValueError(
                f"{name=} gives {list(features_1D.shape)}, no vector: choose another one, such as resnet18"
            )
        return int(features_1D.shape[1])

    def train(self, mode: bool = True) -> "PretrainedEmbed":
        super().train(mode)
        if self.frozen:
            self.trunk.eval()
        return self

    def forward(self, patches_NCpp: Tensor) -> Tensor:
        if self.resize is not None and patches_NCpp.shape[-1] != self.resize:
            size: Any = (self.resize, self.resize)
            patches_NCpp = interpolate(patches_NCpp, size, mode=self.interpolation, antialias=True, align_corners=False)
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            features_ND: Tensor = self.trunk((patches_NCpp.expand(-1, 3, -1, -1) - self.mean) / self.std)
        return features_ND


def unknown_name(name: str, library: str, known: Sequence[str]) -> ValueError:
    """Return the error for a network that the library does not have."""
    close = difflib.get_close_matches(name, known, n=1)
    return ValueError(f"{library} has no {name=}: choose {close[0] if close else 'resnet18'}, or another one")


def unavailable(error: Exception, address: str) -> UserError:
    """Return the error for weights that cannot be downloaded."""
    return UserError(
        f"weights=default: they cannot be had here ({first_line(error)}): download {address} elsewhere, and set "
        "weights=PATH"
    )


def weights_in(path: str) -> Any:
    """Return the tensors in a file of torch.save, or of safetensors. Raises UserError."""
    try:
        if path.endswith(".safetensors"):
            from safetensors.torch import load_file

            return load_file(Path(path).expanduser())
        found = torch.load(Path(path).expanduser(), map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises OSError, UnpicklingError, RuntimeError, EOFError, ...
        reason = getattr(error, "strerror", None) or "it is no file of tensors, as torch.save writes a state dict"
        raise UserError(f"weights={path}: {reason}: name a file of weights, or weights=default") from error
    return found.get("state_dict", found) if isinstance(found, dict) else found


def load_weights(trunk: nn.Module, weights: Any, name: str, source: str, without: Iterable[str] = ()) -> None:
    """Load all weights of the trunk but those of the modules `without`, which may be those of other classes."""
    own = trunk.state_dict()
    needed = {key for key in own if not any(key.startswith(f"{part}.") for part in without)}
    given = weights if isinstance(weights, dict) else {}
    fits = {key for key in needed & given.keys() if getattr(given[key], "shape", None) == own[key].shape}
    if missing := sorted(needed - fits - {key for key in needed if key.endswith("num_batches_tracked")}):
        raise UserError(
            f"weights={source}: no weights of {name}: {len(missing):,} of {len(needed):,} are missing or of another "
            f"shape, such as {missing[0]}"
        )
    trunk.load_state_dict({key: given[key] for key in fits}, strict=False)
