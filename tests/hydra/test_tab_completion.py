"""TAB in real interactive bash, zsh and fish, typed at a pseudo-terminal, for every spelling of python."""

import os
import pty
import re
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
SHELLS = {"bash": ["--norc", "--noprofile", "-i"], "zsh": ["-f", "-i"], "fish": ["--no-config", "-i"]}
TIMEOUT = 60  # seconds, for a slow machine: every wait ends as soon as what it waits for is there
COUNTING = """
import atexit, os, sys
if "COMP_LINE" in os.environ:
    atexit.register(lambda: open(os.environ["QUERIES"], "a").write(f"{'torch' in sys.modules}\\n"))
"""


class Terminal:
    """A shell at a pseudo-terminal."""

    def __init__(self, shell: str, folder: Path, environment: dict[str, str]) -> None:
        master, slave = pty.openpty()
        # wide, so that no line is wrapped, and without waiting for a key when a list is long
        subprocess.run(["stty", "cols", "400", "rows", "100"], stdin=slave, check=True)
        # opened by the leader of a new session, the terminal becomes its controlling one
        opened = ["sh", "-c", 'exec "$@" <"$0" >"$0" 2>&1', os.ttyname(slave), shell, *SHELLS[shell]]
        self.master = master
        self.process = subprocess.Popen(opened, cwd=folder, env=environment, start_new_session=True)
        self.slave = slave  # open until the shell has ended: the terminal lives as long as someone holds it

    def send(self, keys: str) -> None:
        os.write(self.master, keys.encode())

    def read_until(self, pattern: str) -> re.Match[str]:
        end, screen = time.monotonic() + TIMEOUT, ""
        while not (match := re.search(pattern, screen)):
            ready, _, _ = select.select([self.master], [], [], max(0, end - time.monotonic()))
            assert ready, f"no {pattern!r} within {TIMEOUT} s in:\n{screen}"
            screen += os.read(self.master, 4096).decode(errors="replace")
        return match

    def run(self, command: str) -> None:
        # the quotes keep the typed line from matching: only what echo prints does
        self.send(f"{command}; echo DO''NE\r")
        self.read_until(r"\nDONE\r")

    def complete(self, line: str) -> str:
        """Return the line after TAB: `echo`, put before it by Ctrl-A (the line's start), prints it."""
        self.send(f"{line}\t\x01echo LI''NE \r")
        return self.read_until(r"\nLINE ([^\r\n]*)\r")[1].rstrip()

    def __enter__(self) -> "Terminal":
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self.master)
        os.close(self.slave)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout in which python, python3 and .venv/bin/python are the interpreter of this test."""
    folder = tmp_path_factory.mktemp("checkout")
    for name in ("src", "config", "hydra", "pyproject.toml"):
        (folder / name).symlink_to(REPOSITORY / name)
    for name in ("bin/python", "bin/python3", ".venv/bin/python"):
        wrapper = folder / name  # not a link: a linked python does not find its environment
        wrapper.parent.mkdir(parents=True, exist_ok=True)
        wrapper.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
        wrapper.chmod(0o755)
    (folder / "plain.py").write_text("open('executed', 'w')\n")  # no Hydra command
    (folder / "sitecustomize.py").write_text(COUNTING)
    return folder


@pytest.fixture(scope="module")
def environment(folder: Path) -> dict[str, str]:
    return {
        "PATH": f"{folder / 'bin'}:/usr/local/bin:/usr/bin:/bin",
        "HOME": str(folder),
        "INPUTRC": "/dev/null",
        "LANG": "C.UTF-8",
        "TERM": "dumb",
        "PYTHONPATH": str(folder),
        "QUERIES": str(folder / "queries"),
    }


@pytest.fixture(scope="module", params=SHELLS)
def shell(request: pytest.FixtureRequest) -> str:
    if shutil.which(request.param) is None:
        pytest.skip(f"{request.param} is not installed")
    return request.param


@pytest.fixture(scope="module")
def terminal(shell: str, folder: Path, environment: dict[str, str]) -> Iterator[Terminal]:
    with Terminal(shell, folder, environment) as terminal:
        terminal.run(f"source hydra/tab_completion_{shell} src/train.py")
        yield terminal


@pytest.mark.processes
@pytest.mark.parametrize("python", ["python", "python3", ".venv/bin/python"])
@pytest.mark.parametrize(
    ("typed", "completed"),
    [
        ("src/train.py hparams.ba", "src/train.py hparams.batch_size="),
        ("src/train.py data=MN", "src/train.py data=MNIST"),
        ("src/train.py trainer=cpu hparams.mon", "src/train.py trainer=cpu hparams.monitor"),
        ("src/evaluate.py exp", "src/evaluate.py experiment"),
        ("src/evaluate.py ck", "src/evaluate.py ckpt="),
    ],
)
def test_completes(terminal: Terminal, python: str, typed: str, completed: str) -> None:
    assert terminal.complete(f"{python} {typed}").startswith(f"{python} {completed}")


@pytest.mark.processes
@pytest.mark.parametrize(
    ("typed", "completed"),
    [
        ("python src/train.py hparams.seed=", "python src/train.py hparams.seed=0"),
        (
            "HYDRA_FULL_ERROR=1 python -u src/train.py -m hparams.seed=1,2 hparams.ba",
            ".* hparams.batch_size=",
        ),
        (
            "python src/evaluate.py run=conf",
            "python src/evaluate.py run=config/?",
        ),  # no option of a group: a path
        ("python src/train.", "python src/train.py"),
        ("python src/train.py --bs 4 --l", "python src/train.py --bs 4 --lr"),
        ("python src/train.py --lr ", "python src/train.py --lr 0.003"),
        ("python src/train.py --lr 0.1 hparams.ba", "python src/train.py --lr 0.1 hparams.batch_size="),
        ("python src/train.py --resume conf", "python src/train.py --resume config/?"),
        ("python src/train.py resume_s", "python src/train.py resume_sweep="),
        ("python src/predict.py run=x input=pyp", "python src/predict.py run=x input=pyproject.toml"),
        ("python src/train.py -c pyp", "python src/train.py -c pyproject.toml"),
        ("python pla", "python plain.py"),
    ],
)
def test_completes_values_and_paths(terminal: Terminal, typed: str, completed: str) -> None:
    assert re.fullmatch(completed, terminal.complete(typed))


@pytest.mark.processes
def test_lists_the_options_of_a_group(terminal: Terminal, shell: str) -> None:
    line = "python src/train.py data="
    # fish draws no list on a dumb terminal, but tells it
    terminal.send(f'complete -C "{line}"\r' if shell == "fish" else f"{line}\t\t")
    screen = terminal.read_until(r"(?s)\bMNIST\b.*digits|digits.*\bMNIST\b")
    terminal.send("\x03")
    terminal.run("true")
    assert "_base" not in screen.string


@pytest.mark.processes
def test_asks_once_and_without_torch(terminal: Terminal, folder: Path) -> None:
    (folder / "queries").unlink(missing_ok=True)
    terminal.complete("python src/train.py hparams.ba")
    assert (folder / "queries").read_text() == "False\n"


@pytest.mark.processes
def test_runs_no_script_without_hydra(terminal: Terminal, folder: Path) -> None:
    assert terminal.complete("python plain.py hparams.ba") == "python plain.py hparams.ba"
    assert not (folder / "executed").exists()


@pytest.mark.processes
@pytest.mark.parametrize("argument", ["", "absent.py", "plain.py"])
def test_refuses_what_is_no_hydra_command(shell: str, folder: Path, environment: dict[str, str], argument: str) -> None:
    command = f"source hydra/tab_completion_{shell} {argument}; echo alive"
    done = subprocess.run(
        [shell, "-c", command], cwd=folder, env=environment, capture_output=True, text=True, timeout=TIMEOUT
    )
    assert done.stdout == "alive\n"
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"tab_completion_{shell}: '{argument}' is not a Hydra command.")


@pytest.mark.processes
def test_takes_the_repositorys_interpreter_where_the_first_has_no_hydra(
    shell: str, folder: Path, environment: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "python").write_text(f'#!/bin/sh\nexec "{sys.executable}" -S "$@"\n')  # without site-packages
    (tmp_path / "python").chmod(0o755)
    with Terminal(shell, folder, environment | {"PATH": f"{tmp_path}:/usr/bin:/bin"}) as terminal:
        terminal.run(f"source hydra/tab_completion_{shell} src/train.py")
        completed = terminal.complete("python src/train.py hparams.ba")
    assert completed == "python src/train.py hparams.batch_size="


def test_hydra_holds_no_python() -> None:
    assert not list((REPOSITORY / "hydra").rglob("*.py")), "a .py file in hydra/ shadows the library"
