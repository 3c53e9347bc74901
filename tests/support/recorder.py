"""Logger that writes images and histograms to files: `+loggers.recorder._target_=recorder.Recorder`."""

from pathlib import Path

import numpy
from PIL import Image

from logger.run_logger import RunLogger


class Recorder(RunLogger):
    """Logger that writes FOLDER/NAME_at_STEP.png of images, .npz (counts, edges) of histograms."""

    def log_image(self, name: str, image_HWC: numpy.ndarray, step: int) -> None:
        assert image_HWC.dtype == numpy.uint8
        assert image_HWC.ndim == 3
        assert image_HWC.shape[2] == 3
        Image.fromarray(image_HWC).save(self._path(name, step, "png"))

    def log_histogram(self, name: str, counts: numpy.ndarray, edges: numpy.ndarray, step: int) -> None:
        numpy.savez(self._path(name, step, "npz"), counts=counts, edges=edges)

    def _path(self, name: str, step: int, ending: str) -> Path:
        path = self.folder / f"{name}_at_{step}.{ending}"
        assert not path.exists(), "logged twice"
        path.parent.mkdir(parents=True, exist_ok=True)
        return path
