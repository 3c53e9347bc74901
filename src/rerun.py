"""Repeat a run from its record, the recorded code included, and compare the metrics: `python src/rerun.py --help`."""

import platform
import signal
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from command import plain_command, trust
from command.arguments import recorded_overrides
from process.files import path_from_setting
from process.gpus import usable_gpus
from process.interruption import SIGNALS
from run.folder import RecordError, make_run_folder, read_run_json, source_differences
from run.record import versions
from run.resume import not_a_run

HELP = """\
Repeat a run with the code, config and settings in its folder, in a new run folder; then compare the metrics.

  python src/rerun.py FOLDER [SETTING=VALUE ...]

First it lists what has changed since: versions of packages, of Python, of torch's CUDA and the driver, the GPUs, and
the files of this repository that differ from the recorded code, which is the code that runs. Code in a folder that you
have not made here runs only with trust=true.

== Examples ==
  python src/rerun.py outputs/Default/2026-11-20/09-00-00
  python src/rerun.py multirun/Default/2026-11-20/09-00-00/3 trainer=cpu
"""

NEEDED = ("experiment_name", "comment", "versions", "python", "metrics")  # entries of run.json


def main(words: list[str]) -> int:
    if not words or {"-h", "--help"} & set(words):
        print(HELP, end="")
        return 0 if words else 1
    folder, *new = trust.take_switch(words)
    old = path_from_setting("FOLDER", folder, "name a run folder").absolute()
    if not (old / "source" / "src" / "train.py").is_file() or not (old / "run.json").is_file():
        raise not_a_run("", old)
    trust.check_code(old)
    record = read_needed(old)
    for line in differences(old, record):
        print(line)
    again = Path(make_run_folder("outputs", record["experiment_name"], record["comment"])).absolute()
    command = [sys.executable, str(old / "source" / "src" / "train.py"), *recorded_overrides(old, new), *new]
    sys.stdout.flush()  # the lines above come before those of the training
    if code := run([*command, f"hydra.run.dir={again}", "hydra.mode=RUN"]):
        return code
    compare(record["metrics"], read_run_json(again)["metrics"])
    return 0


def read_needed(folder: Path) -> dict[str, Any]:
    """Return run.json. Raises a RecordError if an entry is missing that repeating the run needs."""
    record = read_run_json(folder)
    if missing := [name for name in NEEDED if name not in record]:
        raise RecordError(folder, f"run.json has no {missing[0]}")
    return record


def run(command: list[str]) -> int:
    """Run a training and return its exit code; pass signals on to it, so that it saves before it ends."""
    with subprocess.Popen(command) as training:
        for signum in SIGNALS:
            signal.signal(signum, lambda number, _: training.send_signal(number))
        code = training.wait()
    return code if code >= 0 else 128 - code


def differences(folder: Path, record: dict[str, Any]) -> list[str]:
    """Return a line for each difference in code and versions between the recorded run and now."""
    lines = []
    now = {**versions(), "python": platform.python_version()}
    for name, old in {**record["versions"], "python": record["python"]}.items():
        new = now[name] if name in now else installed(name)
        if name == "torch" and "+" not in (old or "+"):  # a run of an older version: it recorded no build
            new = str(new).partition("+")[0]
        if new != old:
            lines.append(f"{name}: {old or 'none'} -> {new or 'none'}")
    here = [gpu.name for gpu in usable_gpus()]
    if (there := record.get("gpus", here)) != here:
        lines.append(f"GPUs: {', '.join(there) or 'none'} -> {', '.join(here) or 'none'}")
    if files := source_differences(folder / "source", "src", "config"):
        lines.append(f"the code in this repository has changed; the recorded code runs. Differing: {', '.join(files)}")
    for part in record.get("resumed", []):
        if changes := part.get("changes"):
            lines.append(f"it was resumed with other settings, which now apply from the start: {', '.join(changes)}")
        if files := part.get("other_code"):
            lines.append(f"it was resumed with other code: {', '.join(files)}")
    return lines or ["code and versions are those of the run"]


def installed(package: str) -> str:
    """Return the installed version of a package."""
    try:
        return version(package)
    except (PackageNotFoundError, ValueError):  # no name of a package
        return "not installed"


def compare(old: dict[str, Any], new: dict[str, Any]) -> None:
    """Print both values of each metric, and whether all are equal."""
    for name in sorted(old.keys() | new.keys()):
        values = f"{old.get(name)} {'=' if old.get(name) == new.get(name) else '->'} {new.get(name)}"
        print(f"{name}: {values}")
    print("the metrics are the same" if old == new else "the metrics differ: another machine, version or thread count?")


if __name__ == "__main__":
    plain_command.start(main)
