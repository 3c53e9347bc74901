"""Text that people type, for pages that show Markdown."""

import re

PUNCTUATION = r"""[!-/:-@\[-`{-~]"""
# the characters that Markdown and HTML read as marks at this place
MARKS = re.compile(
    rf"""[&<>`*\[\]|~]
    | \\(?={PUNCTUATION})
    | (?<![^\W_])_ | _(?![^\W_])  # at the edge of a word
    | (?<!\w)@(?=\w)              # a name at GitHub
    | :(?=[+\-\w]+:)              # an emoji's name
    | ^[#+\-=] | ^\d(?=\d*[.)])   # a heading, a list, a line""",
    re.VERBOSE | re.MULTILINE,
)
INDENTATION = re.compile(r"^[ \t]+", re.MULTILINE)  # a block of code


def escape_markdown(text: str) -> str:
    """Return the text with entities such as &#42; for marks, so that the page shows it as it was typed.

    Web addresses stay links. Lines lose their indentation.
    """
    return MARKS.sub(lambda mark: f"&#{ord(mark[0])};", INDENTATION.sub("", text))
