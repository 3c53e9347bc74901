"""Servers for tests: those that `make` starts (MLflow, TensorBoard, explore), one that never answers, a free port."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile

from runs import REPOSITORY


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(url: str, process: subprocess.Popen, seconds: float = 180) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            urllib.request.urlopen(url, timeout=2).close()
            return
        except OSError:
            assert process.poll() is None, "the server has ended"
            time.sleep(0.1)
    raise TimeoutError(url)


@contextmanager
def mlflow_server(folder: Path) -> Iterator[tuple[str, subprocess.Popen]]:
    """Start what `make mlflow` starts in `folder`, and yield its address and process."""
    with _server(folder, "mlflow_server.sh", "127.0.0.1", "localhost:*,127.0.0.1:*", ready="health") as served:
        yield served


@contextmanager
def tensorboard_server(folder: Path) -> Iterator[tuple[str, subprocess.Popen]]:
    """Start what `make tensorboard` starts in `folder`, and yield its address and process."""
    with _server(folder, "tensorboard_server.sh", "127.0.0.1", ready="data/runs") as served:
        yield served


@contextmanager
def explore_server(folder: Path) -> Iterator[tuple[str, subprocess.Popen]]:
    """Start what `make explore` starts in `folder`, and yield its address and process."""
    code = str(REPOSITORY / "src")
    with _server(folder, "explore_server.sh", "127.0.0.1", "localhost", code, ready="_stcore/health") as served:
        yield served


@contextmanager
def _server(folder: Path, script: str, *arguments: str, ready: str) -> Iterator[tuple[str, subprocess.Popen]]:
    port = free_port()
    command = ["sh", str(REPOSITORY / "docker" / script), str(port), *arguments]
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    environment.pop("MLFLOW_TRACKING_URI", None)
    with TemporaryFile() as output:  # not in the folder, which may be this repository
        process = subprocess.Popen(
            command, cwd=folder, env=environment, stdout=output, stderr=output, start_new_session=True
        )
    try:
        wait_for(f"http://127.0.0.1:{port}/{ready}", process)
        yield f"http://127.0.0.1:{port}", process
    finally:
        kill(process)


def kill(process: subprocess.Popen) -> None:
    """Kill a server and its workers."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@contextmanager
def silent_server() -> Iterator[str]:
    """Yield the address of a server that accepts connections (the kernel does) and never answers."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(64)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
