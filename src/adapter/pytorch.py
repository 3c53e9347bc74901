"""Private names and files of torch."""

import importlib.util
import mmap
import re
import runpy
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor, nn


def map_tensors(function: Callable[["Tensor"], "Tensor"], inputs: Any) -> Any:
    """Apply a function to every tensor in nested containers, those registered as pytree nodes included."""
    from torch import Tensor
    from torch.utils._pytree import tree_map_only

    return tree_map_only(Tensor, function, inputs)


def convolve(conv: "nn.Conv2d", x_BCHW: "Tensor", weight: "Tensor") -> "Tensor":
    """Apply a convolution with another weight in the place of its own, with its bias, stride and padding mode."""
    return conv._conv_forward(x_BCHW, weight, conv.bias)


@cache
def build() -> tuple[str, str | None]:
    """Return the installed torch's version with its build, 2.15.0+cu132, and its CUDA, without importing it."""
    facts = runpy.run_path(str(_folder() / "version.py"))
    return facts["__version__"], facts["cuda"]


@cache
def architectures() -> list[str]:
    """Return what torch.cuda.get_arch_list() does where there is a GPU, without importing torch; empty if unknown."""
    try:
        with (_folder() / "lib" / "libtorch_python.so").open("rb") as file:
            library = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except OSError:  # not Linux
        return []
    with library:
        found = re.search(rb"\0((?:(?:sm|compute)_\d+[af]? ?)+)\0", library)
        return found[1].decode().split() if found else []


def _folder() -> Path:
    spec = importlib.util.find_spec("torch")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent
