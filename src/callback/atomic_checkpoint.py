"""Checkpoints that are replaced as a whole: Lightning's come out of /tmp, which is often another file system."""

from pathlib import Path
from typing import Any

import torch
from lightning_fabric.plugins.io.torch_io import TorchCheckpointIO

from process.files import replacing


class AtomicCheckpointIO(TorchCheckpointIO):
    """Write beside the target and rename: a kill at any moment leaves the previous checkpoint or the new one."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None) -> None:
        target = Path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        with replacing(target, "wb") as file:
            try:
                torch.save(checkpoint, file)
            except RuntimeError as error:  # what the file system said stands behind torch's own words
                refusal = error.__context__
                raise refusal if isinstance(refusal, OSError) else error from None
