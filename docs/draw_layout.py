"""Draw the layout of src/ in CONTRIBUTING.md, from its imports, its docstrings and the targets in config/.

PYTHONPATH=tests/support python docs/draw_layout.py
(replaces the text between `<!-- layout -->` and `<!-- /layout -->`)
"""

import ast
import re
from collections import defaultdict
from pathlib import Path

from runs import REPOSITORY
from source_imports import COMMANDS, FILES, OWN, SRC, imports, part

PAGE = REPOSITORY / "CONTRIBUTING.md"
MARKED = re.compile(r"<!-- layout -->.*<!-- /layout -->", re.S)
TARGET = re.compile(r"_target_: (\w+)\.|\$\{call:(\w+)\.")

Graph = dict[str, set[str]]


def node(name: str) -> str:
    """Return the node of a part: all commands are one."""
    return "commands" if name in COMMANDS else name


def import_graph() -> Graph:
    """Return part -> the parts that its files import."""
    graph: Graph = defaultdict(set)
    for path in FILES:
        own = node(part(path))
        graph[own] |= {node(name.partition(".")[0]) for name in imports(path) if name.partition(".")[0] in OWN} - {own}
    return graph


def targets(*files: Path) -> set[str]:
    """Return the parts that these YAML files name."""
    texts = (path.read_text(encoding="utf-8") for path in files)
    return {name for text in texts for found in TARGET.findall(text) for name in found if name in OWN}


def parts() -> list[str]:
    """Return the packages, and the modules beside them on which others rely (a module of your own is not drawn)."""
    packages = {path.parent.name for path in SRC.glob("*/__init__.py")}
    imported = set().union(*import_graph().values())
    return sorted((packages | imported | targets(REPOSITORY / "config" / "config.yaml")) - COMMANDS)


def without_detours(graph: Graph) -> Graph:
    """Return the graph without the edges that a longer path implies. Raises ValueError for a circle."""

    def reach(start: str, path: tuple[str, ...]) -> set[str]:
        if start in path:
            raise ValueError(f"circular imports: {' -> '.join([*path, start])}")
        return {start}.union(*(reach(end, (*path, start)) for end in graph.get(start, ())))

    return {
        start: {end for end in ends if not any(end in reach(other, (start,)) for other in ends - {end})}
        for start, ends in graph.items()
    }


def mermaid() -> str:
    """Return the picture: solid arrows are imports, dotted ones go through YAML."""
    shown, edges = parts(), without_detours(import_graph())
    lines = [f"    {start} --> {end}" for start in ("commands", *shown) for end in sorted(edges.get(start, ()))]
    lines += ['    commands -.-> config(["config/*.yaml"])']
    named = targets(*(REPOSITORY / "config").rglob("*.yaml"))
    lines += [f"    config -.-> {end}" for end in shown if end in named]
    return "\n".join(["```mermaid", "graph LR", *lines, "```"])


def first_sentence(path: Path) -> str:
    """Return the first sentence of a module's docstring."""
    text = " ".join((ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "").split("\n\n")[0].split())
    return re.split(r"(?<=\.)\s", text)[0]


def table() -> str:
    """Return a Markdown row for each part: name, first sentence of its docstring, imports."""
    graph = import_graph()
    rows = ["| part of `src/` | what it is | imports |", "| --- | --- | --- |"]
    for name in parts():
        package = SRC / name / "__init__.py"
        path = package if package.exists() else SRC / f"{name}.py"
        label = f"`{name}/`" if package.exists() else f"`{name}.py`"
        rows.append(f"| {label} | {first_sentence(path)} | {', '.join(sorted(graph[name])) or '-'} |")
    return "\n".join(rows)


def drawn(page: str) -> str:
    """Return the page with the picture and the table of now."""
    return MARKED.sub(lambda _: f"<!-- layout -->\n\n{mermaid()}\n\n{table()}\n\n<!-- /layout -->", page)


if __name__ == "__main__":
    PAGE.write_text(drawn(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
