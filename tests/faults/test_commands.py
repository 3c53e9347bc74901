"""A few of the mutated command lines and settings files that `make faults` tries in thousands."""

import subprocess
import sys

import pytest
from runs import REPOSITORY


@pytest.mark.processes
@pytest.mark.long
def test_no_mutation_ends_in_a_traceback():
    script = REPOSITORY / "tests" / "faults" / "fuzz_commands.py"
    done = subprocess.run([sys.executable, script, "--number", "30"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "commands: 30 tried" in done.stdout
    assert "settings: 30 tried" in done.stdout
    assert done.stderr == ""
