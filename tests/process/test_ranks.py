import errno
import signal
import threading
from contextlib import suppress
from pathlib import Path

import pytest
from torch import distributed

from process import ranks
from process.errors import UserError
from process.interruption import Interrupted
from process.ranks import FolderChannel, end_together

SRUN = {"SLURM_JOB_ID": "7", "SLURM_STEP_ID": "0", "SLURM_NTASKS": "2", "SLURM_PROCID": "0"}


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def variables(monkeypatch, **values):
    for name, value in values.items():
        monkeypatch.setenv(name, value)


@pytest.mark.parametrize(
    ("environment", "zero"),
    [
        ({}, True),
        ({"LOCAL_RANK": "1"}, False),
        ({"LOCAL_RANK": "0", "NODE_RANK": "1"}, False),
        ({"SLURM_PROCID": "1"}, False),
        ({"RANK": "2", "LOCAL_RANK": "0"}, False),  # the first of a second node
        ({"RANK": "0", "LOCAL_RANK": "0", "SLURM_PROCID": "1"}, True),  # torchrun numbers nodes in an order of its own
    ],
)
def test_only_rank_zero_writes(monkeypatch, environment, zero):
    variables(monkeypatch, **environment)
    assert ranks.is_rank_zero() is zero


@pytest.mark.parametrize(
    ("environment", "together"),
    [
        ({"LOCAL_RANK": "1", "WORLD_SIZE": "2"}, False),  # a child of Lightning's launcher is told all
        ({"TORCHELASTIC_RUN_ID": "none", "WORLD_SIZE": "2", "RANK": "1"}, True),
        ({"TORCHELASTIC_RUN_ID": "none", "WORLD_SIZE": "1", "RANK": "0"}, False),
        (SRUN, True),
        ({**SRUN, "SLURM_JOB_NAME": "interactive"}, False),
        ({**SRUN, "SLURM_NTASKS": "1"}, False),
    ],
)
def test_launched_by_torchrun_or_srun(monkeypatch, environment, together):
    variables(monkeypatch, **environment)
    assert ranks.launched_by_torchrun_or_srun() is together


def test_other_ranks_take_the_decision_of_rank_zero(monkeypatch):
    variables(monkeypatch, **SRUN)
    assert ranks.agree_on("folder", lambda: "first") == "first"
    monkeypatch.setenv("SLURM_PROCID", "1")
    assert ranks.agree_on("folder", lambda: "second") == "first"


def test_other_ranks_wait_for_the_decision(monkeypatch):
    variables(monkeypatch, **SRUN | {"SLURM_PROCID": "1"})
    threading.Timer(0.3, FolderChannel().put, ("folder", '"late"')).start()
    assert ranks.agree_on("folder", lambda: "own") == "late"


def test_a_start_after_a_requeue_agrees_anew(monkeypatch):
    variables(monkeypatch, **SRUN)
    ranks.agree_on("folder", lambda: "first")
    variables(monkeypatch, SLURM_PROCID="1", SLURM_RESTART_COUNT="1")
    with pytest.raises(UserError, match=r"rank 0 has not shared its folder for 0.2 s: does this node share"):
        ranks.agree_on("folder", lambda: "own", timeout=0.2)


def test_a_failure_that_rank_zero_reports_is_not_reported_by_others(monkeypatch):
    variables(monkeypatch, **SRUN)
    monkeypatch.setattr("atexit.register", lambda *_, **__: None)
    assert not ranks.is_reported_elsewhere()
    monkeypatch.setenv("SLURM_PROCID", "1")
    assert ranks.is_reported_elsewhere()
    with pytest.raises(ranks.FailureReportedElsewhere):
        ranks.agree_on("folder", lambda: "own")


def test_a_failure_that_rank_zero_does_not_meet_is_reported_by_others(monkeypatch):
    monkeypatch.setattr(ranks, "COMMON_FAILURE_TIMEOUT", 0.2)
    variables(monkeypatch, **SRUN | {"SLURM_PROCID": "1"})
    assert not ranks.is_reported_elsewhere()


@pytest.mark.parametrize(
    ("environment", "argv"),
    [
        (SRUN, ["-m"]),
        ({"TORCHELASTIC_RUN_ID": "none", "WORLD_SIZE": "1"}, ["resume_sweep=multirun/x"]),
        ({"NODE_RANK": "1"}, []),
    ],
)
def test_a_launch_in_which_ranks_cannot_agree_is_refused(monkeypatch, environment, argv):
    variables(monkeypatch, **environment)
    with pytest.raises(UserError, match="torchrun or srun"):
        ranks.refuse_unsupported_launch(argv)


def test_the_ranks_of_one_run_are_accepted(monkeypatch):
    variables(monkeypatch, **SRUN)
    ranks.refuse_unsupported_launch(["hparams.lr=0.1"])
    variables(monkeypatch, NODE_RANK="1", LOCAL_RANK="1", SLURM_NTASKS="1")
    ranks.refuse_unsupported_launch([])


def test_a_read_only_folder_hides_no_error(tmp_path, monkeypatch):
    def refused(*_, **__):
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(Path, "unlink", refused)
    with pytest.raises(UserError, match="the first error"), end_together(tmp_path, ([], ""), print):
        raise UserError("the first error")


@pytest.mark.parametrize("rank", ["0", "1"])
@pytest.mark.parametrize("interrupted", [False, True])
def test_no_rank_ends_connected_to_the_others(rank, interrupted, monkeypatch, tmp_path):
    """A rank that exits while connected is aborted if another is gone; another agent of torchrun then waits minutes."""
    variables(monkeypatch, RANK=rank)
    distributed.init_process_group("gloo", store=distributed.HashStore(), rank=0, world_size=1)
    with suppress(Interrupted), end_together(tmp_path, ([], ""), print):
        assert distributed.is_initialized()
        if interrupted:
            raise Interrupted(signal.SIGTERM)
    assert not distributed.is_initialized()
