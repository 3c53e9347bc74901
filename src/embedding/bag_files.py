"""The files of bags, written as their patches are embedded: what stands in a folder under its name is whole.

output/features/<bag>.npy  [P, F] float16 or float32
output/coords/<bag>.npy    [P, 2] int32, the upper left corner (x, y) of each patch in pixels of its image
output/bags.csv            bag,label,split[,group][,fold], if the images have labels
output/embedding.json      how the features were made: a folder takes bags that were made alike
"""

# P patches of an image, n of them in a segment, F features

import csv
import json
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import numpy as np
from pytorch_lightning import Callback, LightningModule, Trainer

from process.errors import UserError
from process.files import explain_os_errors, replacing, write_json

FACTS = "embedding.json"
FEATURES, COORDS = "features", "coords"
OTHER = "choose another output, or remove this folder"


class BagFiles(Callback):
    """Callback that writes the features and the coordinates of each image, as its last patch is embedded.

    `problems` says why an image cannot be used, by its number. Use it in a `with` block, whose end removes what is not
    whole. Raises UserError for features that are not finite as `dtype`.

    Args:
        images: have `bags`, the name of each, `rows`, their lines in the table, or None, and `changed_at(number)`.
        dtype: float16 or float32.
    """

    def __init__(self, output: Path, images: Any, dtype: str) -> None:
        self.output, self.images, self.names, self.dtype = output, images, images.bags, np.dtype(dtype)
        self.written, self.patches, self._rows, self._width = 0, 0, 0, 0
        self.problems: dict[int, str] = {}
        self._open: ExitStack | None = None
        self._file: Any = None
        self._coords: list[np.ndarray] = []

    def __enter__(self) -> "BagFiles":
        return self

    def __exit__(self, *_: object) -> None:
        self._abandon()

    @property
    def usable(self) -> list[int]:
        """Return the numbers of the images that are not known to be unusable."""
        return [image for image in range(len(self.names)) if image not in self.problems]

    def keep_facts(self, facts: Mapping[str, Any], origin: Mapping[str, Any]) -> None:
        """Record how the bags of the folder are made. Raises UserError if those in it were made in another way.

        Args:
            facts: what the features depend on.
            origin: where the weights came from, which may differ.
        """
        path = self.output / FACTS
        if path.exists():
            try:
                recorded = dict(json.loads(path.read_text(encoding="utf-8"))["features"])
            except (OSError, ValueError, KeyError, TypeError) as error:
                raise UserError(f"{path} is damaged: {OTHER}") from error
            for name, value in facts.items():
                if recorded.get(name) != value:
                    here, now = _shown(recorded.get(name)), _shown(value)
                    raise UserError(f"output={self.output} holds bags of {name}={here}, not {now}: {OTHER}")
        elif (self.output / FEATURES).exists():
            raise UserError(
                f"output={self.output} holds features, but no {FACTS}, which says how they were made: {OTHER}"
            )
        with explain_os_errors(self.output):
            self.output.mkdir(parents=True, exist_ok=True)
            for place in (FEATURES, COORDS):  # temporary files of a process that was killed
                for left in (self.output / place).rglob(".*.npy.????????"):
                    left.unlink(missing_ok=True)
        write_json(path, {"features": dict(facts), **origin})

    def missing(self, width: int) -> list[int]:
        """Return the numbers of the images whose bags are not there, or were written before the image changed."""
        for image, name in enumerate(self.names):
            if name != name.strip() or not name.isprintable():
                self.problems[image] = f"{name!r}: its name cannot stand in a table: rename it"
        return [image for image in self.usable if not self._is_whole(image, width)]

    def write_table(self) -> Path | None:
        """Write bags.csv, with the columns split, group and fold if they are known; return None without labels."""
        if self.images.rows is None:
            return None
        rows = [self.images.rows[image] for image in self.usable]
        known = {"split": "part", "group": "group", "fold": "fold"}
        columns = {name: field for name, field in known.items() if getattr(rows[0], field) not in (None, "")}
        path = self.output / "bags.csv"
        with explain_os_errors(path), replacing(path) as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(["bag", "label", *columns])
            writer.writerows(
                [row.item, row.label, *(getattr(row, field) for field in columns.values())] for row in rows
            )
        return path

    def totals(self) -> dict[str, object]:
        """Return the numbers of bags and patches that were written, of bags that were there, and of unusable images."""
        there = len(self.usable) - self.written
        others = {"bags that were there": there} if there else {}
        return {"bags": self.written, "patches": self.patches, **others, **self._unusable()}

    def _unusable(self) -> dict[str, object]:
        return {"unusable images": len(self.problems)} if self.problems else {}

    def path(self, place: str, image: int) -> Path:
        return self.output / place / f"{self.names[image]}.npy"

    def _is_whole(self, image: int, width: int) -> bool:
        path, places = self.path(FEATURES, image), self.path(COORDS, image)
        try:
            features_PF, coords_P2 = np.load(path, mmap_mode="r"), np.load(places, mmap_mode="r")
            same = features_PF.shape == (len(coords_P2), width) and coords_P2.shape[1:] == (2,)
            return bool(
                same and features_PF.dtype == self.dtype and path.stat().st_mtime >= self.images.changed_at(image)
            )
        except (OSError, ValueError, EOFError):
            return False

    def on_predict_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int, *_: Any
    ) -> None:
        first = 0
        for segment in batch[1]:
            features_nF = outputs[first : first + len(segment.corners_n2)].numpy()
            first += len(segment.corners_n2)
            if segment.problem is not None:
                self.problems.setdefault(segment.image, segment.problem)
                self._abandon()
            if segment.image not in self.problems:
                self._add(segment, features_nF)

    def _add(self, segment: Any, features_nF: np.ndarray) -> None:
        path = self.path(FEATURES, segment.image)
        if segment.is_first:
            self._begin(path)
        with np.errstate(over="ignore"):
            values_nF = features_nF.astype(self.dtype)
        if not np.isfinite(values_nF).all():
            if np.isfinite(features_nF).all():
                raise UserError(f"{path}: a feature exceeds 65504, the largest float16: choose dtype=float32")
            raise UserError("the features are not finite: the weights are broken, choose others")
        with explain_os_errors(path):
            self._write_rows(values_nF)
        self._coords.append(segment.corners_n2.numpy()[:, ::-1].astype(np.int32))
        if segment.is_last:
            self._finish(segment.image)

    def _begin(self, path: Path) -> None:
        self._abandon()
        with explain_os_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
        self._open = ExitStack()
        self._file = self._open.enter_context(replacing(path, "wb"))
        self._rows = 0

    def _write_rows(self, values_nF: np.ndarray) -> None:
        if len(values_nF) == 0:
            return
        if self._rows == 0:
            self._width = values_nF.shape[1]
            self._write_header()
        self._file.write(np.ascontiguousarray(values_nF).data)
        self._rows += len(values_nF)

    def _write_header(self) -> None:
        """Write the header, in which NumPy leaves room for any number of rows."""
        header = {"descr": self.dtype.str, "fortran_order": False, "shape": (self._rows, self._width)}
        np.lib.format.write_array_header_1_0(self._file, header)

    def _finish(self, image: int) -> None:
        """Give both files their names: the coordinates first, so that a bag with features has them."""
        if self._rows == 0:
            self.problems[image] = f"{self.names[image]}: it has no patches"
            self._abandon()
            return
        places = self.path(COORDS, image)
        with explain_os_errors(places):
            places.parent.mkdir(parents=True, exist_ok=True)
            with replacing(places, "wb") as file:
                np.save(file, np.concatenate(self._coords))
        with explain_os_errors(self.path(FEATURES, image)):
            begin = self._file.tell()
            self._file.seek(0)
            self._write_header()
            self._file.seek(begin)
        assert self._open is not None
        opened, self._open, self._coords = self._open, None, []
        opened.close()
        self.written += 1
        self.patches += self._rows

    def _abandon(self) -> None:
        """Remove the file of an image that is not whole."""
        if self._open is not None:
            opened, self._open = self._open, None
            with suppress(_AbandonedError):
                opened.__exit__(_AbandonedError, _AbandonedError(), None)
        self._coords = []


def _shown(value: Any) -> str:
    return "null" if value is None else str(value)


class _AbandonedError(Exception):
    """Error that lets `replacing` remove its file."""
