"""Some of the mutations of fuzz_records.py, in a process of their own; `make faults` tries 2,000 for each reader."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from runs import REPOSITORY

SCRIPT = Path(__file__).with_name("fuzz_records.py")


@pytest.mark.long
@pytest.mark.processes
def test_damaged_files_of_a_run_are_read_or_refused_in_one_line():
    path = os.pathsep.join(str(REPOSITORY / part) for part in ("src", "tests/support"))
    command = [sys.executable, str(SCRIPT), "--number", "30", "--seed", "1"]
    done = subprocess.run(command, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, check=False)
    lines = [line for line in done.stdout.splitlines() if " tried, " in line]
    assert done.returncode == 0, done.stdout + done.stderr
    assert [line.partition(":")[0] for line in lines] == [
        "run.json",
        "sweep.json",
        "evaluation.json",
        "metrics.csv",
        "config.yaml",
        ".hydra/config.yaml",
        ".hydra/overrides.yaml",
        "checkpoint",
    ]
    assert all(" 0 tracebacks, 0 hangs" in line for line in lines)
