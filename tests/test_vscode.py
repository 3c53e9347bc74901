"""F5 does what the README says, on the host and in the container: the tests run or look up the commands of VS Code."""

import json
import os
import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest
import warm

REPOSITORY = Path(__file__).resolve().parents[1]
ARGUMENTS = ["debug=True", "experiment_name=__debug__"]


def read(name: str) -> dict[str, Any]:
    """Parse JSON with comments: `//` begins a comment, except within a string."""
    text = (REPOSITORY / name).read_text(encoding="utf-8")
    return json.loads(re.sub(r'("(?:[^"\\]|\\.)*")|//[^\n]*', lambda match: match[1] or "", text))


@pytest.mark.parametrize("name", sorted(str(path.relative_to(REPOSITORY)) for path in REPOSITORY.glob(".*/*.json")))
def test_is_json_that_says_why_it_exists(name: str) -> None:
    assert (REPOSITORY / name).read_text(encoding="utf-8").startswith("// ")
    assert read(name)


@pytest.mark.parametrize(("number", "program"), [(0, "${workspaceFolder}/src/train.py"), (1, "${file}")])
def test_launches(number: int, program: str) -> None:
    configuration = read(".vscode/launch.json")["configurations"][number]
    assert (configuration["type"], configuration["program"]) == ("debugpy", program)
    assert configuration["args"] == ARGUMENTS


@pytest.mark.processes
@pytest.mark.parametrize("number", [0, 1])
def test_launched_program_succeeds(number: int, tmp_path: Path) -> None:
    configuration = read(".vscode/launch.json")["configurations"][number]
    variables = {"${workspaceFolder}": str(REPOSITORY), "${file}": str(REPOSITORY / "src/train.py")}
    program = re.sub(r"\$\{\w+\}", lambda match: variables[match[0]], configuration["program"])
    environment = os.environ | configuration["env"]
    with warm.Process(
        program, *configuration["args"], "data=digits", cwd=tmp_path, variables=environment, merged=True
    ) as process:
        said = process.stdout.read()
    assert process.returncode == 0, said
    (folder,) = tmp_path.glob("outputs/__debug__/*/*")
    assert json.loads((folder / "run.json").read_text(encoding="utf-8"))["status"] == "finished"


def tasks(of: str) -> list[list[str]]:
    """Return the tasks whose command begins with this text, split into words."""
    commands = [task["command"] for task in read(".vscode/tasks.json")["tasks"]]
    return [shlex.split(command) for command in commands if command.startswith(of)]


def test_tasks_call_what_the_makefile_has() -> None:
    makefile = (REPOSITORY / "Makefile").read_text(encoding="utf-8")
    assert tasks("make ")
    for _, target in tasks("make "):
        assert f"\n{target}:" in makefile


@pytest.mark.processes
def test_tasks_call_scripts_with_what_they_take() -> None:
    assert tasks("docker/")
    for script, *arguments in tasks("docker/"):
        usage = subprocess.run([REPOSITORY / script, "-h"], capture_output=True, text=True, check=True).stdout
        assert script in usage
        assert set(arguments) <= set(usage.split())


def test_every_command_is_a_wish_or_a_script() -> None:
    assert len(tasks("")) == len(tasks("make ")) + len(tasks("docker/"))


def test_the_interpreter_is_the_image_s() -> None:
    (environment,) = re.findall(r"VIRTUAL_ENV=(\S+)", (REPOSITORY / "Dockerfile").read_text(encoding="utf-8"))
    assert read(".vscode/settings.json")["python.defaultInterpreterPath"] == f"{environment}/bin/python"


def test_the_dev_container_is_the_one_of_the_scripts() -> None:
    container = read(".devcontainer/devcontainer.json")
    assert (REPOSITORY / container["initializeCommand"]).is_file()
    assert set(container["customizations"]["vscode"]["extensions"]) <= set(
        read(".vscode/extensions.json")["recommendations"]
    )
