"""Fixtures that run commands as a user does, but in this process: the whole suite imports torch and Lightning once."""

import gc
import logging
import os
import re
import runpy
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
import warm
from PIL import Image
from runs import REPOSITORY

os.environ.setdefault("OMP_NUM_THREADS", "1")  # networks this small are slower on two threads than on one
# git, and what libraries ask of the system, take no time
SLOW_PROGRAMS = re.compile(r"(python[\d.]*|make|(ba|fi|z)?sh)$")
started: list[str] = []  # the programs that the current test and its fixtures have started
gc.disable()  # until all tests are collected: their imports make a million objects, which are looked at again and again


@pytest.hookimpl(trylast=True)  # after the choice by -m
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let several processes begin with the files of long tests: one of them at the end would keep one process alone."""
    if "PYTEST_XDIST_WORKER" not in os.environ:
        return
    files = {path: place for place, path in enumerate(dict.fromkeys(item.path for item in items))}
    number = Counter(item.path for item in items)
    long = {item.path for item in items if {"processes", "long"} & {mark.name for mark in item.iter_markers()}}
    items.sort(key=lambda item: (item.path not in long, -number[item.path], files[item.path]))


def pytest_collection_finish() -> None:
    """Leave what the imports have made out of each later garbage collection, which would take a second."""
    gc.freeze()
    gc.enable()


def pytest_unconfigure() -> None:
    gc.unfreeze()  # else libraries report at exit what was not freed


@sys.addaudithook
def note_program(event: str, arguments: tuple) -> None:
    if event == "subprocess.Popen" and SLOW_PROGRAMS.search(str(arguments[0])):
        started.append(str(arguments[0]))


@pytest.fixture(autouse=True)
def only_marked_tests_start_programs(request):
    """Fail a test that starts Python or a shell and is not marked so: one such start takes as long as many tests."""
    yield
    programs = started.copy()
    started.clear()
    if not {"processes", "slow"} & {mark.name for mark in request.node.iter_markers()}:
        assert not programs, f"starts {programs[0]}: mark it with @pytest.mark.processes"


@pytest.fixture(autouse=True)
def nothing_is_ignored():
    """Restore the default signal handlers: nohup ignores SIGHUP, and a shell ignores SIGINT for a background job."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGHUP)}
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture(autouse=True)
def limit_of_pixels_of_pillow():
    """Restore the limit, which data.max_megapixels sets for the whole process."""
    limit = Image.MAX_IMAGE_PIXELS
    yield
    Image.MAX_IMAGE_PIXELS = limit


@pytest.fixture(scope="session", autouse=True)
def own_key(tmp_path_factory):
    """Keep the key that signs run folders out of the home of whoever runs the tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        yield


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory):
    """Keep decoded images out of the home of whoever runs the tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATCH_SETS_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session", autouse=True)
def one_mlflow_store(tmp_path_factory):
    """Create one MLflow store for all runs that do not name another, since to create one takes seconds."""
    from logger.mlflow import Store

    store = Store(tmp_path_factory.mktemp("mlruns"))
    store.prepare()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", store.uri)
        yield


@pytest.fixture(autouse=True)
def logging_goes_on():
    """Undo what a refused hydra.job_logging has done: loggers are disabled, and closed logs would open their files."""
    yield
    for logger in (logging.root, *logging.root.manager.loggerDict.values()):
        if isinstance(logger, logging.Logger):
            logger.disabled = False
            for handler in logger.handlers[:]:
                if isinstance(handler, logging.FileHandler) and handler.stream is None:
                    logger.removeHandler(handler)


@pytest.fixture
def command(tmp_path, monkeypatch) -> Callable[..., int]:
    """`command("train", "data=digits", ...)` in an empty folder -> exit code. A sweep becomes a process of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HYDRA_FULL_ERROR", raising=False)

    def replace_process(_: str, arguments: list[str]) -> None:
        sys.exit(warm.run(*arguments[1:]))

    monkeypatch.setattr(os, "execv", replace_process)

    def run(name: str, *arguments: str) -> int:
        monkeypatch.setenv("PYTHONPATH", str(REPOSITORY / "tests" / "support"))  # for that process
        monkeypatch.setattr(sys, "argv", [str(REPOSITORY / "src" / f"{name}.py"), *arguments])
        try:
            runpy.run_path(sys.argv[0], run_name="__main__")
        except SystemExit as stop:
            return int(stop.code or 0)
        return 0

    return run


@pytest.fixture
def train(command, tmp_path) -> Callable[..., Path]:
    """`train("data=digits", ...)` -> the folder of the run, which must succeed."""

    def run(*overrides: str) -> Path:
        before = set(tmp_path.glob("outputs/*/*/*"))
        assert command("train", *overrides) == 0
        (folder,) = set(tmp_path.glob("outputs/*/*/*")) - before
        return folder

    return run


@pytest.fixture
def broken_off(command, tmp_path):
    """`broken_off("data=digits", ..., batch=5)` -> the folder of a run that crashed at that batch."""

    def run(*overrides, batch, during="train", fault="Crash", code=1):
        before = set(tmp_path.glob("outputs/*/*/*"))
        options = {"_target_": f"faults.{fault}", "batch": batch, "during": during}
        fault_options = [f"+callbacks.fault.{name}={value}" for name, value in options.items()]
        assert command("train", *overrides, *fault_options) == code
        (folder,) = set(tmp_path.glob("outputs/*/*/*")) - before
        return folder

    return run


@pytest.fixture
def resume(command):
    return lambda folder, *overrides: command("train", f"resume={folder}", "~callbacks.fault", *overrides)


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 8 MiB, for a run of a small network."""
    path = tmp_path / "disk"
    path.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", path], capture_output=True, check=False)
    if done.returncode:
        pytest.skip(f"cannot mount a small file system: {done.stderr.decode().strip()}")
    yield path
    subprocess.run(["umount", "--lazy", path], check=True)
