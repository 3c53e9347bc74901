"""TAB after short options, of which Hydra, who answers for the rest, knows nothing."""

import io
import os
from collections.abc import Callable
from contextlib import redirect_stdout
from typing import Any

from run import short_options

HYDRAS = ("--cfg", "--help", "--hydra-help", "--multirun")
ARE_PATHS = ("resume=", "settings_file=")  # the shells complete these, where they get no answer


def answer(ask_hydra: Callable[[], Any]) -> None:
    """Print what may stand at the end of COMP_LINE, `python SCRIPT WORD ...`, a line each."""
    program, script, *words = os.environ["COMP_LINE"].split(" ")
    *before, last = words or [""]
    options = short_options.declared()
    if last.startswith("-"):
        print(*(name for name in [*options, *HYDRAS] if name.startswith(last)), sep="\n")
        return
    settings, beginning = [last], ""
    if before and before[-1] in options:
        settings = options[before.pop()].given(last)
        beginning = settings[-1].partition("=")[0] + "="
        if beginning in ARE_PATHS:
            return
    line = [*short_options.expanded([word for word in before if word]), *settings]
    os.environ["COMP_LINE"] = " ".join([program, script, *line])
    answers = io.StringIO()
    with redirect_stdout(answers):
        ask_hydra()
    print(*(each.removeprefix(beginning) for each in answers.getvalue().splitlines()), sep="\n")
