"""The features of patches, each embedded by itself."""

# N patches of a batch, C channels, p side of a patch, F features

import hashlib
from typing import Any

import torch
from pytorch_lightning import LightningModule
from torch import Tensor, nn

from process.errors import UserError


class Embedder(LightningModule):
    """LightningModule that predicts the features of patches, uint8 [N, C, p, p] -> float32 [N, F] on the CPU.

    They are those of the first part of a network, which normalises and embeds each patch by itself. `width` is F, and
    `digest` a short text that is the same for the same weights alone. Raises UserError for a network without such a
    part, and for too little memory.
    """

    stage = "embed"  # its name in a progress bar

    def __init__(self, network: Any) -> None:
        super().__init__()
        parts = getattr(network, "embed", None)
        if not isinstance(parts, nn.Sequential) or not hasattr(parts[-1], "out_features"):
            raise UserError(
                f"{type(network).__name__} does not embed each patch by itself: choose a run of a network of sets, "
                "such as model=patch_set"
            )
        self.embed = nn.Sequential(*parts).eval()
        self.width = int(parts[-1].out_features)  # type: ignore[arg-type]
        self.digest = _digest(self.embed)

    def predict_step(self, batch: tuple[Tensor, Any], batch_idx: int) -> Tensor:
        patches_NCpp = batch[0]
        if len(patches_NCpp) == 0:
            return torch.empty(0, 0)
        try:
            features_NF: Tensor = self.embed(patches_NCpp)
        except RuntimeError as error:
            if isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error):
                size = f"{len(patches_NCpp)} patches at once need too much memory"
                raise UserError(f"{size}: choose a smaller patches_per_batch") from error
            raise
        return features_NF.float().cpu()

    def transfer_batch_to_device(self, batch: Any, device: torch.device, dataloader_idx: int) -> Any:
        return batch[0].to(device), *batch[1:]


def _digest(module: nn.Module) -> str:
    found = hashlib.sha256()
    for name, values in sorted(module.state_dict().items()):
        found.update(f"{name} {values.dtype} {list(values.shape)}".encode())
        found.update(values.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return found.hexdigest()[:16]
