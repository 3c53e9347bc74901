"""Embedding of patches by a network of torchvision, such as one that was trained on ImageNet."""

# N patches in all, C channels, p side of a patch, D features

import difflib
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from process.errors import UserError, first_line


class TorchvisionEmbed(nn.Module):
    """A classifier of torchvision without its last linear layer: [N, C, p, p] of pixels in 0..1 -> [N, D].

    A grey patch becomes three equal channels. Mean and std are those with which torchvision trained the network, so
    the ones of the data are not used. Raises ValueError for a name that torchvision does not know, a network without a
    linear last layer, and a size that it does not take; UserError for weights that cannot be had.

    Args:
        name: as torchvision.models.list_models gives it, such as resnet18.
        weights: a file of its state dict, whose last layer is not used, or `default`: torchvision's, from the cache of
            torch, downloaded if they are not there; None: random weights.
        resize: side in pixels to which patches are stretched; None: they keep theirs.
        frozen: whether its weights stay as they are; batch normalisation and dropout then are in evaluation mode.
    """

    takes_pixels = True  # in 0..1: it normalises them itself
    mean: Tensor  # [C, 1, 1]
    std: Tensor

    def __init__(
        self,
        channels: int,
        patch_size: int,
        name: str,
        weights: str | None = None,
        resize: int | None = None,
        frozen: bool = True,
    ) -> None:
        super().__init__()
        if channels not in (1, 3):
            raise ValueError(f"{channels=}: networks of torchvision take 1 (grey) or 3 (RGB)")
        from torchvision import models

        known = models.list_models(module=models)
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            raise ValueError(f"torchvision has no {name=}: choose {close[0] if close else 'resnet18'}, or another one")
        default: Any = models.get_model_weights(name).DEFAULT  # type: ignore[attr-defined]
        self.trunk = models.get_model(name, weights=None)
        linear = [part for part, module in self.trunk.named_modules() if isinstance(module, nn.Linear)]
        if not linear or hasattr(self.trunk, "aux_logits"):
            raise ValueError(f"{name=} has no linear last layer, or several: choose another one, such as resnet18")
        last = linear[-1]
        if weights is not None:
            _load(self.trunk, _downloaded(default) if weights == "default" else _from_file(weights), name, weights)
        self.out_features = self.trunk.get_submodule(last).in_features
        self.trunk.set_submodule(last, nn.Identity())
        self.resize, self.frozen = resize, frozen
        transforms = default.transforms()
        self.register_buffer("mean", torch.tensor(transforms.mean).view(-1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(transforms.std).view(-1, 1, 1), persistent=False)
        if frozen:
            self.trunk.requires_grad_(False)
        self._try(name, channels, patch_size)
        self.train()

    def _try(self, name: str, channels: int, patch_size: int) -> None:
        try:
            with torch.no_grad():
                self.eval()(torch.zeros(1, channels, patch_size, patch_size))
        except (AssertionError, RuntimeError, ValueError) as error:
            side = self.resize or patch_size
            raise ValueError(
                f"{name} takes no patches of {side} pixels ({first_line(error)}): set resize=224"
            ) from error

    def train(self, mode: bool = True) -> "TorchvisionEmbed":
        super().train(mode)
        if self.frozen:
            self.trunk.eval()
        return self

    def forward(self, patches_NCpp: Tensor) -> Tensor:
        if self.resize is not None:
            size = self.resize, self.resize
            patches_NCpp = interpolate(patches_NCpp, size, mode="bilinear", antialias=True, align_corners=False)
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            features_ND: Tensor = self.trunk((patches_NCpp.expand(-1, 3, -1, -1) - self.mean) / self.std)
        return features_ND


def _downloaded(default: Any) -> Any:
    try:
        return default.get_state_dict(progress=False, check_hash=True)
    except (OSError, RuntimeError) as error:  # URLError is an OSError; of a damaged file, RuntimeError
        raise UserError(
            f"weights=default: they cannot be had here ({first_line(error)}): download {default.url} elsewhere, and "
            "set weights=PATH"
        ) from error


def _from_file(path: str) -> Any:
    try:
        found = torch.load(Path(path).expanduser(), map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises OSError, UnpicklingError, RuntimeError, EOFError, ...
        reason = getattr(error, "strerror", None) or "it is no file of tensors, as torch.save writes a state dict"
        raise UserError(f"weights={path}: {reason}: name a file of weights, or weights=default") from error
    return found.get("state_dict", found) if isinstance(found, dict) else found


def _load(trunk: nn.Module, weights: Any, name: str, source: str) -> None:
    """Load all weights but those of the last layer, which may be that of other classes."""
    own = trunk.state_dict()
    last = [part for part, module in trunk.named_modules() if isinstance(module, nn.Linear)][-1]
    needed = {key for key in own if not key.startswith(f"{last}.")}
    given = weights if isinstance(weights, dict) else {}
    fits = {key for key in needed & given.keys() if getattr(given[key], "shape", None) == own[key].shape}
    if missing := sorted(needed - fits - {key for key in needed if key.endswith("num_batches_tracked")}):
        raise UserError(
            f"weights={source}: no weights of {name}: {len(missing):,} of {len(needed):,} are missing or of another "
            f"shape, such as {missing[0]}"
        )
    trunk.load_state_dict({key: given[key] for key in fits}, strict=False)
