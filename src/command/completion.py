"""TAB completion of short options, paths and settings that are read before Hydra; Hydra completes the rest."""

import io
import os
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout, suppress
from typing import Any

import settings as table
from command import arguments

OF_A_RUN = ("embed", "evaluate", "export", "predict", "visualize")  # commands that open one
HYDRAS = ("--cfg", "--help", "--hydra-help", "--multirun")


def answer(command: str, ask_hydra: Callable[[], Any]) -> None:
    """Print the possible endings of COMP_LINE, `python SCRIPT WORD ...`, one per line."""
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
    name, equals, _ = settings[-1].partition("=")
    if equals and name in table.names("path"):
        return  # without an answer the shells complete paths
    if command == "embed" and name == "model" and equals and not any(word.startswith("run=") for word in before):
        print(*(f"model={each}" for each in arguments.LIBRARIES if f"model={each}".startswith(last)), sep="\n")
        return
    others = arguments.expand_short_options([word for word in before if word]) if options else before
    os.environ["COMP_LINE"] = " ".join([program, script, *others, *settings])
    answers = io.StringIO()
    with suppress(SystemExit), redirect_stderr(io.StringIO()), redirect_stdout(answers):  # it exits for a damaged word
        ask_hydra()
    print(*(each.removeprefix(beginning) for each in answers.getvalue().splitlines()), sep="\n")
    before_hydra = table.names("before_hydra") if options else ("trust",) if command in OF_A_RUN else ()
    if last and not beginning:
        print(*(f"{name}=" for name in before_hydra if f"{name}=".startswith(last)), sep="\n")
