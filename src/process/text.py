"""Text of people and of file names, as it is shown on terminals, in tables and on pages of Markdown."""

import re
import unicodedata

# Unicode's controls, line and paragraph separators, and halves of pairs, which stand for bytes that are no UTF-8
HIDDEN = {"Cc", "Zl", "Zp", "Cs"}
REVERSING = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}  # marks that show letters in another order

PUNCTUATION = r"""[!-/:-@\[-`{-~]"""
# the characters that Markdown and HTML read as marks
MARKS = rf"""
    [&<>`*\[\]|~$]
    | \\(?={PUNCTUATION})
    | (?<![^\W_])_ | _(?![^\W_])  # at the edge of a word
    | (?<!\w)@(?=\w)              # a name at GitHub
    | :(?=[+\-\w]+:)              # an emoji's name"""
WITHIN_LINE = re.compile(MARKS, re.VERBOSE)
STARTS = r"^[#+\-=] | ^\d(?=\d*[.)])"  # of a heading, a list, a line
IN_BLOCK = re.compile(f"{STARTS} | {MARKS}", re.VERBOSE | re.MULTILINE)
INDENTATION = re.compile(r"^[ \t]+", re.MULTILINE)  # a block of code


def printable(text: object) -> str:
    r"""Return the text with \n, \x1b or \u202e for each character that a terminal would obey or cannot show.

    Bytes of a file name that are no UTF-8 become \xff.
    """
    shown = str(text)
    return shown if shown.isprintable() else "".join(map(_printable, shown))


def _printable(letter: str) -> str:
    if "\udc80" <= letter <= "\udcff":
        return f"\\x{ord(letter) - 0xDC00:02x}"
    is_hidden = unicodedata.category(letter) in HIDDEN or unicodedata.bidirectional(letter) in REVERSING
    return ascii(letter)[1:-1] if is_hidden else letter


def one_line(text: object, most: int | None = None) -> str:
    """Return the text in one line: white space becomes single blanks, and control characters are escaped.

    Args:
        most: the number of characters that are shown; None for all.
    """
    text = str(text)
    return printable(" ".join((text if most is None or len(text) <= most else f"{text[:most]}…").split()))


def shorten_words(text: str) -> str:
    """Return the text with the middle of words of 400 letters and more left out."""
    return re.sub(r"\S{400,}", lambda word: f"{word[0][:150]}...{word[0][-50:]}", text)


def escape_markdown(text: str, in_block: bool = True) -> str:
    """Return the text with entities such as &#42; for marks, so that a page of Markdown shows it as it was typed.

    Web addresses stay links. Lines lose their indentation.

    Args:
        in_block: whether the text is a block of its own, in which a line may begin a list or a heading; False for text
            within a line, such as a cell of a table.
    """
    marks = IN_BLOCK if in_block else WITHIN_LINE
    return marks.sub(lambda mark: f"&#{ord(mark[0])};", INDENTATION.sub("", text))
