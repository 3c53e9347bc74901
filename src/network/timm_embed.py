"""Embedding of patches by a network of timm (Wightman 2019), such as one that was trained on ImageNet."""

import logging
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
from process.errors import UserError

log = logging.getLogger(__name__)


class TimmEmbed(PretrainedEmbed):
    """A network of timm without its classifier, see PretrainedEmbed.

    Mean, std, interpolation and input size are those of timm's own data configuration. `name` is as timm.list_models
    gives it, such as resnet18 or resnet18.a1_in1k: a network, or one of its trainings. `weights` may be a file of
    safetensors; timm's own are in the cache of Hugging Face. Raises UserError where timm is not installed.
    """

    library = "timm"

    def opened(self, name: str, weights: str | None) -> tuple[nn.Module, Training]:
        try:
            import timm
        except ImportError as error:
            raise UserError("timm is not installed, which model/embed=timm needs: uv pip install timm") from error
        # other names, such as hf-hub:NAME and local-dir:PATH, would read what a stranger's config names
        if not timm.is_model(name):
            raise unknown_name(name, "timm", timm.list_models())
        try:
            trunk = timm.create_model(name, pretrained=False, num_classes=0)
        except RuntimeError as error:  # of a tag that no training has
            raise ValueError(
                f"{name=}: {error}: timm.list_pretrained('{name.partition('.')[0]}*') lists them"
            ) from error
        if weights is not None:
            load_weights(trunk, _downloaded(name) if weights == OWN else weights_in(weights), name, weights)
        facts = timm.data.resolve_data_config({}, model=trunk)
        interpolation = "bicubic" if facts["interpolation"] == "bicubic" else "bilinear"
        return trunk, Training(facts["mean"], facts["std"], facts["input_size"][-1], interpolation)


def _downloaded(name: str) -> Any:
    import timm

    facts = timm.get_pretrained_cfg(name)
    if facts is None or not facts.has_weights:
        raise UserError(f"weights=default: timm has no weights of {name}: weights=PATH, or null for random ones")
    address = f"https://huggingface.co/{facts.hf_hub_id}" if facts.hf_hub_id else str(facts.url)
    log.info(f"weights=default: {address}, unless they are in the cache")
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)  # it warns of each attempt to reach the Hub
    try:
        trained: nn.Module = timm.create_model(name, pretrained=True, num_classes=0)
    except (OSError, RuntimeError, ValueError) as error:  # the Hub's own errors are some of these
        raise unavailable(error, address) from error
    return trained.state_dict()
