"""Logger that writes figures as files, so that no logger's page is needed to see them."""

import io
import tempfile
from pathlib import Path
from typing import Any

from numpy import ndarray
from PIL import Image
from pytorch_lightning.loggers import Logger

from process.files import explain_os_errors, replacing


class FigureFiles(Logger):
    """Logger that keeps images and texts until `write`, which makes FOLDER/NAME.png of an image, FOLDER/NAME of a text.

    If it wrote while figures are drawn, a full disk would be reported as a figure that failed.
    """

    name, version = "files", ""

    def __init__(self, folder: str) -> None:
        super().__init__()
        self.folder = Path(folder)
        self.files: dict[str, bytes] = {}

    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None:
        """Do nothing: the run's record has them."""

    def log_metrics(self, *args: Any, **kwargs: Any) -> None:
        """Do nothing: evaluate.py measures."""

    def log_image(self, name: str, image_HWC: ndarray, step: int) -> None:
        png = io.BytesIO()
        Image.fromarray(image_HWC).save(png, "png", optimize=True)
        self.files[f"{Path(name).name}.png"] = png.getvalue()

    def log_text(self, name: str, text: str) -> None:
        self.files[name] = text.encode()

    def prepare(self) -> None:
        """Create the folder; raise a UserError if the file system refuses it or a file in it."""
        with explain_os_errors(self.folder):
            self.folder.mkdir(exist_ok=True)
            tempfile.TemporaryFile(dir=self.folder).close()

    def write(self) -> list[Path]:
        """Write the files, replace those of the same names, and return their paths.

        Raises a UserError if the file system refuses.
        """
        for name, content in self.files.items():
            with replacing(self.folder / name, "wb") as file:
                file.write(content)
        return [self.folder / name for name in self.files]
