"""The measurement of several runs in one process: a line for each, at the end a table as report.py shows it."""

import shlex
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

from command import arguments, cli
from evaluation.choice import chosen_runs
from process import interruption
from process.console import format_duration, format_number, open_console, quiet_terminal
from process.errors import PastHydraError, UserError
from process.isolation import isolated
from table.collect import RunRecord, main_metric, measured, plain_name, read_evaluation
from table.rows import make_table, sizes_of
from table.terminal import show


def call(main: Callable[[], Any]) -> None:
    """Call evaluate.py's Hydra main once for each run that `run=` stands for; one alone is as if it was named.

    A run that fails is reported in one line and the others go on. Raises a UserError at the end if one has failed.
    """
    typed = sys.argv[1:]
    runs = chosen_runs(typed)
    if runs is not None and (len(runs) == 1 or arguments.has_option(typed, (*arguments.HELP, *arguments.SHOW))):
        sys.argv[1:] = [*_others(typed), f"run={runs[0].facts['folder']}"]
        runs = None
    if runs is None:
        cli.call(main)
        return
    Several(runs, _others(typed)).measure(main)


class Several:
    """Runs that are measured one after the other; `measured` are those that are done, failed ones included."""

    def __init__(self, runs: list[RunRecord], settings: list[str]) -> None:
        self.runs, self.settings, self.measured = runs, settings, list[RunRecord]()
        self.verbosity = _verbosity(settings)
        self.reported: set[str] = set()  # the reasons of failures: one that all runs share is shown once

    def measure(self, main: Callable[[], Any]) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

        self.console, self.began = open_console(self.verbosity), time.monotonic()
        texts = [TextColumn(f"{{task.{field}}}") for field in ("description", "fields[left]")]
        columns = texts[0], BarColumn(None), MofNCompleteColumn(), texts[1]
        hidden = not self.console.is_terminal
        bar = Progress(
            *columns, console=self.console, refresh_per_second=2, transient=True, expand=True, disable=hidden
        )
        interruption.remedy_sources.append(self.remedy)
        try:
            with bar, nullcontext() if self.verbosity == 2 else quiet_terminal():
                task = bar.add_task("", total=len(self.runs), left="")
                for run in self.runs:
                    bar.update(task, description=run.facts["folder"])
                    self._measure(main, run)
                    bar.update(task, advance=1, left=self._left())
        finally:
            if self.measured and self.verbosity > 0:
                metric = main_metric(self.measured)
                show(make_table(self.measured, sort=metric, asked=sizes_of(plain_name(metric), self.measured)))
            if len(self.measured) == len(self.runs):
                interruption.remedy_sources.remove(self.remedy)
        if failed := sum(run.facts["status"] == "failed" for run in self.measured):
            raise UserError(f"{failed} of {len(self.runs)} runs could not be measured, see the lines above")

    def remedy(self) -> str:
        """Return the command that measures the remaining runs."""
        left = ",".join(run.facts["folder"] for run in self.runs[len(self.measured) :])
        return f"remaining runs: {shlex.join(['python', 'src/evaluate.py', f'run=[{left}]', *self.settings])}"

    def _measure(self, main: Callable[[], Any], run: RunRecord) -> None:
        folder = run.facts["folder"]
        sys.argv[1:] = [f"run={folder}", *self.settings]
        try:
            with isolated():
                cli.call(main)
            metrics = measured(read_evaluation(folder) or {})
        except (Exception, PastHydraError) as failure:
            reason = cli.describe(failure)
            if reason not in self.reported:
                print(f"{folder}: {reason}", file=sys.stderr)
            self.reported.add(reason)
            self.measured.append(replace(run, facts={**run.facts, "status": "failed", "error": reason}, metrics={}))
            return
        self.measured.append(replace(run, metrics=metrics))  # before the line: a signal may come while it is printed
        words = f"{len(self.measured)}/{len(self.runs)} runs", folder, *_main_numbers(metrics)
        self.console.print("  ".join(words), highlight=False, markup=False, soft_wrap=True)

    def _left(self) -> str:
        done = len(self.measured)
        return f"{format_duration((time.monotonic() - self.began) / done * (len(self.runs) - done))} left"


def _main_numbers(metrics: dict[str, float]) -> list[str]:
    return [f"{name} {format_number(value)}" for name, value in metrics.items() if "/" not in plain_name(name)]


def _others(argv: list[str]) -> list[str]:
    return [word for word in argv if not word.startswith("run=")]


def _verbosity(settings: list[str]) -> int:
    values = [word.partition("=")[2] for word in settings if word.startswith("verbosity=")]
    return int(values[-1]) if values and values[-1] in ("0", "1", "2") else 1
