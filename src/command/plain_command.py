"""Start of a command without Hydra: what the user can correct is one line and exit code 1."""

import sys
from collections.abc import Callable
from typing import NoReturn

from process.console import discard_stdout
from process.errors import UserError
from process.text import printable, shorten_words


def start(main: Callable[[list[str]], int | None]) -> NoReturn:
    """Exit with the code that `main` returns for the arguments."""
    try:
        code = main(sys.argv[1:])
        sys.stdout.flush()
        sys.exit(code)
    except UserError as error:
        print(f"error: {shorten_words(printable(error))}", file=sys.stderr)
        sys.exit(1)
    except (KeyboardInterrupt, EOFError):
        sys.exit(130)
    except BrokenPipeError:  # `| head` has read enough
        discard_stdout()
        sys.exit()
