"""The imports in src/, read from the syntax tree: who imports whom is tested and drawn without importing anything."""

import ast
from pathlib import Path

from runs import REPOSITORY

SRC = REPOSITORY / "src"
FILES = sorted(SRC.rglob("*.py"))
OWN = {path.stem for path in SRC.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()}
COMMANDS = {path.stem for path in SRC.glob("*.py") if "__main__" in path.read_text(encoding="utf-8")}


def imports(path: Path) -> dict[str, int]:
    """Return the full dotted names that a file imports -> the depth of the function that does (0: module level)."""
    found: dict[str, int] = {}

    def visit(node: ast.AST, depth: int) -> None:
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            return  # names for annotations: nothing is imported
        if isinstance(node, ast.Import):
            for alias in node.names:
                found[alias.name] = min(depth, found.get(alias.name, depth))
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found[node.module or ""] = min(depth, found.get(node.module or "", depth))
        for child in ast.iter_child_nodes(node):
            visit(child, depth + isinstance(node, ast.FunctionDef))

    visit(ast.parse(path.read_text(encoding="utf-8")), 0)
    return found


def part(path: Path) -> str:
    """Return the package, or the single module, of src/ to which a file belongs."""
    return path.relative_to(SRC).parts[0].removesuffix(".py")
