"""The figures of a run as files, for who has no logger's page open."""

import io
import tempfile
from pathlib import Path
from typing import Any

from numpy import ndarray
from PIL import Image
from pytorch_lightning.loggers import Logger

from process.files import explained, replacing


class FigureFiles(Logger):
    """Keep pictures and texts, and write them at the end: FOLDER/NAME.png, FOLDER/NAME of a text.

    Not while they are drawn, where a full disk would be taken for a picture that failed.
    """

    def __init__(self, folder: str) -> None:
        super().__init__()
        self.folder = Path(folder)
        self.files: dict[str, bytes] = {}

    @property
    def name(self) -> str:
        return "files"

    @property
    def version(self) -> str:
        return ""

    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None:
        """Do nothing: the run's record holds them."""

    def log_metrics(self, *args: Any, **kwargs: Any) -> None:
        """Do nothing: evaluate.py measures."""

    def log_image(self, name: str, image_HWC: ndarray, step: int) -> None:
        png = io.BytesIO()
        Image.fromarray(image_HWC).save(png, "png", optimize=True)
        self.files[f"{Path(name).name}.png"] = png.getvalue()

    def log_text(self, name: str, text: str) -> None:
        self.files[name] = text.encode()

    def prepare(self) -> None:
        """Make the folder; raises a UserError where the file system refuses it or a file in it."""
        with explained(self.folder):
            self.folder.mkdir(exist_ok=True)
            tempfile.TemporaryFile(dir=self.folder).close()

    def write(self) -> list[Path]:
        """Replace the files of these names; raises a UserError where the file system refuses."""
        for name, content in self.files.items():
            with replacing(self.folder / name, "wb") as file:
                file.write(content)
        return [self.folder / name for name in self.files]
