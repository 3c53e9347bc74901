"""Ask what to train, show the command, run it: `python src/start.py --help`."""

import os
import shlex
import shutil
import sys
from pathlib import Path

from ask import gpus, questions
from ask.interview import arguments, ask
from command import plain_command
from process.errors import UserError
from run.source import REPOSITORY

HELP = """\
For whoever wants to remember nothing: asks where to train, with which recipe, or data and model, and for a comment;
shows the command of src/train.py that this is, and runs it.

  python src/start.py

Arrow keys and Enter answer; Esc or Ctrl-C leaves.
"""
TRAIN = REPOSITORY / "src" / "train.py"
RUN, TRY, CHANGE, QUIT = "run it", "try it", "change something", "quit"


def main(words: list[str]) -> int:
    if {"-h", "--help"} & set(words):
        print(HELP, end="")
        return 0
    if words:
        raise UserError(f"start.py asks, and takes nothing; with settings: python src/train.py {shlex.join(words)}")
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise UserError(
            "start.py asks at a terminal, and here is none: python src/train.py data=MNIST model=patch_set, "
            "for example; --help lists what else there is"
        )
    found, answers = gpus.listed(), dict[str, str]()
    if not found:
        print("No GPU of NVIDIA's is seen: src/train.py takes what it finds, else the processor.")
    while True:
        answers = ask(found, answers)
        command = [min(os.path.relpath(TRAIN), str(TRAIN), key=len), *arguments(answers)]
        by_slot = "--device" in command and gpus.are_several_kinds()
        order = {"CUDA_DEVICE_ORDER": "PCI_BUS_ID"} if by_slot else {}
        print(f"\n  {shlex.join([*(f'{name}={value}' for name, value in order.items()), python(), *command])}\n")
        todo = questions.select("Run it?", {RUN: "", TRY: "one batch of everything, debug=True", CHANGE: "", QUIT: ""})
        if todo == QUIT:
            return 0
        if todo in (RUN, TRY):
            command += ["debug=True"] if todo == TRY else []
            sys.stdout.flush()
            os.execve(sys.executable, [sys.executable, *command], os.environ | order)


def python() -> str:
    """How the shell calls this interpreter."""
    named, this = shutil.which("python"), Path(sys.executable)
    if named and Path(named).parent == this.parent:  # not resolved: environments link to one and the same file
        return "python"
    return str(this.relative_to(Path.cwd()) if this.is_relative_to(Path.cwd()) else this)


if __name__ == "__main__":
    plain_command.start(main)
