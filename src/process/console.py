"""What a person sees in the terminal, by `verbosity`: what was chosen, what is said on the way, the closing table.

0: warnings and errors only; 1: what this project says; 2: also the whole config, and what libraries say.
"""

import logging
import os
import re
import sys
import warnings
from pathlib import Path
from typing import Any, TextIO

from omegaconf import DictConfig, OmegaConf

from process.files import explained
from process.ranks import is_rank_zero

NOISE = (
    r"The number of training batches .* is smaller than the logging interval",  # epochs are logged all the same
    r"`isinstance\(treespec, LeafSpec\)` is deprecated",  # Lightning 2.6 with torch 2.15
    r"torch.distributed.nn.functional.all_gather is deprecated",  # Lightning 2.6 with torch 2.15
    r"The `srun` command is available on your system but is not used",  # Lightning, on any machine of a cluster
    r"It is recommended to use `self.log\(.*sync_dist=True",  # torchmetrics has gathered the ranks
    r"`training_step` returned `None`",  # model.skip_nonfinite
    r"Image size .* could be decompression bomb",  # Pillow, from 89 megapixels on: from 179 on it refuses to read
    r"Checkpoint directory .* exists and is not empty",  # a second `fit` or `test` in the same run folder
)
# what goes wrong in them a logger's guard says, once
QUIET = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_LOGGING_LEVEL": "ERROR"}  # read when it is imported
SRC = Path(__file__).resolve().parents[1]


_shared = False


def share() -> None:
    """Several jobs of a sweep have this terminal: from now on this process only warns, and the sweep's own speaks."""
    global _shared
    _shared = True


def shown(verbosity: int) -> int:
    return 0 if _shared else verbosity


class Terminal(logging.StreamHandler[TextIO]):
    """The handler of config/hydra/*_logging; train.log has what it leaves out.

    Writes to what sys.stdout is at that moment: while a progress bar is drawn, that prints above it.
    """

    def __init__(self, verbosity: int) -> None:
        logging.Handler.__init__(self)
        self.verbosity = verbosity

    @property
    def stream(self) -> TextIO:  # type: ignore[override]
        return sys.stdout

    def filter(self, record: logging.LogRecord) -> Any:
        verbosity = shown(self.verbosity)
        if record.levelno >= logging.WARNING:
            wanted = verbosity == 2 or not is_noise(record)
        else:
            wanted = is_rank_zero() and (verbosity == 2 or (verbosity == 1 and _is_own(record)))
        return wanted and super().filter(record)


def _is_own(record: logging.LogRecord) -> bool:
    """Of this project, or of Hydra: which job of a sweep begins."""
    return Path(record.pathname).is_relative_to(SRC) or record.name.partition(".")[0] == "hydra"


def filter_warnings() -> None:
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)
    logging.captureWarnings(True)
    for pattern in NOISE:
        warnings.filterwarnings("default", message=pattern)  # never an error


def is_noise(record: logging.LogRecord) -> bool:
    return record.name == "py.warnings" and any(re.search(pattern, record.getMessage()) for pattern in NOISE)


class LogFile(logging.FileHandler):
    """Of rank 0; the others make no file, and nobody does in a run folder that may only be read.

    Raises a UserError where the file system refuses for another reason.
    """

    def __init__(self, filename: str) -> None:
        path = Path(filename)
        self.is_written = os.access(path if path.exists() else path.parent, os.W_OK)
        with explained(path):
            super().__init__(path, encoding="utf-8", delay=not (self.is_written and is_rank_zero()))

    def filter(self, record: logging.LogRecord) -> Any:
        return self.is_written and is_rank_zero() and super().filter(record)


def print_start(folder: Path, chosen: list[str], config: DictConfig) -> None:
    """Print the run's folder and what was chosen for it, or the whole config."""
    console = open_console(config.verbosity)
    console.print(_text(folder), style="bold", highlight=False, soft_wrap=True)
    if config.verbosity > 1:
        console.print(_tree(OmegaConf.to_container(config, resolve=True)))
    else:
        console.print(*chosen, highlight=False, markup=False, soft_wrap=True)


def _tree(settings: Any) -> Any:
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


def print_summary(title: str, rows: dict[str, Any], verbosity: int) -> None:
    """Print a table of two columns; floats with four digits.

    Below it paths, relative to where the command was given, each in one line: they are copied.
    """
    from rich.markup import escape
    from rich.table import Table

    table = Table(title=title, show_header=False, title_justify="left", title_style="bold")
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    paths = {name: value for name, value in rows.items() if isinstance(value, Path)}
    for name, value in rows.items():
        if name not in paths:
            table.add_row(escape(name), escape(_text(value)))  # [a] in the name of a file is no style
    console = open_console(verbosity)
    console.print(table)
    for name, path in paths.items():
        console.print(f"{name}: {_text(path)}", soft_wrap=True, highlight=False, markup=False)


def number(value: float) -> str:
    return f"{value:.4f}" if abs(value) >= 1e-3 or value == 0 else f"{value:.3g}"


def clock(seconds: float) -> str:
    """1:05 of minutes and seconds, 2:00:00 of hours."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _text(value: Any) -> str:
    if isinstance(value, float):
        return number(value)
    if isinstance(value, Path):
        return str(value.relative_to(Path.cwd()) if value.is_relative_to(Path.cwd()) else value)
    return f"{value:,}" if type(value) is int else str(value)


def open_console(verbosity: int, width: int | None = None) -> Any:
    from rich.console import Console

    class Outlasting(Console):
        """Of a process that goes on when its reader has left (`| head`; Rich would end it) or the disk is full."""

        def on_broken_pipe(self) -> None:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())

        def print(self, *objects: Any, **options: Any) -> None:
            try:
                super().print(*objects, **options)
            except OSError:
                self.on_broken_pipe()

    return Outlasting(width=width, quiet=shown(verbosity) == 0 or not is_rank_zero())
