"""The dev container, by the CLI that VS Code uses too: it is the container that docker/run.sh would start.

The image is a small one: what the dev container is started with does not depend on what is installed in it.
"""

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from engine import READ_BY_THE_SCRIPTS, Checkout, copy_repository, docker, require_engine

pytestmark = pytest.mark.slow

DOCKERFILE = """
ARG PYTHON_IMAGE=python:3.12-slim-bookworm
FROM $PYTHON_IMAGE
ARG UID GID
RUN groupadd --non-unique --gid $GID user && useradd --non-unique --uid $UID --gid $GID --create-home user
USER user
WORKDIR /workspace
CMD ["bash"]
"""
IMAGE = "patch_sets_test_devcontainer"


def output_of(*command: str) -> str:
    """Return the output of a command, or nothing if there is no such command."""
    try:
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return ""


@pytest.fixture
def checkout(tmp_path: Path) -> Iterator[Checkout]:
    """A clone with a .env that names everything; it is the workspace too."""
    require_engine()
    if not output_of("devcontainer", "--version"):
        pytest.skip("no Dev Container CLI: npm install --global @devcontainers/cli")
    if not (output_of("docker", "compose", "version") or "v2" in output_of("docker-compose", "version")):
        pytest.skip("no Docker Compose 2")
    clone = copy_repository(tmp_path / "a clone", ".devcontainer", "docker", "pyproject.toml", "requirements.txt")
    (clone / "Dockerfile").write_text(DOCKERFILE)
    (tmp_path / "data, $of 2026").mkdir()
    (tmp_path / "data, $of 2026" / "file").write_text("inside")
    checkout = Checkout(clone, clone, IMAGE)
    for name in READ_BY_THE_SCRIPTS:
        checkout.environment.pop(name, None)
    write_env(checkout, f"DATASET={tmp_path}/data, $of 2026", "export SECRET='$a#b'  # quoted", "GIVEN")
    yield checkout
    checkout.remove()
    docker("image", "rm", "--force", IMAGE)


def write_env(checkout: Checkout, *lines: str) -> None:
    image = f"PATCH_SETS_IMAGE={IMAGE}"
    container = f"PATCH_SETS_CONTAINER=Patch.Sets_test_{checkout.ports[0]}"
    ports = f"PORTS={' '.join(map(str, checkout.ports))}"
    text = "\n".join([image, container, ports, "GPUS=none", *lines])
    (checkout.repository / ".env").write_text(f"{text}\n")


def devcontainer(checkout: Checkout, command: str, *arguments: str, code: int = 0) -> str:
    """Return the output of a command of the Dev Container CLI, or what it logs if it is to fail."""
    result = subprocess.run(
        ["devcontainer", command, "--workspace-folder", checkout.workspace, *arguments],
        env=checkout.environment | {"GIVEN": "by the environment"},
        capture_output=True,
        text=True,
        **checkout.process,
    )
    assert result.returncode == code, result.stdout + result.stderr
    return result.stdout if code == 0 else result.stderr


def published(checkout: Checkout) -> set[str]:
    return {line.rsplit(" ", 1)[1] for line in docker("port", checkout.container).splitlines()}


PRINT = ["bash", "-c", 'echo "$SECRET|$GIVEN|$(cat "$DATASET/file")|$(pwd)|$(id -u)"; echo x >written']


def test_env_and_the_scripts_are_those_of_the_dev_container(checkout):
    up = json.loads(devcontainer(checkout, "up"))
    assert docker("inspect", "--format", "{{.Id}}", checkout.container) == up["containerId"]
    assert up["remoteUser"] == "user"
    machine = docker("info", "--format", "{{.Name}}")
    assert docker("exec", checkout.container, "hostname") == machine
    extra_hosts = docker("inspect", "--format", "{{.HostConfig.ExtraHosts}}", checkout.container)
    assert extra_hosts == f"[{machine}:host-gateway]"

    expected = f"$a#b|by the environment|inside|/workspace|{os.getuid()}"
    assert devcontainer(checkout, "exec", *PRINT).splitlines() == [expected]
    assert checkout.call("exec", *PRINT)[0].splitlines() == [expected]
    written = checkout.workspace / "written"
    assert written.read_text() == "x\n"
    assert written.owner() == checkout.workspace.owner()

    assert published(checkout) == {f"127.0.0.1:{port}" for port in checkout.ports}
    checkout.call("stop")
    assert not checkout.runs()


def test_without_dataset_nothing_but_the_workspace_and_the_key_is_mounted(checkout):
    write_env(checkout, "SECRET=first")
    devcontainer(checkout, "up")
    mounts = docker("inspect", "--format", "{{range .Mounts}}{{.Destination}}|{{end}}", checkout.container)
    assert sorted(mounts.split("|")) == ["", "/cache", "/state", "/workspace"]
    environment = checkout.call("exec", "env")[0].splitlines()
    assert {"DATASET=/workspace/dataset", "SECRET=first"} <= set(environment)

    write_env(checkout, "SECRET=second")
    devcontainer(checkout, "up", "--remove-existing-container")  # Rebuild Container
    assert "SECRET=second" in checkout.call("exec", "env")[0].splitlines()
    assert published(checkout) == {f"127.0.0.1:{port}" for port in checkout.ports}


def test_a_container_of_run_is_not_replaced(checkout):
    checkout.call("build")
    checkout.call("run", "-d")
    errors = devcontainer(checkout, "up", code=1)
    assert f"container {checkout.container} is one of docker/run.sh" in errors
    assert "docker/stop.sh" in errors
    assert checkout.runs()
