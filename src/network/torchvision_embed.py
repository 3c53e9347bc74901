"""Embedding of patches by a network of torchvision, such as one that was trained on ImageNet."""

from typing import Any

from torch import nn

from network.pretrained_embed import (
    OWN,
    PretrainedEmbed,
    check_channels,
    load_weights,
    unavailable,
    unknown_name,
    weights_in,
)


class TorchvisionEmbed(PretrainedEmbed):
    """A classifier of torchvision without its last linear layer, see PretrainedEmbed.

    Mean and std are those with which torchvision trained the network. Raises ValueError for a name that torchvision
    does not know, a network without a linear last layer, and a size that it does not take; UserError for weights that
    cannot be had.

    Args:
        name: as torchvision.models.list_models gives it, such as resnet18.
        weights: a file of its state dict, whose last layer is not used, or `default`: torchvision's, from the cache of
            torch, downloaded if they are not there; None: random weights.
        resize: side in pixels to which patches are stretched, `default`: that of the training; None: they keep theirs.
        frozen: whether its weights stay as they are.
    """

    def __init__(
        self,
        channels: int,
        patch_size: int,
        name: str,
        weights: str | None = None,
        resize: int | str | None = None,
        frozen: bool = True,
    ) -> None:
        check_channels(channels, "torchvision")
        from torchvision import models

        known = models.list_models(module=models)
        if name not in known:
            raise unknown_name(name, "torchvision", known)
        default: Any = models.get_model_weights(name).DEFAULT  # type: ignore[attr-defined]
        trunk = models.get_model(name, weights=None)
        linear = [part for part, module in trunk.named_modules() if isinstance(module, nn.Linear)]
        if not linear or hasattr(trunk, "aux_logits"):
            raise ValueError(f"{name=} has no linear last layer, or several: choose another one, such as resnet18")
        last = linear[-1]
        if weights is not None:
            found = _downloaded(default) if weights == OWN else weights_in(weights)
            load_weights(trunk, found, name, weights, without=[last])
        trunk.set_submodule(last, nn.Identity())
        transforms = default.transforms()
        super().__init__(
            trunk,
            channels=channels,
            patch_size=patch_size,
            name=name,
            mean=transforms.mean,
            std=transforms.std,
            own_size=transforms.crop_size[0],
            interpolation="bilinear",
            resize=resize,
            frozen=frozen,
        )


def _downloaded(default: Any) -> Any:
    try:
        return default.get_state_dict(progress=False, check_hash=True)
    except (OSError, RuntimeError) as error:  # URLError is an OSError; of a damaged file, RuntimeError
        raise unavailable(error, default.url) from error
