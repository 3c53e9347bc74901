"""A folder in which processes train one run, each after the one before was killed, as a user would restart it."""

import os
from pathlib import Path

import torch
import warm
from resumed import LAST
from runs import REPOSITORY, record

Batch = tuple[str, int]  # of train, validation or test; counted from 0 in each process
NEVER: Batch = ("train", -1)
KILLED = -9
HANGS, HUNG = 600, 124  # seconds after which a process that nobody kills is given up, and what is its exit code then
# the environment says where: so all parts of a run have the same settings, and resume=last is all that they are given
FAULT = (
    "+callbacks.fault={_target_: faults.Signal, name: SIGKILL, "
    "batch: '${oc.decode:${oc.env:KILL_BATCH}}', during: '${oc.env:KILL_DURING}'}"
)


class Place:
    """The folder of one run: `start()` begins or resumes it; nothing else may be in the folder."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.folder, self.options = folder, options
        folder.mkdir()

    @property
    def run(self) -> Path | None:
        """Return the run folder once it has source/, which its start writes last; before, it cannot be resumed."""
        begun = sorted(self.folder.glob("outputs/*/*/*/source"))
        return begun[-1].parent if begun else None

    @property
    def finished(self) -> bool:
        return self.run is not None and record(self.run)["status"] == "finished"

    @property
    def steps(self) -> int:
        """Return the number of steps at the checkpoint from which a resumed run goes on."""
        last = self.run and self.run / LAST
        return torch.load(last, weights_only=True)["global_step"] if last and last.exists() else 0

    def start(self, batch: Batch = NEVER, seconds: float | None = None) -> int:
        """Return the exit code of a process that continues the run: KILLED if it reached the batch or took longer."""
        environment = {
            **os.environ,
            "PYTHONPATH": str(REPOSITORY / "tests" / "support"),
            "OMP_NUM_THREADS": "1",
            "KILL_DURING": batch[0],
            "KILL_BATCH": str(batch[1]),
        }
        options = ("resume=last",) if self.run else (*self.options, FAULT)
        # a file, not a pipe, which workers that outlive a killed process would keep open
        with (self.folder / "terminal.log").open("a") as log:
            command = str(REPOSITORY / "src" / "train.py"), *options
            process = warm.start(command, self.folder, log.fileno(), log.fileno(), environment)
        process.join(HANGS if seconds is None else seconds)
        if process.exitcode is None:
            process.kill()
            process.join()
            return HUNG if seconds is None else KILLED
        return process.exitcode
