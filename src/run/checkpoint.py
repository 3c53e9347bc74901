"""Find and read the checkpoint of a run: tensors and plain values only, so that no checkpoint can run code."""

import logging
import math
from pathlib import Path
from typing import Any

import settings
from adapter import lightning
from process.errors import UserError, find_user_error, first_line
from process.files import path_from_setting
from run.checkpoint_state import is_dense, is_small, other_kind, wrong_state
from run.data_file import DamagedFileError, parse_yaml
from run.record import Run, describe_error
from run.resume import compare

log = logging.getLogger(__name__)

# what a weight can be copied from, by the kind of the network's own
FLOATS = ("torch.float16", "torch.bfloat16", "torch.float32", "torch.float64")
INTEGERS = ("torch.bool", "torch.uint8", "torch.int8", "torch.int16", "torch.int32", "torch.int64")
COMPLEX = ("torch.complex64", "torch.complex128")


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
        weights = checkpoint["state_dict"]
        is_whole = isinstance(weights, dict) and all(isinstance(name, str) for name in weights) and is_small(checkpoint)
    except Exception as error:  # torch raises half a dozen unrelated types for a truncated or foreign file
        raise UserError(f"cannot read the checkpoint {path}: damaged, or not one of this project's") from error
    if not is_whole:
        raise UserError(f"the checkpoint {path} is damaged: its weights have no names, or it holds too many values")
    return checkpoint


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
    """Return, in words, the weights that model and checkpoint do not share, or have in other shapes or types."""
    own = model.state_dict()
    return [
        *(f"{name} is missing in the checkpoint" for name in own.keys() - weights.keys()),
        *(f"{name} is not in the network" for name in weights.keys() - own.keys()),
        *(
            f"{name} is {words}"
            for name in own.keys() & weights.keys()
            if (words := _misfit(own[name], weights[name])) is not None
        ),
    ]


def _misfit(own: Any, saved: Any) -> str | None:
    """Return why a weight of the network cannot take the saved one, in words; None if it can."""
    import torch
    from torch.nn.parameter import is_lazy

    if not isinstance(own, torch.Tensor):  # the extra state of a module of one's own
        return None
    if not is_dense(saved):
        return f"no dense tensor in the checkpoint ({type(saved).__name__})"
    kind = "floating point" if own.is_floating_point() else "complex" if own.is_complex() else "integer"
    kinds = {"floating point": FLOATS, "complex": COMPLEX, "integer": INTEGERS}
    if str(saved.dtype) not in kinds[kind]:
        return f"{str(saved.dtype).removeprefix('torch.')} in the checkpoint, and {kind} in the network"
    if is_lazy(own) or own.shape == saved.shape:  # a lazy parameter takes the shape of the weight that is loaded
        return None
    return f"{list(saved.shape)} in the checkpoint, {list(own.shape)} in the network"


def init_from(model: Any, source: str) -> None:
    """Load the weights of a run folder's best checkpoint, or of a checkpoint, into the model as far as they fit."""
    path = find_checkpoint(Path(source), "best") if Path(source).is_dir() else find_checkpoint(Path(), source)
    weights = load_weights(path)
    words = sorted(misfits(model, weights))
    own = model.state_dict()
    fitting = {n: value for n, value in weights.items() if n in own and _misfit(own[n], value) is None}
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
    if wrong := wrong_state(checkpoint):
        raise UserError(
            f"the checkpoint {path} is not one to resume from ({wrong}): start a new run, init_from={run.folder}"
        )
    if words := sorted(misfits(model, checkpoint["state_dict"])):
        changed = ", ".join(str(change) for change in run.changes) or "the code of the network"
        raise UserError(
            f"the checkpoint does not fit: {words[0]} ({changed}); undo that change, or start a new run from the "
            f"weights that fit, init_from={run.folder}"
        )
    try:
        run.changes_since_checkpoint = compare(
            parse_yaml(checkpoint["run_state"]["settings"]), parse_yaml(run.settings)
        )
        started, done = lightning.epochs_in(checkpoint)
        lightning.logged_step_in(checkpoint)
    except (DamagedFileError, LookupError, TypeError, AttributeError) as error:
        raise UserError(
            f"the checkpoint {path} is damaged ({describe_error(error)}): start a new run, init_from={run.folder}"
        ) from error
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


def explain_failed_restore(trainer: Any, path: Path) -> None:
    """Have an error while Lightning restores from the checkpoint, and a state of another kind, end in one line."""

    def explained(why: str | Exception) -> Exception:
        if isinstance(why, Exception):
            if find_user_error(why):
                return why
            why = f"{type(why).__name__}: {first_line(why)}"
        return UserError(
            f"the checkpoint {path} cannot be restored ({why}): start a new run from its weights, init_from={path}"
        )

    lightning.check_restore(trainer, other_kind, explained)
