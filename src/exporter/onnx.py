"""ONNX: for onnxruntime and whatever else reads it; Netron draws it."""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.export import ExportedProgram

from process.errors import UserError


class ONNX:
    """Raises UserError where onnxscript or onnxruntime is missing."""

    suffix = ".onnx"

    def __init__(self) -> None:
        try:
            import onnxruntime
            import onnxscript  # noqa: F401  torch.onnx needs it
        except ImportError as error:
            raise UserError(
                "ONNX needs onnx, onnxscript and onnxruntime: uv pip install onnx onnxscript onnxruntime, or leave it "
                "out, formats.onnx=null"
            ) from error
        self.runtime = onnxruntime

    def write(self, program: ExportedProgram, interface: Any, facts: Mapping[str, Any]) -> bytes:
        names = {"input_names": interface.names, "output_names": ["logits"]}
        onnx_program: Any = torch.onnx.export(program, verbose=False, **names)
        model = onnx_program.model
        for node, axes in zip(model.graph.inputs, interface.axes, strict=True):
            onnx_program.rename_axes({node.shape[axis]: name for axis, name in axes.items()})
        model.metadata_props.update({k: v if isinstance(v, str) else json.dumps(v) for k, v in facts.items()})
        return onnx_program.model_proto.SerializeToString()

    def open(self, content: bytes, names: Sequence[str]) -> Callable[..., Tensor]:
        """A function of the inputs that runs the file on the processor, on as many threads as torch has."""
        options = self.runtime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.log_severity_level = 3  # errors
        session = self.runtime.InferenceSession(content, options, providers=["CPUExecutionProvider"])

        def run(*inputs: Tensor) -> Tensor:
            fed = {name: tensor.numpy() for name, tensor in zip(names, inputs, strict=True)}
            return torch.from_numpy(session.run(["logits"], fed)[0])

        return run
