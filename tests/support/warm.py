"""Commands in processes that start warm: Python's fork server has imported torch and Lightning for all of them.

A start takes about five seconds of a core, nearly all of them for these imports. A warm process has its own pid,
streams, signal handlers, working directory and variables, and imports `src/` itself, also out of a sweep's copy of it.
"""

import atexit
import logging
import multiprocessing
import os
import runpy
import signal
import sys
import tempfile
import threading
from collections.abc import Mapping
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from types import ModuleType
from typing import Any

from runs import REPOSITORY

SUPPORT = str(REPOSITORY / "tests" / "support")
context = multiprocessing.get_context("forkserver")
one_at_a_time = threading.Lock()
context.set_forkserver_preload(["torch", "torch._dynamo", "torchvision", "pytorch_lightning", "sklearn.datasets"])


def start(
    command: tuple[str, ...], cwd: Path, out: int, error: int, variables: Mapping[str, str], new_session: bool = False
) -> ForkServerProcess:
    """Start `python COMMAND` with its stdout and stderr in these file descriptors."""
    sys.audit("subprocess.Popen", sys.executable, command, cwd, None)  # conftest.py notes it as any other start
    ends = [Connection(os.dup(number), readable=False) for number in (out, error)]  # which can be sent
    process = context.Process(target=_run, args=(command, str(cwd), dict(variables), new_session, *ends))
    with one_at_a_time:
        main, sys.modules["__main__"] = sys.modules["__main__"], ModuleType("__main__")  # or it would be imported there
        try:
            process.start()
        finally:
            sys.modules["__main__"] = main
            for end in ends:
                end.close()
    return process


def run(*command: str) -> int:
    """Run `python COMMAND` with the folder, streams and variables of this process, and return its exit code."""
    process = start(command, Path.cwd(), 1, 2, os.environ)
    process.join()
    assert process.exitcode is not None
    return process.exitcode


class Process:
    """A warm `python COMMAND`, with the names that subprocess.Popen has. Its stdout is a pipe, its stderr a file.

    Args:
        command: the path of a script, or -m and a module, and its arguments.
        variables: the whole environment, that of this process by default.
        merged: whether stderr goes into stdout.
    """

    def __init__(
        self,
        *command: str,
        cwd: Path,
        variables: Mapping[str, str] = os.environ,
        merged: bool = False,
        new_session: bool = False,
    ) -> None:
        read, write = os.pipe()
        self.stdout, self.stderr = open(read), tempfile.TemporaryFile("w+")  # noqa: SIM115, PTH123
        error = write if merged else self.stderr.fileno()
        self.process = start(command, cwd, write, error, variables, new_session)
        os.close(write)

    def __enter__(self) -> "Process":
        return self

    def __exit__(self, *_: Any) -> None:
        self.wait()
        self.stdout.close()
        self.stderr.close()

    @property
    def pid(self) -> int:
        assert self.process.pid is not None
        return self.process.pid

    @property
    def returncode(self) -> int | None:
        return self.process.exitcode

    def poll(self) -> int | None:
        return self.returncode

    def wait(self, timeout: float | None = None) -> int | None:
        self.process.join(timeout)
        return self.returncode

    def communicate(self) -> tuple[str, str]:
        """Return stdout and stderr when the process has ended."""
        with self:
            out = self.stdout.read()
            self.wait()
            self.stderr.seek(0)
            return out, self.stderr.read()

    def send_signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def kill(self) -> None:
        self.process.kill()


def _run(
    command: tuple[str, ...], cwd: str, variables: dict[str, str], new_session: bool, out: Connection, error: Connection
) -> None:
    """Become the process of the command: the fork server calls this in a fork of its own."""
    if new_session:
        os.setsid()
    for number, end in enumerate((out, error), start=1):
        os.dup2(end.fileno(), number)
        end.close()
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(variables)
    for name in ("pytorch_lightning", "lightning_fabric"):  # as if Hydra had set up logging before their import
        logging.getLogger(name).handlers.clear()
        logging.getLogger(name).propagate = True
    libraries = set(sys.modules)

    def execute(words: tuple[str, ...]) -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)  # which a shell ignores for a background job
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)
        own = [
            cwd if words[0] == "-m" else str(Path(words[0]).parent),
            *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep)),
        ]
        theirs = [path for path in sys.path if path not in (*own, str(REPOSITORY), str(REPOSITORY / "src"), SUPPORT)]
        sys.path[:] = [*own, *theirs]
        sys.argv, sys.orig_argv = list(words), [sys.executable, *words]
        if words[0] == "-m":
            del sys.argv[0]
            runpy.run_module(words[1], run_name="__main__", alter_sys=True)
        else:
            runpy.run_path(words[0], run_name="__main__")

    def replace_process(_: str, arguments: list[str]) -> None:
        """Forget all but the libraries and run another command, as os.execv does."""
        for name in set(sys.modules) - libraries:
            del sys.modules[name]
        execute(tuple(arguments[1:]))
        sys.exit()

    os.execv = replace_process  # type: ignore[assignment]
    try:
        execute(command)
    finally:  # as Python ends; multiprocessing would first wait for the workers of joblib, which threads end
        threading._shutdown()  # type: ignore[attr-defined]
        atexit._run_exitfuncs()
