"""The terminal and train.log: which messages they take at each `verbosity`, and the tables that a command prints.

verbosity 0: warnings and errors; 1: this project's messages as well; 2: also the whole config and all library messages.
"""

import logging
import os
import re
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from omegaconf import DictConfig, OmegaConf

from process.files import open_regular
from process.ranks import is_rank_zero

SRC = Path(__file__).resolve().parents[1]
HARMLESS_WARNINGS = (
    r"The number of training batches .* is smaller than the logging interval",  # epochs are logged all the same
    r"`isinstance\(treespec, LeafSpec\)` is deprecated",  # Lightning 2.6 with torch 2.15
    r"torch.distributed.nn.functional.all_gather is deprecated",  # Lightning 2.6 with torch 2.15
    r"CUDA initialization: |GPU available but not used",  # process.gpus says why; trainer=cpu is a choice
    r"The `srun` command is available on your system but is not used",  # Lightning, on any machine of a cluster
    r"It is recommended to use `self.log\(.*sync_dist=True",  # torchmetrics has gathered the ranks
    r"ReduceLROnPlateau conditioned on metric .* which is not available",  # before the first validation
    r"`training_step` returned `None`",  # model.skip_nonfinite
    r"Image size .* could be decompression bomb",  # Pillow, above 89 megapixels; above 179 it refuses to read
    r"Checkpoint directory .* exists and is not empty",  # a second `fit` or `test` in the same run folder
)
MOST_CLASSES = 20  # of which a table shows each
LOWEST = 10  # classes that it shows of more
# read when MLflow is imported; a logger's guard reports MLflow's failures once
QUIET_MLFLOW = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_LOGGING_LEVEL": "ERROR"}

_terminal_is_shared = False


def quiet_shared_terminal() -> None:
    """Print only warnings from now on: for a worker, whose jobs the sweep's own process reports."""
    global _terminal_is_shared
    _terminal_is_shared = True


@contextmanager
def quiet_terminal() -> Iterator[None]:
    """Print only warnings in the block, which calls several jobs and reports each of them itself."""
    global _terminal_is_shared
    before, _terminal_is_shared = _terminal_is_shared, True
    try:
        yield
    finally:
        _terminal_is_shared = before


def effective_verbosity(verbosity: int) -> int:
    return 0 if _terminal_is_shared else verbosity


class Terminal(logging.StreamHandler[TextIO]):
    """The log handler of config/hydra/*_logging; train.log also has the messages that this one drops.

    It writes to the current sys.stdout: a progress bar replaces that while it is drawn, to print messages above itself.
    """

    def __init__(self, verbosity: int) -> None:
        logging.Handler.__init__(self)
        self.verbosity = verbosity

    @property
    def stream(self) -> TextIO:  # type: ignore[override]
        return sys.stdout

    def filter(self, record: logging.LogRecord) -> Any:
        verbosity = effective_verbosity(self.verbosity)
        if record.levelno >= logging.WARNING:
            wanted = verbosity == 2 or not _is_harmless(record)
        else:
            wanted = is_rank_zero() and (verbosity == 2 or (verbosity == 1 and _is_own(record)))
        return wanted and super().filter(record)


class LogFile(logging.FileHandler):
    """The log handler that writes train.log, on rank 0 only; silent for /dev/null, and in a folder that is read-only.

    Raises a UserError where the file system refuses for another reason, and for a link, a pipe or a device.
    """

    def __init__(self, filename: str) -> None:
        path = Path(filename)
        place = path if path.exists() and not path.is_symlink() else path.parent
        self.is_written = filename != os.devnull and os.access(place, os.W_OK)
        super().__init__(path, delay=not (self.is_written and is_rank_zero()))

    def _open(self) -> Any:
        return open_regular(Path(self.baseFilename))

    def filter(self, record: logging.LogRecord) -> Any:
        return self.is_written and is_rank_zero() and super().filter(record)


def _is_own(record: logging.LogRecord) -> bool:
    """Return whether a message comes from this project, or from Hydra, which names the job of a sweep that begins."""
    return Path(record.pathname).is_relative_to(SRC) or record.name.partition(".")[0] == "hydra"


def _is_harmless(record: logging.LogRecord) -> bool:
    return record.name == "py.warnings" and any(re.search(each, record.getMessage()) for each in HARMLESS_WARNINGS)


def log_warnings() -> None:
    """Send Python's warnings to the log, and have noisy libraries log errors only."""
    for name, value in QUIET_MLFLOW.items():
        os.environ.setdefault(name, value)
    logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)
    logging.captureWarnings(True)
    for pattern in HARMLESS_WARNINGS:
        warnings.filterwarnings("default", message=pattern)  # never an error


def few_classes(classes: Sequence[Any], rank: Callable[[Any], float], verbosity: int) -> list[Any]:
    """Return the classes that a table shows: all up to MOST_CLASSES or at verbosity 2, else the LOWEST by rank."""
    if len(classes) <= MOST_CLASSES or verbosity == 2:
        return list(classes)
    return sorted(classes, key=rank)[:LOWEST]


def print_start(folder: Path, chosen: list[str], config: DictConfig) -> None:
    """Print the run folder and the chosen settings or, at verbosity 2, the whole config."""
    console = open_console(config.verbosity)
    console.print(_format(folder), style="bold", highlight=False, soft_wrap=True)
    if config.verbosity > 1:
        console.print(_config_tree(OmegaConf.to_container(config, resolve=True)))
    else:
        console.print(*chosen, highlight=False, markup=False, soft_wrap=True)


def print_summary(title: str, rows: dict[str, Any], verbosity: int) -> None:
    """Print a table of two columns, floats with four digits.

    Paths follow below the table, each in one line, so that they can be copied; they are relative to the working
    directory.
    """
    from rich.markup import escape
    from rich.table import Table

    table = Table(title=title, show_header=False, title_justify="left", title_style="bold")
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    paths = {name: value for name, value in rows.items() if isinstance(value, Path)}
    for name, value in rows.items():
        if name not in paths:
            table.add_row(escape(name), escape(_format(value)))  # [a] in a file's name is no style
    console = open_console(verbosity)
    console.print(table)
    for name, path in paths.items():
        console.print(f"{name}: {_format(path)}", soft_wrap=True, highlight=False, markup=False)


def open_console(verbosity: int, width: int | None = None) -> Any:
    """Return rich's console; it prints nothing at verbosity 0 and on ranks other than 0."""
    from rich.console import Console

    class RobustConsole(Console):
        """A console for which a closed pipe (`| head`) or a full disk does not end the process."""

        def on_broken_pipe(self) -> None:
            discard_stdout()

        def print(self, *objects: Any, **options: Any) -> None:
            try:
                super().print(*objects, **options)
            except OSError:
                discard_stdout()

    return RobustConsole(width=width, quiet=effective_verbosity(verbosity) == 0 or not is_rank_zero())


def discard_stdout() -> None:
    """Send the rest of the output to /dev/null: nothing reads it, and writing it at the exit of Python would fail."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _config_tree(settings: Any) -> Any:
    from rich.syntax import Syntax
    from rich.tree import Tree

    tree = Tree("[bold]config[/bold]", guide_style="dim")
    for name, value in settings.items():
        if isinstance(value, dict) and value:
            tree.add(f"[bold]{name}[/bold]").add(
                Syntax(OmegaConf.to_yaml(value).rstrip(), "yaml", background_color="default")
            )
        else:
            tree.add(Syntax(f"{name}: {value}", "yaml", background_color="default"))
    return tree


def format_number(value: float) -> str:
    """Return four decimals, or three digits and a power of ten for what is too small or too large for them."""
    return f"{value:.4f}" if 1e-3 <= abs(value) < 1e6 or value == 0 else f"{value:.3g}"


def format_duration(seconds: float) -> str:
    """Return minutes and seconds as 1:05; from an hour on, 2:00:00."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _format(value: Any) -> str:
    if isinstance(value, float):
        return format_number(value)
    if isinstance(value, Path):
        return str(value.relative_to(Path.cwd()) if value.is_relative_to(Path.cwd()) else value)
    return f"{value:,}" if type(value) is int else str(value)
