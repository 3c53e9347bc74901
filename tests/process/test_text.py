"""Text in a line of a terminal; and on pages of Markdown, as it was typed: TensorBoard's renderer, MLflow's page."""

import html
import re
import warnings

import pytest

from process.text import escape_markdown, one_line, printable, shorten_words

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # of html5lib
    from tensorboard.plugin_util import markdown_to_safe_html


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("lr=0,1: 日本語", "lr=0,1: 日本語"),
        ("日本\u3000犬 \u202fPM é.png", "日本\u3000犬 \u202fPM é.png"),  # blanks
        ("\U0001f469\u200d\U0001f52c", "\U0001f469\u200d\U0001f52c"),  # one sign, of two that are joined
        ("a\nb\r\x1b[31m", r"a\nb\r\x1b[31m"),
        ("\u2028\x85", r"\u2028\x85"),
        ("a\u202egnp.exe", r"a\u202egnp.exe"),  # what follows would be shown from right to left
        ("\udcff\ud800", r"\xff\ud800"),  # a byte of a file name that is no UTF-8; half of a pair
    ],
)
def test_what_a_terminal_would_obey_is_escaped(text, shown):
    assert printable(text) == shown


def test_one_line():
    assert one_line(" two\n\nlines\t\x1b[31m ") == r"two lines \x1b[31m"
    assert one_line(["a", 1]) == "['a', 1]"
    assert (one_line("12345", 5), one_line("123456", 5)) == ("12345", "12345…")


def test_long_words_lose_their_middle():
    assert shorten_words(f"x {'9' * 5000} y") == f"x {'9' * 150}...{'9' * 50} y"
    assert shorten_words(f"{'9' * 399} y") == f"{'9' * 399} y"


TYPED = [
    "what I try, 日本: lr_0.1 50% (a, b) C:\\data don't {x} $x^2$ 3 + 4 = 7 - really!",
    "*a* **b** _c_ __d__ `e` ~~f~~ ***",
    "[link](http://127.0.0.1/x) ![image](http://127.0.0.1/x.png)",
    '<b>bold</b> <img src=x onerror=alert(1)> <script>alert(1)</script> <!-- c --> &amp; "q" &#42;',
    "# heading",
    "- item",
    "+ item",
    "1. item",
    "12) item",
    "123. item",
    "@name :smile: 12:30:45",
    "> quote",
    "    code",
    "a | b\n--|--\n1 | 2",
    "text\n---\ntext\n===",
    "```\ncode\n```",
    "\\* \\_ \\\\ \\[ \\<",
    "[a]: http://127.0.0.1/x\n[a]",
]


@pytest.mark.parametrize("typed", TYPED)
def test_the_page_shows_the_text_as_it_was_typed(typed):
    page = markdown_to_safe_html(f"- **comment**: {escape_markdown(typed)}")
    assert set(re.findall(r"<(\w+)", page)) <= {"ul", "li", "strong", "p"}
    shown = html.unescape(re.sub("<[^>]*>", "", page)).strip()
    assert shown == "comment: " + re.sub("(?m)^ +", "", typed)


def test_words_and_web_addresses_are_as_they_were():
    for typed in (TYPED[0].replace("$", ""), "see http://127.0.0.1:6006/a_b-c?d=1#e, a@b.org", ""):
        assert escape_markdown(typed) == typed


def test_the_first_letter_of_a_cell_begins_no_list():
    for typed in ("- a", "# a", "12. a", "-0.5", "0.5"):
        assert escape_markdown(typed, in_block=False) == typed
    assert escape_markdown("-0.5") == "&#45;0.5"
    assert escape_markdown("a|b $c$", in_block=False) == "a&#124;b &#36;c&#36;"


@pytest.mark.processes
def test_mlflows_page(tmp_path):
    from browser import chromium
    from mlflow import MlflowClient
    from servers import mlflow_server

    with mlflow_server(tmp_path) as (address, _), chromium() as page:
        client = MlflowClient(address)
        for typed in ("\n\n".join(TYPED), *TYPED[4:]):
            run = client.create_run("0", tags={"mlflow.note.content": escape_markdown(typed)})
            page.goto(f"{address}/#/experiments/0/runs/{run.info.run_id}")
            note = page.wait_for_selector("[data-testid=note-editor-preview-content]")
            tags = set(note.evaluate("note => [...note.querySelectorAll('*')].map(each => each.tagName)"))
            assert tags <= {"P", "BR", "A"}  # an address is a link
            assert note.inner_text().split() == typed.split()
