"""The export of a network: traced once for each kind of input, written in each format, checked before it is saved."""

import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.export import ExportedProgram

from exporter.check import Agreement, agreement
from exporter.interface import Interface, LazyShape, OutputAlone, interfaces, random_input
from exporter.sample import Sample
from exporter.score import Comparison, Score, measure
from network.fixed_canvas import FixedCanvas
from network.fixed_patches import FixedPatches
from process.errors import UserError
from process.files import explain_os_errors, replacing
from set_module.set_sequential import SetModule

log = logging.getLogger(__name__)

SIDE = 4096  # pixels of the images of noise that stand for images of any size


class Exporter:
    """Writer of model.*, and for patch networks of model_patches.*, in each of the formats.

    Raises UserError for an unknown mode `patches` or format, and if no format is left.

    Args:
        patches: the patches of an image, see FixedPatches; None: as the network cuts them, or `even` if it draws them.
        features: the length of a vector, for sets of vectors; they have no channels, image_size and patches.
        formats: name -> an object with `suffix`, `write` and `open`, or None to leave it out.
        lazy: whether images are read patch by patch: then only model_patches.* is written.
    """

    def __init__(
        self,
        channels: int | None,
        image_size: Sequence[int] | None,
        patches: str | None,
        formats: Mapping[str, Any],
        features: int | None = None,
        lazy: bool = False,
    ) -> None:
        shape: tuple[Any, ...] = (features,) if features is not None else (channels, *(image_size or (SIDE, SIDE)))
        if lazy:
            shape = LazyShape(shape)
        self.shape: tuple[int, ...] = shape
        given = formats if isinstance(formats, Mapping) else {}
        chosen = {name: kind for name, kind in given.items() if kind is not None}
        self.patches, self.formats = patches, list(chosen.values())
        if not chosen:
            raise UserError("formats: none is left; formats.NAME=null leaves one out")
        if wrong := [name for name, kind in chosen.items() if not hasattr(kind, "write")]:
            raise UserError(f"formats.{wrong[0]}={chosen[wrong[0]]}: null leaves it out; otherwise do not set it")
        if patches not in (None, "even", "grid", "all"):
            raise UserError(
                f"patches={patches}: choose even (evenly spaced, as many as in the test), grid (as few as cover "
                "the image) or all (every place)"
            )
        self.compared: Comparison | None = None  # of the exported patches and of the run's own, if these differ

    def export(
        self, network: nn.Module, task: Any, folder: Path, facts: Mapping[str, Any], sample: Sample | None
    ) -> list[tuple[Path, Interface, Agreement]]:
        """Check all files, then write them; return what was written.

        Raises UserError if a file differs, and for a network that torch.export cannot trace.

        Args:
            task: names the output, and measures the files on the sample.
            facts: metadata that each file holds.
            sample: test images or sets with their targets; files are compared with the network on these and on noise.
        """
        _refuse_untraceable(network.eval())
        checked, score = [], Score(task)
        for interface in interfaces(network, self.shape, self.patches):
            with _silenced():
                program = self._traced(interface)
            for kind in self.formats:
                with _silenced():
                    content = kind.write(program, interface, task.output_name, {**facts, "input": interface.words})
                    run = kind.open(content, interface.names)
                found = agreement(interface, run, self.shape, sample, score)
                log.info(f"{interface.file_name}{kind.suffix}: {', '.join(found.words())}")
                checked.append((folder / f"{interface.file_name}{kind.suffix}", content, interface, found))
        with explain_os_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
        for path, content, *_ in checked:
            with replacing(path, "wb") as file:
                file.write(content)
        if sample is not None:
            self._measure(network, sample, score)
        return [(path, interface, found) for path, _, interface, found in checked]

    def _measure(self, network: Any, sample: Sample, score: Score) -> None:
        """Measure what fixed patches cost, and report a loss; networks that export their own patches lose nothing."""
        for interface in interfaces(network, self.shape, self.patches):
            module = interface.module
            if isinstance(module, FixedPatches | FixedCanvas) and module.mode != network.cutout.mode:
                self.compared = measure(module, self.shape[1:], sample, score)
                if self.compared is not None and self.compared.is_lower:
                    log.warning(self.compared.warning())

    def _traced(self, interface: Interface) -> ExportedProgram:
        # 3 images: torch.export takes axes of size 0 or 1, and two axes of equal size, for constants
        example = interface.inputs(random_input(interface.network, 3, self.shape, seed=0))
        sizes = tuple(dict.fromkeys(axes, torch.export.Dim.DYNAMIC) for axes in interface.axes)
        with torch.no_grad():
            if isinstance(interface.module.eval()(*example), Mapping):
                interface.module = OutputAlone(interface.module)
            # without strict, the number of sets becomes a constant in len()
            return torch.export.export(interface.module.eval(), example, dynamic_shapes=sizes, strict=True)


def _refuse_untraceable(network: nn.Module) -> None:
    for module in network.modules():
        if isinstance(module, SetModule) and module.untraceable is not None:
            raise UserError(f"no file can hold this network: {module.untraceable}")


@contextmanager
def _silenced() -> Iterator[None]:
    """Hide the warnings of torch.export, torch.onnx and onnxscript, on which a user cannot act; errors are raised."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
