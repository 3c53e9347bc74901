"""Add the pages that lie outside of docs/ to the site, and rewrite the links, which are written for GitHub.

MkDocs calls the functions by their names: mkdocs.yml lists this file under `hooks`.
"""

import os
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

REPOSITORY = Path(__file__).resolve().parents[1]
OUTSIDE = {  # file of the repository -> its place in the site
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
    "CHANGELOG.md": "changelog.md",
    "CITATION.cff": "CITATION.cff",
}
CODE = re.compile(r"(?s:^```.*?^```)|^ {4}.*$|`[^`\n]*`", re.MULTILINE)
LINK = re.compile(r"(?<=\]\()([^)\s#:]+)(?=[)#])")
# its drawing would need a script of another host
DIAGRAM = re.compile(r"^```mermaid\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    for name, uri in OUTSIDE.items():
        if (REPOSITORY / name).exists():
            files.append(File.generated(config, uri, abs_src_path=str(REPOSITORY / name)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    folder = Path(str(page.file.abs_src_path)).parent

    def in_site(link: re.Match[str]) -> str:
        path = os.path.relpath(folder / link[0], REPOSITORY)
        return OUTSIDE.get(path) or os.path.relpath(path, "docs")

    markdown = DIAGRAM.sub(diagram_as_text, markdown)
    parts, end = [], 0
    for code in CODE.finditer(markdown):
        parts += [LINK.sub(in_site, markdown[end : code.start()]), code[0]]
        end = code.end()
    return "".join([*parts, LINK.sub(in_site, markdown[end:])])


def diagram_as_text(diagram: re.Match[str]) -> str:
    lines = "".join(f"    {line}\n" for line in ["```text", *diagram[1].splitlines(), "```"])
    return f'??? note "The arrows of the picture, which GitHub draws"\n\n{lines}'
