"""Questions at the terminal, answered by arrow keys or typing. Ctrl-C and Esc raise KeyboardInterrupt."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any


def select(question: str, options: dict[str, str], default: str | None = None) -> str:
    """Ask for one of the options, name -> description; each has a line, cut at the terminal's width."""
    import questionary

    width = max(map(len, options))
    room = shutil.get_terminal_size().columns - 4  # the pointer takes the rest
    lines = {name: f"{name:<{width}}  {description}".rstrip() for name, description in options.items()}
    cut = {name: line if len(line) <= room else f"{line[: room - 1]}…" for name, line in lines.items()}
    choices = [questionary.Choice(line, value=name) for name, line in cut.items()]
    chosen = default if default in options else None
    answer = _answer(questionary.select(question, choices, default=chosen, erase_when_done=True))
    print(f"? {question} {answer}")
    return str(answer)


def text(question: str, default: str) -> str:
    """Ask for a line, which may be empty."""
    import questionary

    return " ".join(_answer(questionary.text(question, default=default)).split())


def image_folder(question: str, default: str | None) -> str:
    """Ask for a folder with train/ in it, or a .zip; TAB completes."""
    refusal = "neither a folder with train/<class>/<image> in it nor a .zip"
    return _place(question, default, _holds_images, refusal)


def bag_folder(question: str, default: str | None) -> str:
    """Ask for a folder with a table of bags in it; TAB completes."""
    return _place(question, default, _holds_bags, "no folder with bags.csv or labels.csv in it")


def _place(question: str, default: str | None, holds: Callable[[str], bool], refusal: str) -> str:
    import questionary

    if default is None and holds(around := os.environ.get("DATASET", "dataset")):
        default = around
    # complete by TAB alone: while completions are shown, Enter closes them instead of answering
    path = questionary.path(
        question,
        default=default or "",
        validate=lambda path: holds(path) or refusal,
        complete_while_typing=False,
    )
    return str(Path(_answer(path)).expanduser())


def _holds_bags(path: str) -> bool:
    return any((Path(path).expanduser() / name).is_file() for name in ("bags.csv", "labels.csv"))


def _holds_images(path: str) -> bool:
    place = Path(path).expanduser()
    return (place / "train").is_dir() or (place.suffix == ".zip" and place.is_file())


def _answer(question: Any) -> Any:
    from prompt_toolkit.key_binding import KeyBindings, merge_key_bindings

    keys = KeyBindings()
    keys.add("escape")(lambda event: event.app.exit(exception=KeyboardInterrupt))
    question.application.key_bindings = merge_key_bindings([question.application.key_bindings, keys])
    return question.unsafe_ask()
