"""`make faults`: what a machine and its users do to a sweep, each tried for real.

A worker that is killed or stopped, memory that runs out, a study that is locked or damaged, sweeps that begin in the
same second, hundreds of jobs. PYTHONPATH=tests/support python tests/faults/sweep_faults.py [WHAT ...] --number 3
"""

import argparse
import os
import re
import shutil
import signal
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import closing, suppress
from functools import partial
from pathlib import Path

import psutil
import warm
from runs import record
from sweeps import TINY, start, statuses, sweep_in

JOBLIB = ("hydra/launcher=joblib", "hydra.launcher.n_jobs=2")
LONG, LIMIT = 100_000, 600  # epochs of a job that is to be stopped, seconds in which what is awaited must come
# trials that cannot be the same, so that none is reused
SEARCH = ("hparams_search=tpe", "hparams.optimizer=Adam", "hparams.batch_size=64", "hparams.label_smoothing=0")


def ended(process: warm.Process) -> tuple[int | None, str]:
    """Return the exit code and the output of a sweep when it has ended, in which there is no traceback."""
    with process:
        text = process.stdout.read()
    assert "Traceback" not in text, text
    return process.returncode, text


def run(folder: Path, *options: str) -> tuple[int | None, str]:
    return ended(start(folder, *options))


def wait(true: Callable[[], object], what: str) -> None:
    until = time.monotonic() + LIMIT
    while not true():
        assert time.monotonic() < until, f"not within {LIMIT} s: {what}"
        time.sleep(0.1)


def kill_all_in(folder: Path) -> None:
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if Path(process.cwd()).is_relative_to(folder):
                process.kill()


def process_of(folder: Path, job: int, sweep: warm.Process) -> int:
    """Return the id of a job's process, once the job has its first checkpoint."""
    place = f"multirun/*/*/*/{job}"
    saved = f"{place}/checkpoints/last.ckpt"
    wait(lambda: [*folder.glob(saved)] or sweep.poll() is not None, f"a checkpoint of job {job}")
    assert [*folder.glob(saved)], f"the sweep has ended before: {sweep.stdout.read()}"
    return record(*folder.glob(place))["pid"]


def killed(launcher: tuple[str, ...], folder: Path) -> str:
    """The killed job is lost alone, and resumed it is what it would be."""
    # a patience that is never reached changes nothing: the jobs have equal metrics
    options = (*TINY, "trainer=cpu", "hparams.max_epochs=12", "hparams.patience=101,102,103", *launcher, "-m")
    process = start(folder, *options)
    os.kill(process_of(folder, 0, process), signal.SIGKILL)
    code, text = ended(process)
    sweep = sweep_in(folder)
    found = statuses(sweep)
    assert (code, found[1:]) == (1, ["finished", "finished"]), text
    assert "1 of 3 jobs did not finish; remaining jobs: python src/train.py resume_sweep=" in text, text
    code, text = run(folder, f"resume_sweep={sweep}")
    assert (code, statuses(sweep)) == (0, ["finished"] * 3), text
    metrics = {(sweep / job / "metrics.csv").read_bytes() for job in "012"}
    assert len(metrics) == 1, "the resumed job has other metrics"
    return f"the job is {found[0]}, the other two finished; resumed, it has their metrics bit for bit"


def retried(launcher: tuple[str, ...], folder: Path) -> str:
    """Ray repeats a job whose worker is killed, which resumes."""
    process = start(folder, *TINY, "trainer=cpu", "hparams.max_epochs=12", "hparams.patience=101,102", *launcher, "-m")
    os.kill(process_of(folder, 0, process), signal.SIGKILL)
    code, text = ended(process)
    sweep = sweep_in(folder)
    assert (code, statuses(sweep)) == (0, ["finished"] * 2), text
    assert len(record(sweep / "0")["resumed"]) == 1
    assert (sweep / "0" / "metrics.csv").read_bytes() == (sweep / "1" / "metrics.csv").read_bytes()
    return "Ray ran the job again, and it resumed: its metrics are those of the other one bit for bit"


def killed_trial(folder: Path) -> str:
    """The killed trial of a search fails, and the search goes on."""
    process = start(folder, *TINY, "trainer=cpu", "hparams.max_epochs=12", *SEARCH, "hydra.sweeper.n_trials=4", *JOBLIB)
    os.kill(process_of(folder, 0, process), signal.SIGKILL)
    code, text = ended(process)
    sweep = sweep_in(folder)
    assert (code, statuses(sweep)) == (1, ["failed", "finished", "finished", "finished"]), text
    assert "its process was killed by SIGKILL" in text
    code, text = run(folder, f"resume_sweep={sweep}")
    assert (code, statuses(sweep)) == (0, ["finished"] * 4), text
    return "the trial failed, the other three finished, resume_sweep= finished it too"


def stopped(folder: Path) -> str:
    """The sweep says which process is stopped, and Ctrl-C ends it."""
    options = ("trainer=cpu", f"hparams.max_epochs={LONG}", "hparams.seed=0,1", *JOBLIB, "-m")
    process = start(folder, *TINY, *options)
    pid, _ = process_of(folder, 0, process), process_of(folder, 1, process)
    os.kill(pid, signal.SIGSTOP)
    assert any(f"job #0, process {pid} is stopped" in line for line in process.stdout), "it does not say so"
    began = time.monotonic()
    process.send_signal(signal.SIGINT)
    code, text = ended(process)
    assert (code, statuses(sweep_in(folder))) == (130, ["interrupted"] * 2), text
    assert not psutil.pid_exists(pid)
    return f"it says so; Ctrl-C continued it, both jobs saved, and the sweep ended in {time.monotonic() - began:.1f} s"


def out_of_memory(folder: Path) -> str:
    fault = ("+callbacks.fault._target_=memory_faults.NoMemory", "+callbacks.fault.who=torch,python,nobody")
    code, text = run(folder, *TINY, "trainer=cpu", *fault, "-m")
    sweep = sweep_in(folder)
    assert (code, statuses(sweep)) == (1, ["failed", "failed", "finished"]), text
    for job in "01":
        assert "out of memory: choose a smaller hparams.batch_size" in record(sweep / job)["error"]
    return "one line with a remedy, and the next job finished"


def locked_study(folder: Path) -> str:
    """A lock for 8 s is waited for (SQLite itself waits 5 s); one that stays is one line, and the sweep resumes."""
    options = (*TINY, "trainer=cpu", *SEARCH, "hydra.sweeper.n_trials=1")
    assert run(folder, *options)[0] == 0
    shutil.move(folder / "multirun" / "Default", folder / "first")
    with closing(sqlite3.connect(folder / "multirun" / "optuna.db", isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        process = start(folder, *options)
        wait(lambda: [*folder.glob("multirun/Default/*/*/source")], "the start of the sweep")
        time.sleep(8)
        other.execute("ROLLBACK")
        code, text = ended(process)
        assert code == 0, text
        shutil.move(folder / "multirun" / "Default", folder / "second")
        other.execute("BEGIN EXCLUSIVE")
        code, text = run(folder, *options, "hydra.sweeper.storage='sqlite:///multirun/optuna.db?timeout=1'")
        assert code == 1, text
        (line,) = (line for line in text.splitlines() if line.startswith("error: "))
        assert "database is locked" in line, text
        other.execute("ROLLBACK")
    sweep = sweep_in(folder)
    code, text = run(folder, f"resume_sweep={sweep}")
    assert (code, statuses(sweep)) == (0, ["finished"]), text
    return "8 s were waited for; a lock that stays ended it in one line, and resume_sweep= ran it"


def study_locked_meanwhile(folder: Path) -> str:
    storage = "hydra.sweeper.storage='sqlite:///multirun/optuna.db?timeout=1'"
    process = start(folder, *TINY, "trainer=cpu", "hparams.max_epochs=12", *SEARCH, "hydra.sweeper.n_trials=2", storage)
    process_of(folder, 0, process)
    with closing(sqlite3.connect(folder / "multirun" / "optuna.db", isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        code, text = ended(process)
        other.execute("ROLLBACK")
    assert code == 1, text
    (line,) = (line for line in text.splitlines() if line.startswith("error: "))
    assert "database is locked" in line, text
    assert "resume_sweep=" in line, text
    sweep = sweep_in(folder)
    code, text = run(folder, f"resume_sweep={sweep}")
    assert (code, statuses(sweep)) == (0, ["finished"] * 2), text
    return "one line ended the search; resume_sweep= ran the rest"


def damaged_study(folder: Path) -> str:
    path = folder / "multirun" / "optuna.db"
    path.parent.mkdir()
    for content in (b"no database at all" * 300, b"SQLite format 3\0" + bytes(range(256)) * 16):
        path.write_bytes(content)
        code, text = run(folder, *TINY, "trainer=cpu", *SEARCH, "hydra.sweeper.n_trials=1")
        assert code == 1, text
        (line,) = (line for line in text.splitlines() if line.startswith("error: "))
        assert "restore it, move it away, or name another" in line, text
        assert path.read_bytes() == content
    return "one line, and the file is as it was"


def same_second(folder: Path) -> str:
    searches = [start(folder, *TINY, "trainer=cpu", *SEARCH, "hydra.sweeper.n_trials=1") for _ in range(2)]
    grids = [start(folder, *TINY, "trainer=cpu", "hparams.seed=0,1", *JOBLIB, "-m") for _ in range(2)]
    for process in (*searches, *grids):
        code, text = ended(process)
        assert code == 0, text
    sweeps = [*folder.glob("multirun/*/*/*/sweep.json")]
    assert sorted(len(statuses(path.parent)) for path in sweeps) == [1, 1, 2, 2]
    assert all(status == "finished" for path in sweeps for status in statuses(path.parent))
    return f"each had its folder ({', '.join(sorted(path.parent.name for path in sweeps))}), all finished"


def many(jobs: int, launcher: tuple[str, ...], folder: Path) -> str:
    options = ("data=digits", "data.limit_train=64", "model=cnn", "loggers=none", "trainer=cpu", "hparams.max_epochs=1")
    began, memory, files = time.monotonic(), [], []
    log = folder / "terminal.log"
    process = start(folder, *options, "verbosity=1", f"hparams.seed=range({jobs})", *launcher, "-m")
    own = psutil.Process(process.pid)
    with process, log.open("w") as file:
        for line in process.stdout:
            file.write(line)
            if "jobs  #" in line:
                memory.append(own.memory_info().rss / 2**20)
                files.append(own.num_fds())
    seconds, text = time.monotonic() - began, log.read_text()
    assert process.returncode == 0, text[-2000:]
    assert statuses(sweep_in(folder)) == ["finished"] * jobs
    lines = text.splitlines()
    assert sum(bool(re.match(r"\d+/\d+ jobs  #", line)) for line in lines) == jobs
    early = memory[min(len(memory) - 1, 10)]
    return (
        f"{seconds / jobs:.1f} s a job, {early:.0f} -> {memory[-1]:.0f} MiB, {files[0]} -> {files[-1]} open files from "
        f"the first jobs to the last, {len(lines)} lines on the terminal"
    )


def trials(jobs: int) -> dict[str, Callable[[Path], str]]:
    return {
        "killed joblib": partial(killed, JOBLIB),
        "killed submitit_local": partial(killed, ("hydra/launcher=submitit_local",)),
        "killed ray": partial(retried, ("hydra/launcher=ray",)),
        "killed trial": killed_trial,
        "stopped": stopped,
        "memory": out_of_memory,
        "locked study": locked_study,
        "study locked meanwhile": study_locked_meanwhile,
        "damaged study": damaged_study,
        "same second": same_second,
        f"{jobs} jobs basic": partial(many, jobs, ()),
        f"{jobs} jobs joblib": partial(many, jobs, JOBLIB),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "what", nargs="*", metavar="WHAT", help="trials whose names contain one of these (default: all)"
    )
    parser.add_argument("--number", type=int, default=1, help="how often each is tried (default: 1)")
    parser.add_argument("--jobs", type=int, default=20, help="of the sweeps of many jobs (default: 20)")
    arguments = parser.parse_args()
    os.environ["PYTHONPATH"] = str(Path(warm.SUPPORT))
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    scratch, failed, began = Path(tempfile.mkdtemp(prefix="sweeps-")), 0, time.monotonic()
    print(f"{'what':<24}{'times':>5}{'seconds':>9}  what held")
    for name, trial in trials(arguments.jobs).items():
        if arguments.what and not any(word in name for word in arguments.what):
            continue
        held, start_of_trial = "", time.monotonic()
        for number in range(arguments.number):
            folder = scratch / f"{name}-{number}".replace(" ", "-")
            folder.mkdir()
            try:
                held = trial(folder)
                shutil.rmtree(folder)
            except Exception as error:
                kill_all_in(folder)
                failed += 1
                held = f"FAILED: {error} (kept: {folder})"
                break
        print(f"{name:<24}{number + 1:>5}{time.monotonic() - start_of_trial:>9.0f}  {held}", flush=True)
    print(f"{failed} failed, {(time.monotonic() - began) / 60:.1f} minutes")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
