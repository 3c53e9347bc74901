"""Find and read the checkpoint of a run: tensors and plain values only, so that no checkpoint can run code."""

import logging
import math
from pathlib import Path
from typing import Any

import yaml

import settings
from adapter import lightning
from process.errors import UserError
from process.files import path_from_setting
from run.record import Run
from run.resume import compare

log = logging.getLogger(__name__)


def find_checkpoint(folder: Path, which: str) -> Path:
    """Return the path of the checkpoint `best` or `last` of the run in `folder`, or of the file that `which` names.

    Without a best.ckpt (no validation), best is the last.
    """
    if which in ("best", "last"):
        path = folder / "checkpoints" / f"{which}.ckpt"
    else:
        path = path_from_setting("ckpt", which, "name a file, best or last")
    if which == "best" and not path.exists():
        path = path.with_name("last.ckpt")
    if not path.is_file() and which not in ("best", "last"):
        raise UserError(f"no checkpoint {path}: name a file, best or last")
    if not path.is_file():
        others = sorted(path.parent.glob("*.ckpt"))
        instead = f"there is {others[0]}" if others else "resume= continues that run; or name another one"
        raise UserError(f"no checkpoint {path}: did the run finish an epoch (debug runs keep none)? {instead}")
    return path


def load(path: Path) -> dict[str, Any]:
    """Return everything that was saved in `path`."""
    import torch

    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
        checkpoint["state_dict"].keys()
        return checkpoint
    except Exception as error:  # torch raises half a dozen unrelated types for a truncated or foreign file
        raise UserError(f"cannot read the checkpoint {path}: damaged, or not one of this project's") from error


def load_weights(path: Path) -> dict[str, Any]:
    """Return the state_dict of the LightningModule that was saved in `path`."""
    return load(path)["state_dict"]


def restore(model: Any, path: Path) -> None:
    """Load all weights that were saved in `path` into the model."""
    weights = load_weights(path)
    if words := sorted(misfits(model, weights)):
        raise UserError(
            f"the checkpoint {path} does not fit ({words[0]}): other overrides, or other code, than the run's?"
        )
    model.load_state_dict(weights)


def misfits(model: Any, weights: dict[str, Any]) -> list[str]:
    """Return, in words, the weights that the model and the checkpoint do not share, or have in different shapes."""
    own = model.state_dict()
    return [
        *(f"{name} is missing in the checkpoint" for name in own.keys() - weights.keys()),
        *(f"{name} is not in the network" for name in weights.keys() - own.keys()),
        *(
            f"{name} is {list(weights[name].shape)} in the checkpoint, {list(own[name].shape)} in the network"
            for name in own.keys() & weights.keys()
            if not _fits(own[name], weights[name])
        ),
    ]


def _fits(own: Any, saved: Any) -> bool:
    from torch.nn.parameter import is_lazy

    return is_lazy(own) or own.shape == saved.shape  # a lazy parameter takes the shape of the weight that is loaded


def init_from(model: Any, source: str) -> None:
    """Load the weights of a run folder's best checkpoint, or of a checkpoint, into the model as far as they fit."""
    path = find_checkpoint(Path(source), "best") if Path(source).is_dir() else find_checkpoint(Path(), source)
    weights = load_weights(path)
    words = sorted(misfits(model, weights))
    own = model.state_dict()
    fitting = {name: value for name, value in weights.items() if name in own and _fits(own[name], value)}
    if not fitting.keys() & {name for name, _ in model.named_parameters()}:
        raise UserError(f"init_from={source}: no weight fits this network ({words[0]}); choose the run's model")
    model.load_state_dict(fitting, strict=False)
    log.info(f"{len(fitting)} of {len(own)} weights from {path}" + "".join(f"\n  {line}" for line in words))


def resume_point(run: Run, model: Any) -> Path | None:
    """Return the checkpoint from which a resumed run continues; None if the run ended before its first checkpoint.

    Raises a UserError for changed settings with which the run cannot continue, and if there is nothing left to do.
    """
    path = run.folder / "checkpoints" / "last.ckpt"
    finished = run.facts["status"] == "finished"
    if not path.exists():
        if finished:
            raise UserError(f"{run.folder} is finished and has no {path.name} to continue from: start a new run")
        return None
    checkpoint = load(path)
    if not {"loops", "run_state"} <= checkpoint.keys():
        raise UserError(f"the checkpoint {path} is not one to resume from: start a new run, init_from={run.folder}")
    if words := sorted(misfits(model, checkpoint["state_dict"])):
        changed = ", ".join(str(change) for change in run.changes) or "the code of the network"
        raise UserError(
            f"the checkpoint does not fit: {words[0]} ({changed}); undo that change, or start a new run from the "
            f"weights that fit, init_from={run.folder}"
        )
    run.changes_since_checkpoint = compare(
        yaml.safe_load(checkpoint["run_state"]["settings"]), yaml.safe_load(run.settings)
    )
    started, done = lightning.epochs_in(checkpoint)
    if started > done and run.has_changed("fixed_in_epoch"):
        raise UserError(
            f"{', '.join(settings.names('fixed_in_epoch'))} cannot change in the middle of an epoch, where this run "
            "was interrupted: resume it without this change, and make the change after an epoch's end"
        )
    limit = run.config.trainer.max_epochs
    wanted = math.inf if limit in (None, -1) else limit
    stopped = checkpoint["run_state"]["should_stop"] and not run.has_changed("new_patience")
    if finished and (done >= wanted or stopped):
        more = f"hparams.max_epochs={2 * done}"
        raise UserError(f"{run.folder} is finished: nothing is left to do; {more} would add epochs")
    if done > wanted:
        raise UserError(f"hparams.max_epochs={wanted}: {done} epochs are done already; choose >= {done}")
    return path
