"""What a person sees in the terminal: the composed config as a tree, and the closing table."""

from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from run.record import is_rank_zero


def print_config(config: DictConfig) -> None:
    from rich.syntax import Syntax
    from rich.tree import Tree

    tree = Tree("[bold]config[/bold]", guide_style="dim")
    settings: Any = OmegaConf.to_container(config, resolve=True)
    for name, value in settings.items():
        if isinstance(value, dict) and value:
            tree.add(f"[bold]{name}[/bold]").add(
                Syntax(OmegaConf.to_yaml(value).rstrip(), "yaml", background_color="default")
            )
        else:
            tree.add(Syntax(f"{name}: {value}", "yaml", background_color="default"))
    _console().print(tree)


def print_summary(title: str, rows: dict[str, Any]) -> None:
    """Print a table of two columns; floats with four digits, paths relative to where the command was given."""
    from rich.table import Table

    table = Table(title=title, show_header=False, title_justify="left", title_style="bold")
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in rows.items():
        table.add_row(name, _text(value))
    _console().print(table)


def _text(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4f}" if abs(value) >= 1e-3 or value == 0 else f"{value:.3g}"
    if isinstance(value, Path):
        return str(value.relative_to(Path.cwd()) if value.is_relative_to(Path.cwd()) else value)
    return f"{value:,}" if type(value) is int else str(value)


def _console() -> Any:
    from rich.console import Console

    return Console(quiet=not is_rank_zero())
