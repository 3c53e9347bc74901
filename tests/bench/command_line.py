"""CPU seconds of one TAB and of --help, with everything in requirements.txt installed."""

import os
import resource
import subprocess
import sys
from pathlib import Path

from timing import in_turn, row

# as in anyone's shell, Python may keep its bytecode
BYTECODE = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
TRAIN = Path(__file__).parents[2] / "src" / "train.py"


def cpu_of(*arguments: str, **environment: str) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(
        [sys.executable, str(TRAIN), *arguments],
        check=True,
        stdout=subprocess.DEVNULL,
        env={**BYTECODE, **environment},
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def main() -> None:
    line = "python src/train.py hparams.ba"
    tab = {"COMP_LINE": line, "COMP_POINT": str(len(line))}
    figures = in_turn({"TAB": lambda: cpu_of("-sc", "query=bash", **tab), "--help": lambda: cpu_of("--help")})
    for name, goal in (("TAB", "goal <= 0.5"), ("--help", "goal <= 0.8")):
        values = sorted(figures[name])
        row(f"{name}, CPU s", f"{values[2]:.2f} ({values[0]:.2f} to {values[-1]:.2f})", goal)
