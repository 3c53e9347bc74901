"""Text that people type, for pages that show Markdown."""

import re

PUNCTUATION = r"""[!-/:-@\[-`{-~]"""
# the characters that Markdown and HTML read as marks at this place
MARKS = re.compile(
    rf"""[&<>`*\[\]|~]
    | \\(?={PUNCTUATION})
    | (?<!\w)_ | _(?!\w)
    | :(?=[+\-\w]+:)                # an emoji's name
    | ^[#+\-=]                      # a heading, a list, a line
    | (?<=^\d)[.)] | (?<=^\d\d)[.)] # a numbered list""",
    re.VERBOSE | re.MULTILINE,
)
INDENTATION = re.compile(r"^[ \t]+", re.MULTILINE)  # a block of code


def escape_markdown(text: str) -> str:
    """Return the text with entities such as &#42; for marks, so that the page shows it as it was typed.

    Web addresses stay links. Lines lose their indentation.
    """
    return MARKS.sub(lambda mark: f"&#{ord(mark[0])};", INDENTATION.sub("", text))
