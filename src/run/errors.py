"""The one exception for what the user can mend."""


class UserError(Exception):
    """A mistake in the command, the config or the data: one line that says what is wrong and what to do.

    Jobs raise it; only run.cli, the outermost layer, prints the line and exits with 1.
    """
