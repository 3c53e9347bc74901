"""Print the files of src/ whose functions run from argv to the first training step: `python FILE [OVERRIDE ...]`.

Module level and class bodies do not count: only calls are followed. Overrides are those of train.py; the default is
data=digits.
"""

import inspect
import os
import runpy
import sys
import tempfile
import threading
from pathlib import Path
from types import FrameType
from typing import Any

SRC = Path(__file__).resolve().parents[1] / "src"
found: dict[str, int] = {}  # file -> the order in which it was reached


def watch(frame: FrameType, event: str, _: Any) -> None:
    code = frame.f_code
    if event != "call" or not code.co_flags & inspect.CO_OPTIMIZED:
        return
    if code.co_filename.startswith(f"{SRC}{os.sep}"):
        found.setdefault(code.co_filename, len(found))
        if code.co_name == "training_step":
            sys.setprofile(None)
            paths = sorted(str(Path(name).relative_to(SRC)) for name in found)
            print(*paths, f"{len(paths)} files", sep="\n", file=sys.__stdout__, flush=True)
            os._exit(0)  # a run that is left here is of no use


if __name__ == "__main__":
    os.chdir(tempfile.mkdtemp())
    sys.argv = [str(SRC / "train.py"), *(sys.argv[1:] or ["data=digits"])]
    sys.path.insert(0, str(SRC))
    threading.setprofile(watch)
    sys.setprofile(watch)
    runpy.run_path(sys.argv[0], run_name="__main__")
