"""F5 does what the README says: the launch configurations are run as VS Code would run them."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
ARGUMENTS = ["debug=True", "experiment_name=__debug__"]


def read(name: str) -> dict[str, Any]:
    """JSON with comments: a string is kept whole, `//` outside of one begins a comment."""
    text = (REPOSITORY / ".vscode" / name).read_text(encoding="utf-8")
    return json.loads(re.sub(r'("(?:[^"\\]|\\.)*")|//[^\n]*', lambda match: match[1] or "", text))


@pytest.mark.parametrize("path", sorted((REPOSITORY / ".vscode").iterdir()), ids=lambda path: path.name)
def test_is_json_that_says_why_it_exists(path: Path) -> None:
    assert path.read_text(encoding="utf-8").startswith("// ")
    assert read(path.name)


@pytest.mark.parametrize(("number", "program"), [(0, "${workspaceFolder}/src/train.py"), (1, "${file}")])
def test_launches(number: int, program: str) -> None:
    configuration = read("launch.json")["configurations"][number]
    assert (configuration["type"], configuration["program"]) == ("debugpy", program)
    assert configuration["args"] == ARGUMENTS


@pytest.mark.parametrize("number", [0, 1])
def test_launched_program_succeeds(number: int, tmp_path: Path) -> None:
    configuration = read("launch.json")["configurations"][number]
    variables = {"${workspaceFolder}": str(REPOSITORY), "${file}": str(REPOSITORY / "src/train.py")}
    program = re.sub(r"\$\{\w+\}", lambda match: variables[match[0]], configuration["program"])
    done = subprocess.run(
        [sys.executable, program, *configuration["args"], "data=digits"],
        cwd=tmp_path,
        env=os.environ | configuration["env"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (folder,) = tmp_path.glob("outputs/__debug__/*/*")
    assert json.loads((folder / "run.json").read_text(encoding="utf-8"))["status"] == "finished"


def test_tasks_call_what_the_makefile_has() -> None:
    makefile = (REPOSITORY / "Makefile").read_text(encoding="utf-8")
    commands = [task["command"] for task in read("tasks.json")["tasks"]]
    targets = [command.removeprefix("make ") for command in commands if command.startswith("make ")]
    assert targets
    for target in targets:
        assert f"\n{target}:" in makefile
