"""The scripts of docker/ as a user calls them on a real engine, in a clone of their own: nobody else's is touched."""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest
from runs import REPOSITORY

IMAGE = "PATCH_SETS_IMAGE"
CONTAINER = "PATCH_SETS_CONTAINER"
CACHE = "PATCH_SETS_CACHE"
READ_BY_THE_SCRIPTS = ("DATASET", "PORTS", "BIND", "GPUS", "TZ", CACHE, IMAGE, CONTAINER)


def docker(*arguments: str, **options: Any) -> str:
    """Return the output of a docker command."""
    return subprocess.run(["docker", *arguments], check=True, capture_output=True, text=True, **options).stdout.strip()


def require_engine() -> None:
    """Skip where no engine answers, with what it or its client says."""
    try:
        docker("version")
    except FileNotFoundError:
        pytest.skip("Docker is not installed")
    except subprocess.CalledProcessError as error:
        pytest.skip(f"no Docker engine: {error.stderr.strip()}")


def free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def wait_until(condition: Callable[[], object], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"not within {seconds} s"
        time.sleep(0.05)


class Checkout:
    """A copy of what the scripts need, called in `workspace`. The container and the ports are its own."""

    def __init__(self, repository: Path, workspace: Path, image: str, **process: Any) -> None:
        self.repository, self.workspace = repository, workspace
        self.ports = free_ports(4)
        self.process = process
        inherited = {name: value for name, value in os.environ.items() if name not in READ_BY_THE_SCRIPTS}
        self.environment = inherited | {IMAGE: image, "PORTS": " ".join(map(str, self.ports))}

    @cached_property
    def container(self) -> str:
        """The name that the clone's scripts choose."""
        call = ["bash", "-c", 'source "$1"/docker/settings.sh && printf %s "$CONTAINER"', "_", str(self.repository)]
        return subprocess.run(
            call, env=self.environment, check=True, stdout=subprocess.PIPE, text=True, **self.process
        ).stdout

    def start(self, script: str, *arguments: str, **environment: str) -> "subprocess.Popen[str]":
        """With stdin empty, and both outputs to be read."""
        return subprocess.Popen(
            [self.repository / "docker" / f"{script}.sh", *arguments],
            cwd=self.workspace,
            env=self.environment | environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            **self.process,
        )

    def call(self, script: str, *arguments: str, code: int = 0, **environment: str) -> tuple[str, str]:
        """Return stdout and stderr of the script, which must end with this exit code."""
        with self.start(script, *arguments, **environment) as process:
            output, errors = process.communicate()
        assert process.returncode == code, output + errors
        return output, errors

    def runs(self) -> bool:
        return docker("ps", "--quiet", "--filter", f"name=^{self.container}$") != ""

    def remove(self) -> None:
        for container in docker("ps", "--all", "--quiet", "--filter", f"name=^{self.container}$").split():
            docker("rm", "--force", container)


def copy_repository(target: Path, *names: str) -> Path:
    ignore = shutil.ignore_patterns("__pycache__")
    for name in names:
        source = REPOSITORY / name
        if source.is_dir():
            shutil.copytree(source, target / name, ignore=ignore)
        else:
            target.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target / name)
    return target
