"""What several tests ask of the repository, of a run folder and of the real data."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).parents[2]


def record(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "run.json").read_text(encoding="utf-8"))


def real_data(name: str) -> Path:
    """A folder of the real data under $DATASET; skips the test that asks where there is none."""
    path = Path(os.environ.get("DATASET", "dataset"), name)
    if not path.exists():
        pytest.skip(f"no {path.absolute()}: point DATASET at the data")
    return path
