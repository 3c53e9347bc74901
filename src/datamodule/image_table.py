"""The table of large images: a folder for each class, or a CSV. Imports nothing slow, as the config calls it.

root/images.csv                  or labels.csv: image,label[,split][,group][,fold], a line for each image, whose file is
                                 root/images/<image> or root/<image>, with or without its ending
root/train/<class>/<image>       or, without a CSV, a folder for each class; optionally valid/ and test/ likewise
"""

import os
from pathlib import Path

from datamodule import class_folders
from datamodule.bag_table import ItemTable, Row, read_rows, table_in
from process.errors import UserError
from process.files import path_from_setting

NAMES = ("images.csv", "labels.csv")
ENDINGS = (".npy", ".zarr", ".tif", ".tiff", ".bif", ".mrxs", ".ndpi", ".scn", ".svs", ".svslide", ".vms", ".vmu")
LAYOUT = (
    "images.csv with a line image,label[,split][,group][,fold] for each image in images/, or train/<class>/<image>, "
    f"and optionally valid/ and test/ likewise ({' '.join(ENDINGS)})"
)


class ImageTable(ItemTable):
    """The images below data.root in the order of the table, or of the parts, classes and names of the folders.

    `paths` are their files. Raises UserError that names every wrong line, and every missing file.
    """

    item = "image"

    def __init__(self, root: str) -> None:
        self.root = path_from_setting("data.root", root, f"name the folder of {LAYOUT}").absolute()
        self.paths: list[Path] = []
        if any((self.root / name).is_file() for name in NAMES):
            self.path = table_in(self.root, NAMES, LAYOUT)
            self.rows = read_rows(self.path, self.item, LAYOUT)
            self._find_files()
        elif self.root.is_dir():
            self.path, self.rows = self.root, []
            self._list_folders()
        else:
            raise UserError(f"{self.root}: no such folder: set data.root to the folder of {LAYOUT}")
        self.has_folds = self.rows[0].fold is not None
        self.refuse_shared_groups()

    def _find_files(self) -> None:
        folders = [folder for folder in (self.root / "images", self.root) if folder.is_dir()]
        missing = []
        for row in self.rows:
            names = [row.item, *(f"{row.item}{ending}" for ending in ENDINGS)]
            found = [folder / name for folder in folders for name in names if is_image(folder / name)]
            self.paths += found[:1]
            missing += [] if found else [row.item]
        if missing:
            raise UserError(
                f"{self.path}: no file of {', '.join(missing)} in {folders[0]} ({' '.join(ENDINGS)}): add these files, "
                "or remove their lines"
            )

    def _list_folders(self) -> None:
        beside = class_folders.folders_in(self.root)
        folders = class_folders.part_folders(self.root, "", beside)
        trained: set[str] = set()
        for part in ("train", "valid", "test"):
            if part not in folders:
                continue
            classes = class_folders.folders_in(self.root / folders[part])
            if part == "train" and not classes:
                raise UserError(f"{self.root}: no classes in train/: {LAYOUT}")
            trained = trained or set(classes)
            if unknown := [name for name in classes if name not in trained]:
                raise UserError(
                    f"{self.root}: class {unknown[0]!r} is in {folders[part]}/ but not in train/: rename, add or "
                    "remove it"
                )
            for name in classes:
                found = images_below(self.root / folders[part] / name)
                if not found:
                    raise UserError(
                        f"{self.root}: {folders[part]}/{name} holds no image ({' '.join(ENDINGS)}): add some or "
                        "remove it"
                    )
                self.paths += found
                self.rows += [Row(str(path.relative_to(self.root)), name, part, None, None) for path in found]


def count_classes(root: str) -> int:
    """Return the number of different labels."""
    return len(ImageTable(root).class_names)


def is_image(path: Path) -> bool:
    """Return whether a path is a file, or a folder .zarr, with the ending of a large image."""
    ending = path.suffix.lower()
    return ending in ENDINGS and (path.is_dir() if ending == ".zarr" else path.is_file())


def images_below(folder: Path) -> list[Path]:
    """Return the images in a folder and all below it, sorted; hidden ones are left out."""
    found = []
    for place, folders, files in os.walk(folder):
        arrays = [name for name in folders if name.lower().endswith(".zarr")]
        folders[:] = [name for name in folders if name not in arrays and not name.startswith(".")]
        found += [Path(place, name) for name in (*arrays, *files) if not name.startswith(".")]
    return sorted(path for path in found if is_image(path))
