"""Find and read the checkpoint of a run: tensors and plain values only, so that no checkpoint can run code."""

from pathlib import Path
from typing import Any

from run.errors import UserError


def find_checkpoint(folder: Path, which: str) -> Path:
    """`best` or `last` of the run in `folder`, or a path as it is; without a validation, best is the last."""
    path = folder / "checkpoints" / f"{which}.ckpt" if which in ("best", "last") else Path(which)
    if which == "best" and not path.exists():
        path = path.with_name("last.ckpt")
    if not path.is_file():
        raise UserError(
            f"no checkpoint {path}: did the run finish an epoch (debug runs keep none)? try ckpt=last or a path"
        )
    return path


def load_weights(path: Path) -> dict[str, Any]:
    """The state_dict of the LightningModule that was saved in `path`."""
    import torch

    try:
        return torch.load(path, map_location="cpu", weights_only=True)["state_dict"]
    except Exception as error:  # torch raises half a dozen unrelated types for a truncated or foreign file
        raise UserError(f"cannot read the checkpoint {path}: damaged, or not one of this project's") from error
