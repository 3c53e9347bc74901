"""Typed text looks on a Markdown page as it was typed: read by TensorBoard's renderer, and on MLflow's page."""

import html
import re
import warnings

import pytest

from logger.markdown import escape_markdown

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # of html5lib
    from tensorboard.plugin_util import markdown_to_safe_html

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
    for typed in (TYPED[0], "see http://127.0.0.1:6006/a_b-c?d=1#e, a@b.org", ""):
        assert escape_markdown(typed) == typed


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
