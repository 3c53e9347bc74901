"""The formats of exported networks: each writes a program as bytes, and opens the bytes as a function."""

import io
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.export import ExportedProgram

from process.errors import UserError


class ONNX:
    """ONNX, for onnxruntime and other programs; netron.app draws it.

    Raises UserError if onnxscript or onnxruntime is missing.
    """

    suffix = ".onnx"

    def __init__(self) -> None:
        try:
            import onnxruntime
            import onnxscript  # noqa: F401  torch.onnx needs it
        except ImportError as error:
            raise UserError(
                "ONNX needs onnx, onnxscript and onnxruntime: uv pip install onnx onnxscript onnxruntime, or "
                "disable it, formats.onnx=null"
            ) from error
        self.runtime = onnxruntime

    def write(self, program: ExportedProgram, interface: Any, output: str, facts: Mapping[str, Any]) -> bytes:
        names = {"input_names": interface.names, "output_names": [output], "dynamic_shapes": interface.axes}
        onnx_program: Any = torch.onnx.export(program, verbose=False, **names)
        onnx_program.model.metadata_props.update(
            {k: v if isinstance(v, str) else json.dumps(v) for k, v in facts.items()}
        )
        return onnx_program.model_proto.SerializeToString()

    def open(self, content: bytes, names: Sequence[str]) -> Callable[..., Tensor]:
        """Return a function of the inputs that runs the file on the CPU, on as many threads as torch uses."""
        options = self.runtime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.log_severity_level = 3  # errors
        session = self.runtime.InferenceSession(content, options, providers=["CPUExecutionProvider"])

        def run(*inputs: Tensor) -> Tensor:
            fed = {name: tensor.numpy() for name, tensor in zip(names, inputs, strict=True)}
            return torch.from_numpy(session.run(None, fed)[0])

        return run


class PT2:
    """The .pt2 format, which torch.export.load reads with torch and without this repository.

    metadata.json in the file holds the facts: torch.export.load(path, extra_files={"metadata.json": ""}).
    """

    suffix = ".pt2"

    def write(self, program: ExportedProgram, interface: Any, output: str, facts: Mapping[str, Any]) -> bytes:
        file = io.BytesIO()
        torch.export.save(program, file, extra_files={"metadata.json": json.dumps(facts, ensure_ascii=False)})
        return file.getvalue()

    def open(self, content: bytes, names: Sequence[str]) -> Callable[..., Tensor]:
        """Return a function of the inputs that runs the file."""
        return torch.export.load(io.BytesIO(content)).module()
