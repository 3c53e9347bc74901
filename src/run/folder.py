"""The run folder: its name, its lock, its run.json, and the copy of the code that ran.

Two starts in the same second never share a folder, and two processes never write into one at the same time.
"""

import fcntl
import filecmp
import logging
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from itertools import count
from pathlib import Path
from typing import Any, NoReturn

from process.errors import UserError
from process.files import explain_os_errors
from process.ranks import agree_on
from process.secrets import scrub
from process.source_files import SourceFiles
from process.text import printable
from run.data_file import DamagedFileError, read_json
from run.fields import RUN, wrong_entry

log = logging.getLogger(__name__)

EVALUATION = "evaluation.json"  # what evaluate.py has measured
REPOSITORY = Path(__file__).resolve().parents[2]
COPIED = ("src", "config", "requirements.txt")  # enough to run again: `python source/src/train.py`
IGNORED = ("__pycache__", ".*", "outputs", "multirun")  # the last two exist in src if a run was started there


class RecordError(UserError):
    """A run.json that is missing, damaged or not that of a run; `reason` says which in a few words."""

    def __init__(self, folder: str | Path, reason: str) -> None:
        super().__init__(folder, reason)  # as it is pickled
        self.folder, self.reason = folder, reason

    def __str__(self) -> str:
        return f"{self.folder}: {self.reason}: restore it, or start a new run with init_from={self.folder}"


class MissingRecordError(RecordError):
    """A folder without run.json."""


def read_run_json(folder: str | Path) -> dict[str, Any]:
    """Return the content of run.json, the record of a run. Raises a RecordError if there is none that can be used."""
    try:
        record = read_json(os.path.join(folder, "run.json"))  # noqa: PTH118 - pathlib takes twice as long
    except FileNotFoundError as error:
        raise MissingRecordError(folder, "no run.json") from error
    except OSError as error:
        raise RecordError(folder, f"run.json: {error.strerror}") from error
    except DamagedFileError as error:
        raise RecordError(folder, f"run.json {error}") from error
    if not isinstance(record, dict) or "status" not in record:
        raise RecordError(folder, "run.json is not that of a run")
    if wrong := wrong_entry(record, RUN):
        raise RecordError(folder, f"run.json is damaged: {wrong}")
    return record


def make_run_folder(kind: str, experiment_name: str, comment: str | None) -> str:
    """Make `<kind>/<experiment_name>/<YYYY-MM-DD>/<HH-MM-SS>[_comment][_1, _2 ...]` and return its path.

    Where several ranks were started together, rank 0 makes it. `kind` is `outputs` or `multirun`.
    """
    return agree_on("folder", lambda: _make(kind, experiment_name, comment))


def _make(kind: str, experiment_name: str, comment: str | None) -> str:
    now = datetime.now()
    name = now.strftime("%H-%M-%S") + (f"_{slug(comment)}" if comment else "")
    parent = Path(kind, slug(experiment_name), now.strftime("%Y-%m-%d"))
    try:
        parent.mkdir(parents=True, exist_ok=True)
        for suffix in count():
            folder = parent / (f"{name}_{suffix}" if suffix else name)
            try:
                folder.mkdir(parents=True)  # exclusive: of two processes only one succeeds
            except FileExistsError:
                continue
            return str(folder)
    except OSError as error:
        raise UserError(
            f"cannot make a run folder in {parent.absolute()}: {error.strerror}; make it writable or cd elsewhere"
        ) from error
    raise AssertionError("count() never ends")


def remove_unused(folders: list[Path]) -> None:
    """Remove run folders that hold nothing but an empty train.log, and the folders around them that are empty then."""
    for folder in folders:
        with suppress(OSError):  # the first that is not empty
            if all(path.is_file() and not path.stat().st_size for path in folder.iterdir()):
                for path in folder.iterdir():
                    path.unlink()
            for each in (folder, *folder.parents[:3]):
                each.rmdir()


def slug(text: str) -> str:
    """Return the text with all but letters, digits and `_.=+-` replaced by `-`: `lr 0.1, 日本` -> `lr-0.1-日本`."""
    return re.sub(r"[^\w.=+-]+", "-", str(text)).strip("-.")[:60] or "-"


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Lock the folder until the block or the process ends. Raises a UserError while another process holds the lock."""
    handle = os.open(folder, os.O_RDONLY)
    _lock_handles.add(handle)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UserError(
                f"{folder} is still running{_describe_process(folder)}: stop it first, or resume another run"
            ) from error
        except OSError:  # a file system without locks: then nothing is protected
            pass
        yield
    finally:
        _lock_handles.discard(handle)
        os.close(handle)


_lock_handles: set[int] = set()


def _release_locks() -> None:
    for handle in _lock_handles:
        os.close(handle)
    _lock_handles.clear()


# a forked process shares the lock: DataLoader workers live seconds longer than a killed run, and would block resume=
os.register_at_fork(after_in_child=_release_locks)


def _describe_process(folder: Path) -> str:
    """Return the recorded process and host of the run or sweep in the folder."""
    for name in ("run.json", "sweep.json"):
        try:
            record = read_json(folder / name)
            start = [record, *record.get("resumed", [])][-1]
            return f" (process {start['pid']} on {start['host']})"
        except (OSError, DamagedFileError, LookupError, TypeError, AttributeError):
            pass
    return ""


def shown(folder: Path) -> str:
    """Return the path as an argument of a command in this working directory."""
    here = Path.cwd()
    return shlex.quote(str(folder.relative_to(here) if folder.is_relative_to(here) else folder))


def copy_source(folder: Path) -> None:
    """Copy code and config, uncommitted changes included, to `folder`, which exists only once it is complete.

    Says in one line what is left out: what may hold a secret, what git ignores, and what cannot be copied.
    """
    partial = folder.with_name(f".{folder.name}")
    found = SourceFiles(REPOSITORY, COPIED, IGNORED, avoid=folder.parent)
    with explain_os_errors(folder):
        partial.mkdir()
        for path in found.files:
            new = partial / path
            new.parent.mkdir(parents=True, exist_ok=True)
            with suppress(FileNotFoundError):  # an editor's temporary file that is gone
                shutil.copy2(REPOSITORY / path, new)
        partial.rename(folder)
    if lost := found.lost_code():
        log.warning(
            f"source/ lacks {found.describe()}; resume=, sweeps and src/rerun.py run that copy: if they need "
            f"{lost[0]}, take it out of .gitignore"
        )
    elif found.left_out:
        log.info(f"source/ lacks {found.describe()}")


def run_copy(source: Path, arguments: list[str]) -> NoReturn:
    """Replace this process by the same command out of the copy in `source`; its child processes use the copy too."""
    command = Path(sys.argv[0]).resolve().relative_to(REPOSITORY)
    before = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
    os.environ["PYTHONPATH"] = os.pathsep.join([str(source / "src"), *before])
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, str(source / command), *arguments])


def source_differences(folder: Path, *parts: str) -> list[str]:
    """Return the files that differ between the copy in `folder` and this repository.

    `parts` are the folders or files to compare; the default is all that is copied.
    """

    def same(path: Path) -> bool:
        try:
            return filecmp.cmp(REPOSITORY / path, folder / path, shallow=False)
        except OSError:  # absent on one side, or unreadable
            return False

    found = [SourceFiles(root, parts or COPIED, IGNORED, avoid=folder.parent) for root in (REPOSITORY, folder)]
    return sorted(printable(path) for path in {path for each in found for path in each.files} if not same(path))


def describe_start() -> dict[str, Any]:
    """Return when, how and where this process was started, for run.json and sweep.json."""
    return {
        "started": now(),
        "command": scrub(shlex.join(sys.orig_argv)),
        "git": git_state(),
        "host": socket.gethostname(),
        "pid": os.getpid(),  # execv into the copy of the code keeps it
    }


def now() -> str:
    return datetime.now().astimezone().isoformat(timespec="milliseconds")


def git_state() -> dict[str, str | bool] | None:
    """Return the commit, and whether the code differs from it: by a changed file, or a new one in src/ or config/.

    None outside of git and in a copy of the code.
    """
    try:
        ignored = subprocess.run(["git", "-C", str(REPOSITORY), "check-ignore", "-q", "."], stderr=subprocess.DEVNULL)
        if ignored.returncode == 0:
            return None  # the repository around a run folder is not the code that runs
        commit = _git("rev-parse", "HEAD")
        changed = _git("status", "--porcelain", "--untracked-files=no")
        new = _git("ls-files", "--others", "--exclude-standard", "--", "src", "config")  # a pool of one's own, say
        return {"commit": commit, "dirty": bool(changed or new)}
    except (OSError, subprocess.CalledProcessError):
        return None


def _git(*arguments: str) -> str:
    command = ["git", "-C", str(REPOSITORY), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
