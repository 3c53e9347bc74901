"""Which of a training's processes this is, and what they agree on before torch connects them."""

import atexit
import json
import os
import time
from collections.abc import Callable
from typing import Any, TypeVar

from run.errors import UserError
from run.rank_channel import Channel, FolderChannel, StoreChannel

T = TypeVar("T")

FAILED = "failed"  # what rank 0 says instead of an answer
POLL = 0.1  # seconds between two looks for it
PATIENCE = 300.0  # seconds
SILENCE = 5.0  # seconds within which it fails too, if it does
SWEEPS = ("-m", "--multirun", "hydra.mode=MULTIRUN")
INTERACTIVE = ("bash", "interactive")  # jobs of SLURM in which a person starts processes: Lightning's rule


class ToldError(BaseException):
    """This rank ends because of what another one tells the user; no Exception, as nothing is to be done about it."""


def is_rank_zero() -> bool:
    """Whether this process is the one that writes, by the variables of torchrun, Lightning's launcher and SLURM."""
    if "RANK" in os.environ:  # of torchrun, which counts the nodes of a SLURM job in an order of its own
        return os.environ["RANK"] == "0"
    return all(os.environ.get(name, "0") == "0" for name in ("LOCAL_RANK", "NODE_RANK", "SLURM_PROCID"))


def started_together() -> bool:
    """Whether torchrun or srun started this process as one of several ranks; Lightning's launcher starts them later."""
    if "TORCHELASTIC_RUN_ID" in os.environ:
        return int(os.environ.get("WORLD_SIZE", "1")) > 1
    alone = os.environ.get("SLURM_NTASKS", "1") == "1" or os.environ.get("SLURM_JOB_NAME") in INTERACTIVE
    return not alone and "SLURM_PROCID" in os.environ


def is_child() -> bool:
    """Whether Lightning's launcher, in rank 0 of the machine, started this process."""
    return "RANK" not in os.environ and os.environ.get("LOCAL_RANK", "0") != "0"


def refuse_alone(argv: list[str]) -> None:
    """Raise a UserError for what several ranks cannot agree on."""
    together = started_together() or "TORCHELASTIC_RUN_ID" in os.environ
    if together and any(argument in SWEEPS or argument.startswith("resume_sweep=") for argument in argv):
        raise UserError(
            "-m under torchrun or srun: every rank would start the whole sweep; without them, trainer=ddp starts the "
            "ranks of each job, and hydra/launcher=submitit_slurm leaves it to SLURM"
        )
    if os.environ.get("NODE_RANK", "0") != "0" and not (together or is_child()):
        raise UserError(
            "NODE_RANK is set: several nodes are started by torchrun or srun, which let them agree on a run"
        )


def agreed(name: str, decide: Callable[[], T], patience: float = PATIENCE) -> T:
    """What rank 0 decides (plain values), on all ranks that were started together; alone, the own decision."""
    channel = _channel()
    if channel is None:
        return decide()
    if is_rank_zero():
        decision = decide()
        channel.put(name, json.dumps(decision))
        return decision
    answer: Any = json.loads(_answer(channel, name, patience))
    return answer


def is_said() -> bool:
    """Whether rank 0 says, within seconds, what goes wrong here too; on rank 0 it tells them that it does."""
    channel = _channel()
    if channel is None:
        return False
    if is_rank_zero():
        channel.put(FAILED, "")
        if channel.ends_with_rank_zero:
            atexit.register(time.sleep, SILENCE)
        return False
    try:
        _answer(channel, FAILED, SILENCE)
    except UserError:
        return False
    except ToldError:
        pass
    return True


def _answer(channel: Channel, name: str, patience: float) -> str:
    end = time.monotonic() + patience
    while (answer := channel.look(name)) is None:
        if channel.look(FAILED) is not None:
            raise ToldError
        if time.monotonic() > end:
            raise UserError(f"rank 0 said nothing about {name} for {patience:g} s: {channel.remedy}")
        time.sleep(POLL)
    return answer


def _channel() -> Channel | None:
    if not started_together():
        return None
    return StoreChannel() if "TORCHELASTIC_RUN_ID" in os.environ else FolderChannel()
