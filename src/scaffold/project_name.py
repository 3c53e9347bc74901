"""The project's name in its four forms: CamelCase, snake_case, kebab-case, and UPPER_CASE for variables."""

import keyword
import re
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import yaml

from process.errors import UserError

NAME = re.compile(r"[A-Za-z][A-Za-z0-9]*([-_][A-Za-z0-9]+)*")  # Docker, environment variables and PyPI all accept it
WORDS = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")  # where a word ends: MLPStudy is MLP and Study
VARIABLE = re.compile("_[A-Z]")  # what follows the name in a variable
LONGEST = 40
EXAMPLE = "LeafShapes"  # the name in messages and guides; in a copy with this name, they show this project's name


@dataclass(frozen=True)
class ProjectName:
    """A name: `camel` as in LeafShapes, `snake` as in leaf_shapes."""

    camel: str
    snake: str

    @property
    def forms(self) -> tuple[str, ...]:
        return self.camel, self.snake, self.snake.replace("_", "-"), self.snake.upper()

    @property
    def is_example(self) -> bool:
        return self.camel == EXAMPLE

    @classmethod
    def typed(cls, text: str) -> "ProjectName":
        """Return the name that was typed in any of the forms. Raises a UserError if it is not one."""
        snake = WORDS.sub("_", text).replace("-", "_").lower()
        if not NAME.fullmatch(text) or not 2 <= len(snake) <= LONGEST:
            raise UserError(
                f"{text!r} is not a name: 2 to {LONGEST} letters (a to z), digits, single - or _ between them, a "
                f"letter first, such as {EXAMPLE}"
            )
        if keyword.iskeyword(text):
            raise UserError(f"{text} is a keyword of Python: choose another name, such as {text}_project")
        camel = "".join(word[0].upper() + word[1:] for word in re.split("[-_]", text))
        return cls(camel, snake)

    @classmethod
    def of(cls, repository: Path) -> "ProjectName":
        """Return the name of a repository, read from its config.yaml and pyproject.toml."""
        try:
            camel = yaml.safe_load((repository / "config" / "config.yaml").read_text(encoding="utf-8"))["project_name"]
            kebab = tomllib.loads((repository / "pyproject.toml").read_text(encoding="utf-8"))["project"]["name"]
        except (OSError, KeyError, TypeError, yaml.YAMLError, tomllib.TOMLDecodeError) as error:
            raise UserError(
                f"{repository}: not a complete repository, with project_name in config/config.yaml and name in "
                "pyproject.toml: run the new_project.py of another one"
            ) from error
        return cls(camel, kebab.replace("-", "_"))

    def pattern(self) -> re.Pattern[str]:
        """Return a pattern for any form as a word or a part of one, as in NAME_IMAGE.

        It also matches right after an escaped character, as in "\\nNAME_IMAGE".
        """
        forms = "|".join(map(re.escape, self.forms))
        return re.compile(rf"(?:(?<![A-Za-z0-9])|(?<=\\[nrt]))({forms})(?![A-Za-z0-9])")


def renamer(old: ProjectName, new: ProjectName) -> Callable[[str], str]:
    """Return a function that replaces each form of `old` by that of `new`; if `new` is EXAMPLE, also EXAMPLE by `old`.

    If the upper case form is the camel form, as for X1, then X1_IMAGE is a variable.
    """
    directions = [(old, new), (new, old)] if new.is_example else [(old, new)]
    pairs = [pair for one, other in directions for pair in zip(one.forms, other.forms, strict=True)]
    forms = dict(reversed(pairs))  # of equal forms, the first one counts
    capitals = {one.snake.upper(): other.snake.upper() for one, other in directions}
    words = re.compile("|".join(one.pattern().pattern for one, _ in directions))

    def new_form(found: re.Match[str]) -> str:
        is_variable = VARIABLE.match(found.string, found.end())
        return (capitals if is_variable and found[0] in capitals else forms)[found[0]]

    return lambda text: words.sub(new_form, text)
