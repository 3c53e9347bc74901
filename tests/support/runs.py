"""Paths and records that several tests read: of the repository, a run folder, the real data."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).parents[2]


def record(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "run.json").read_text(encoding="utf-8"))


def real_data(name: str) -> Path:
    """Return a folder of the real data under $DATASET; skip the test if it is missing."""
    path = Path(os.environ.get("DATASET", "dataset"), name)
    if not path.exists():
        pytest.skip(f"no {path.absolute()}: point DATASET at the data")
    return path
