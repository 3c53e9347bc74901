"""Start of a command without Hydra: what the user can correct is one line and exit code 1."""

import os
import sys
from collections.abc import Callable
from typing import NoReturn

from process.errors import UserError


def start(main: Callable[[list[str]], int | None]) -> NoReturn:
    """Exit with the code that `main` returns for the arguments."""
    try:
        sys.exit(main(sys.argv[1:]))
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
    except (KeyboardInterrupt, EOFError):
        sys.exit(130)
    except BrokenPipeError:  # `| head` has seen enough; nothing may be flushed there at the exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit()
