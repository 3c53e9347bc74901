"""Ask what to train, show the command, run it: `python src/start.py --help`."""

import os
import shlex
import shutil
import sys
from pathlib import Path

from ask import questions
from ask.interview import arguments, ask
from command import plain_command
from process import gpus
from process.errors import UserError
from run.folder import REPOSITORY

HELP = """\
Start a training without remembering any option: asks for the device, a recipe (or data and model) and a comment, shows
the command of src/train.py that the answers make, and runs it.

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
        raise UserError(f"start.py takes no arguments; with settings: python src/train.py {shlex.join(words)}")
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise UserError(
            "start.py needs a terminal; without one: python src/train.py data=MNIST model=patch_set, for example "
            "(--help lists all options)"
        )
    found, answers = gpus.usable_gpus(), dict[str, str]()
    if not found:
        none = "No NVIDIA GPU was found: src/train.py uses another accelerator, or the processor."
        print(gpus.unusable_gpu() or none)
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
    """Return the word by which the shell calls this interpreter."""
    named, this = shutil.which("python"), Path(sys.executable)
    if named and Path(named).parent == this.parent:  # not resolved: all environments link to one file
        return "python"
    return str(this.relative_to(Path.cwd()) if this.is_relative_to(Path.cwd()) else this)


if __name__ == "__main__":
    plain_command.start(main)
