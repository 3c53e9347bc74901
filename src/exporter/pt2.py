""".pt2: what torch.export.load reads, with torch and without this repository."""

import io
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.export import ExportedProgram


class PT2:
    """metadata.json in the file holds the facts: torch.export.load(path, extra_files={"metadata.json": ""})."""

    suffix = ".pt2"

    def write(self, program: ExportedProgram, interface: Any, facts: Mapping[str, Any]) -> bytes:
        file = io.BytesIO()
        torch.export.save(program, file, extra_files={"metadata.json": json.dumps(facts, ensure_ascii=False)})
        return file.getvalue()

    def open(self, content: bytes, names: Sequence[str]) -> Callable[..., Tensor]:
        """A function of the inputs that runs the file."""
        return torch.export.load(io.BytesIO(content)).module()
