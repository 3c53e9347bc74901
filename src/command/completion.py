"""TAB where Hydra, who answers for the rest, knows nothing: short options, paths, what is read before Hydra starts."""

import io
import os
from collections.abc import Callable
from contextlib import redirect_stdout
from typing import Any

from command import arguments

HYDRAS = ("--cfg", "--help", "--hydra-help", "--multirun")
OF_TRAIN = ("resume_sweep=", "settings_file=")
# without an answer the shells complete paths
PATHS = ("run=", "resume=", "init_from=", "input=", "output=", "data.root=", *OF_TRAIN)


def answer(command: str, ask_hydra: Callable[[], Any]) -> None:
    """Print what may stand at the end of COMP_LINE, `python SCRIPT WORD ...`, a line each."""
    program, script, *words = os.environ["COMP_LINE"].split(" ")
    *before, last = words or [""]
    options = arguments.short_options() if command == "train" else {}
    if last.startswith("-"):
        print(*(name for name in [*options, *HYDRAS] if name.startswith(last)), sep="\n")
        return
    settings, beginning = [last], ""
    if before and before[-1] in options:
        settings = options[before.pop()].given(last)
        beginning = settings[-1].partition("=")[0] + "="
    if settings[-1].startswith(PATHS):
        return
    others = arguments.expand_short_options([word for word in before if word]) if options else before
    os.environ["COMP_LINE"] = " ".join([program, script, *others, *settings])
    answers = io.StringIO()
    with redirect_stdout(answers):
        ask_hydra()
    print(*(each.removeprefix(beginning) for each in answers.getvalue().splitlines()), sep="\n")
    if options and last and not beginning:
        print(*(name for name in OF_TRAIN if name.startswith(last)), sep="\n")
