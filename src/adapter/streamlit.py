"""Streamlit's rules that it does not promise to keep: the attributes of its page, and what it reads as Markdown."""

import re

STYLE = """<style>
.block-container { padding: 1.2rem 2.6rem 2rem; max-width: 1500px }
[data-testid=stSidebar] [data-baseweb=select], [data-baseweb=popover] li { font-size: .85rem }
@media (max-width: 1150px) {
  .block-container { padding: 1.5rem 1rem }
  [data-testid=stHorizontalBlock] { flex-wrap: wrap; gap: .6rem }
  [data-testid=stColumn] { min-width: 110px }
  [class*=st-key-image_columns] [data-testid=stColumn] { min-width: 240px }
}
h1 { font-size: 1.5rem !important; padding: 0 0 .2rem !important }
[data-testid=stCaptionContainer] p { line-height: 1.35 }
</style>"""


def escape_markdown(text: str) -> str:
    """Return text that a person typed (a comment, a class, a path) so that Streamlit shows it unchanged."""
    return re.sub(r"([\\`*_~$:<\[])", r"\\\1", text)
