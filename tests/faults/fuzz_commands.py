"""Mutated command lines of all commands, and mutated settings files of train.py, up to where the job would begin.

Each runs in a process of this script, in an empty folder. It must begin, answer, or be refused: one `error: ` line,
exit code 1, nothing left behind, within 10 seconds of the processor. The end is where the command's function gets its
config (`begin` below), or where another program would be started; report.py runs as a whole.
"""

import argparse
import functools
import io
import logging
import multiprocessing
import os
import random
import re
import resource
import runpy
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).parents[2] / "src"), str(Path(__file__).parents[1] / "support")]

import typed_words  # noqa: E402
from runs import REPOSITORY  # noqa: E402

import model  # noqa: E402, F401 - torch, torchmetrics and Lightning once: imports count as time of a command otherwise
from command.job import job as JOB  # noqa: E402

SLOWEST, LONGEST_WAIT = 10, 120  # seconds of the processor, and of the clock: what takes longer hangs
MEMORY = 8 * 2**30  # bytes
BEGAN, ANSWERED, REFUSED, FAULTY = "began", "answered", "refused", "FAULTY"


place: "Place"  # of this process
seeded: int


class Begun(BaseException):
    """The moment at which the command's own work would begin."""


class HangError(BaseException):
    """The end of a command that takes too long."""


@dataclass
class Outcome:
    """End of a command: one of the four words, and for a fault what is wrong."""

    kind: str
    line: str = ""
    wrong: str = ""
    seconds: float = 0.0


class Place:
    """A folder with what the words name, and an empty one in which commands run. Nothing is written outside of them."""

    def __init__(self, root: Path) -> None:
        self.root, self.here = root.resolve(), root.resolve() / "here"
        self.written: set[str] = set()
        self.watching = False
        typed_words.write_given(self.root / "given")
        self.here.mkdir()
        sys.addaudithook(self._note)

    def _note(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self.watching or event not in ("open", "os.mkdir", "os.rename"):
            return
        path = arguments[0]
        writes = event != "open" or (
            isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
        )
        if not writes or not isinstance(path, str | bytes | os.PathLike):
            return
        full = os.path.abspath(os.fsdecode(path))  # noqa: PTH100 - resolves no links, of which there are none
        if full.endswith(".pyc") or "__pycache__" in full or full.startswith("/dev/"):
            return
        if not full.startswith(str(self.root)):
            raise PermissionError(13, "not in this test", full)
        self.written.add(full)

    def left(self) -> list[str]:
        """Return what the command has left behind; each command that uses a run writes a log into its folder."""
        found = [os.path.relpath(path, self.root) for path in self.written if os.path.lexists(path)]
        return sorted(path for path in found if not re.fullmatch(r"here|given/run(/\w+\.log)?", path))

    def clean(self) -> None:
        for path in sorted(self.written - {str(self.here)}, key=len, reverse=True):
            if path.startswith(str(self.root / "given" / "run")) and not path.endswith(".log"):
                continue
            if os.path.isdir(path):  # noqa: PTH112
                shutil.rmtree(path)
            elif os.path.lexists(path):
                os.unlink(path)  # noqa: PTH108
        self.written.clear()
        self.here.mkdir(exist_ok=True)


def begin(function: Callable[..., Any]) -> Callable[..., Any]:
    """Replace command.job.job: check and compose the config as a run does, and end there."""
    from command import job
    from settings import check

    @functools.wraps(function)
    def checked(config: Any) -> None:
        if Path(sys.argv[0]).stem == "train":
            run = job.record(config)
            run.check(config)
            run._compose()
        else:
            check(config)
        raise Begun

    return JOB(checked)


def stop(*_: Any, **__: Any) -> None:
    raise Begun


def replace_boundaries() -> None:
    """Replace what begins the work of a command."""
    import scaffold.clean_copy
    import sweep.callback
    from command import job

    job.job = begin
    for module, name in (
        (sweep.callback, "copy_source"),
        (scaffold.clean_copy, "write_copy"),
        (os, "execv"),
        (os, "execve"),
        (subprocess, "Popen"),
    ):
        setattr(module, name, stop)


def attempt(place: Place, command: str, words: list[str]) -> Outcome:
    """Run a command and return what became of it."""
    out, err = (
        io.TextIOWrapper(io.BytesIO(), "utf-8", errors, line_buffering=True)
        for errors in ("strict", "backslashreplace")
    )
    script = str(REPOSITORY / "src" / f"{'train' if command == 'complete' else command}.py")
    for name in ("HYDRA_FULL_ERROR", "COMP_LINE"):
        os.environ.pop(name, None)
    if command == "complete":
        os.environ["COMP_LINE"] = " ".join(["python x.py", *words])  # as hydra/tab_completion_bash does
        words = ["-sc", "query=fish"]
    sys.argv = [script, *words]
    os.chdir(place.here)
    began = time.process_time()
    signal.setitimer(signal.ITIMER_PROF, SLOWEST)
    signal.setitimer(signal.ITIMER_REAL, LONGEST_WAIT)
    place.watching = True
    code, escaped, has_begun = 0, "", False
    try:
        with redirect_stdout(out), redirect_stderr(err):
            runpy.run_path(script, run_name="__main__")
    except Begun:
        has_begun = True
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except HangError as error:
        frames = traceback.extract_tb(error.__traceback__)[-2:-8:-1]
        escaped = "hangs in " + " < ".join(f"{Path(frame.filename).name}:{frame.lineno}" for frame in frames)
    except BaseException:
        escaped = traceback.format_exc()
    finally:
        for timer in (signal.ITIMER_PROF, signal.ITIMER_REAL):
            signal.setitimer(timer, 0)
        place.watching = False
        logging.getLogger().handlers.clear()
    seconds = time.process_time() - began
    for stream in (out, err):
        stream.flush()
    errors = err.buffer.getvalue().decode("utf-8")  # type: ignore[attr-defined]
    printed = out.buffer.getvalue().decode("utf-8")  # type: ignore[attr-defined]
    kind = BEGAN if has_begun else REFUSED if code else ANSWERED
    wrong = (
        escaped
        or fault(kind, code, printed, errors)
        or (f"left {place.left()[:3]}" if kind == REFUSED and place.left() else "")
    )
    place.clean()
    return Outcome(FAULTY if wrong else kind, errors, wrong, seconds)


def fault(kind: str, code: int, printed: str, errors: str) -> str:
    """Return what is wrong with the way in which a command ended, in words."""
    if "Traceback (most recent call last)" in errors + printed:
        return errors
    if kind == REFUSED and code != 1:
        return f"exit code {code}: {errors[-300:]}"
    if kind == REFUSED and not re.fullmatch(r"error: [^\x00-\x1f\x7f-\x9f\u2028\u2029]+\n", errors):
        return f"no single line: {errors[-600:]!r}"
    if kind == REFUSED and len(errors) > 1500:
        return f"a line of {len(errors)} characters: {errors[:200]!r}"
    return ""


def summary(wrong: str) -> str:
    """Return a traceback in one line: the error, and the last frames; another text as it is."""
    frames = re.findall(r'File "(?:.*/)?(\w+)/(\w+\.py)", line (\d+), in (\w+)', wrong)
    if not frames:
        return wrong
    error = re.findall(r"^[\w.]+(?:Error|Exception|Interrupt|Warning|Exit)\b.*", wrong, re.MULTILINE)
    places = dict.fromkeys(f"{package}/{file}:{line} {name}" for package, file, line, name in frames)
    return f"{error[-1] if error else wrong.splitlines()[-1]:.300} <- {' < '.join([*places][:-6:-1])}"


def hang(*_: Any) -> None:
    raise HangError


def cached_yaml() -> None:
    """Let OmegaConf read each file of this repository once: it takes most of the time of a composition."""
    import copy

    from omegaconf import OmegaConf

    load, read = OmegaConf.load, dict[str, Any]()

    def load_once(file: Any) -> Any:
        path = str(getattr(file, "name", file))
        if not path.endswith(".yaml") or not (path.startswith(str(REPOSITORY)) or "site-packages" in path):
            return load(file)
        if path not in read:
            read[path] = load(file)
        return copy.deepcopy(read[path])

    OmegaConf.load = staticmethod(load_once)  # type: ignore[assignment]


def shape(line: str) -> str:
    """Return a message without the words of the user, to count the kinds of messages."""
    line = re.sub(r"'[^']*'|\"[^\"]*\"|\[.*?\]|\S*[=@~/+]\S*|[\w-]+(\.[\w-]+)+|-?\d\S*", "_", line.strip())
    return re.sub(r"(_[,; ]*)+", "_ ", line)[:110]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--number", type=int, default=2000, help="of command lines, and of settings files")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", metavar="KIND:NUMBER", help="repeat one, such as commands:17, and print its line")
    parser.add_argument("--messages", action="store_true", help="print the kinds of error lines, with an example each")
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        if arguments.only:
            prepare(scratch, arguments.seed)
            kind, number = arguments.only.split(":")
            typed, outcome = attempt_numbered((kind, int(number)))
            print(f"{typed}\n  {outcome.kind}: {outcome.wrong or outcome.line}")
            code = int(outcome.kind == FAULTY)
        else:
            code = fuzz(scratch, arguments)
        os.chdir("/")
    sys.exit(code)


def prepare(scratch: str, seed: int) -> None:
    """Make this process ready to attempt commands, in a place of its own below `scratch`."""
    global place, seeded
    place, seeded = Place(Path(tempfile.mkdtemp(dir=scratch))), seed
    for number in (signal.SIGALRM, signal.SIGPROF):
        signal.signal(number, hang)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, resource.getrlimit(resource.RLIMIT_AS)[1]))
    cached_yaml()
    replace_boundaries()


def attempt_numbered(which: tuple[str, int]) -> tuple[str, Outcome]:
    """Return the command of this kind and number as it would be typed, and what became of it."""
    kind, number = which
    rng = random.Random(f"{seeded} {kind} {number}")
    if kind == "commands":
        command, words = typed_words.command_line(rng)
        return f"{command} {words!r:.600}", attempt(place, command, words)
    content = typed_words.settings_file(rng)
    (place.root / "given" / "fuzzed.yaml").write_bytes(content)
    words = ["-c", "../given/fuzzed.yaml", *rng.choice(([], [], ["data=digits"], ["-m"]))]
    return f"train {words!r} with {content!r:.600}", attempt(place, "train", words)


def fuzz(scratch: str, arguments: argparse.Namespace) -> int:
    """Try all, print one line for each kind of thing, and return the exit code."""
    failed = 0
    messages: dict[str, list[str]] = {}
    context = multiprocessing.get_context("fork")
    with context.Pool(arguments.processes, prepare, (scratch, arguments.seed)) as pool:
        for kind in ("commands", "settings"):
            counts, slowest = Counter[str](), 0.0
            tried = [(kind, number) for number in range(arguments.number)]
            for which, (typed, outcome) in zip(tried, pool.imap(attempt_numbered, tried, chunksize=4), strict=True):
                counts[outcome.kind] += 1
                slowest = max(slowest, outcome.seconds)
                name = ":".join(map(str, which))
                if outcome.kind == FAULTY:
                    print(f"--seed {arguments.seed} --only {name}: {typed}\n  {summary(outcome.wrong)}", flush=True)
                if outcome.kind == REFUSED:
                    messages.setdefault(shape(outcome.line), []).append(f"{name} {outcome.line.strip()[:400]}")
            failed += counts[FAULTY]
            said = ", ".join(f"{counts[each]} {each}" for each in (BEGAN, ANSWERED))
            said += f", {counts[REFUSED]} refused in one line, {counts[FAULTY]} FAULTY"
            print(f"{kind}: {counts.total()} tried, {said}, slowest {slowest:.1f} s", flush=True)
    if arguments.messages:
        for lines in sorted(messages.values(), key=len, reverse=True):
            print(f"{len(lines):5} {lines[0]}")
    return int(failed > 0)


if __name__ == "__main__":
    main()
