"""Embedding of patches by a network of torchvision, such as one that was trained on ImageNet."""

from typing import Any

from torch import nn

from network.pretrained_embed import (
    OWN,
    PretrainedEmbed,
    Training,
    load_weights,
    unavailable,
    unknown_name,
    weights_in,
)


class TorchvisionEmbed(PretrainedEmbed):
    """A classifier of torchvision without its last linear layer, see PretrainedEmbed.

    Mean, std and size are those with which torchvision trained the network. `name` is as torchvision.models.list_models
    gives it, such as resnet18. Raises ValueError for a network without a linear last layer.
    """

    library = "torchvision"

    def opened(self, name: str, weights: str | None) -> tuple[nn.Module, Training]:
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
        return trunk, Training(transforms.mean, transforms.std, transforms.crop_size[0])


def _downloaded(default: Any) -> Any:
    try:
        return default.get_state_dict(progress=False, check_hash=True)
    except (OSError, RuntimeError) as error:  # URLError is an OSError; of a damaged file, RuntimeError
        raise unavailable(error, default.url) from error
