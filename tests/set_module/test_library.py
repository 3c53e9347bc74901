"""`import set_module`: the names that it offers."""

import inspect
import re
from pathlib import Path

import set_module


def test_what_is_exported_is_what_is_imported_and_described():
    imported = {name for name, value in vars(set_module).items() if name[0] != "_" and not inspect.ismodule(value)}
    assert {"SetBatch", "SAB", "PMA", "cutout_patch2d", "random_int"} <= imported
    assert imported == set(set_module.__all__)
    assert imported <= set(re.findall(r"\w+", set_module.__doc__))


def test_no_exported_name_hides_a_module():
    """Else `import set_module.NAME` would give a function."""
    assert not {path.stem for path in Path(set_module.__file__).parent.glob("*.py")} & set(set_module.__all__)
