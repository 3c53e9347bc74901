"""Tables of items in files: which there are, their labels and parts. Imports nothing slow, as the config calls it.

root/bags.csv                 or labels.csv: bag,label[,split][,group][,fold], a line for each bag
root/features/<bag>.npy       or .pt, .h5, .safetensors: features [n, F]; or the files beside the table
root/coords/<bag>.npy         optional: places (x, y) [n, 2]; or `coords` in the .h5, .safetensors or .pt
root/instance_labels/<bag>.npy  optional: labels of the elements [n]; or `instance_labels` likewise
"""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from datamodule.bag_file import ENDINGS, BagFile, find_files
from datamodule.class_folders import PARTS
from process.errors import UserError
from process.files import path_from_setting

NAMES = ("bags.csv", "labels.csv")
OTHER_NAMES = {"slide_id": "bag", "case_id": "group", "bag_name": "bag", "bag_label": "label"}  # of CLAM and torchmil
LAYOUT = "a line bag,label[,split][,group][,fold] for each bag, and features/<bag>" + ", ".join(ENDINGS)


@dataclass(frozen=True)
class Row:
    """One line of the table: the part is train, valid or test; group and fold are None where there is no column."""

    item: str
    label: str
    part: str
    group: str | None
    fold: int | None


class ItemTable:
    """The rows of a table, in their order: part, label, group and fold of each item."""

    item: str  # what a row is about, in one word
    path: Path
    rows: list[Row]
    has_folds: bool

    @cached_property
    def class_names(self) -> list[str]:
        """The labels, each once: numbers in their order, other words by the alphabet."""
        names = {row.label for row in self.rows}
        return sorted(names, key=int) if all(map(_is_integer, names)) else sorted(names)

    def refuse_shared_groups(self) -> None:
        """Raise a UserError for groups with bags in several parts, or in several folds: the test would be no test."""
        places: dict[str, set[str]] = {}
        for row in self.rows:
            if row.group is not None:
                places.setdefault(row.group, set()).add(
                    row.part if row.fold is None else f"{row.part}, fold {row.fold}"
                )
        if shared := [group for group, found in places.items() if len(found) > 1]:
            first = " and ".join(sorted(places[shared[0]]))
            raise UserError(
                f"{self.path}: {self.item}s of one group are in several parts: {', '.join(shared)} "
                f"({shared[0]}: {first}): give each group one split and one fold, or remove the column group"
            )


class BagTable(ItemTable):
    """The rows of data.root/bags.csv, in their order. Raises UserError that names every wrong line."""

    item = "bag"

    def __init__(self, root: str) -> None:
        self.root = path_from_setting("data.root", root, f"name the folder of bags.csv, {LAYOUT}").absolute()
        self.path = table_in(self.root, NAMES, LAYOUT)
        self.rows = read_rows(self.path, self.item, LAYOUT)
        self.has_folds = self.rows[0].fold is not None
        self.refuse_shared_groups()

    def files(self, names: Sequence[str]) -> list[BagFile]:
        """Return the files of bags; those that are missing say so when they are opened."""
        return find_files(self.root, names)


def count_classes(root: str) -> int:
    """Return the number of different labels."""
    return len(BagTable(root).class_names)


def count_features(root: str) -> int:
    """Return the length of a feature vector in the first file that can be read."""
    table = BagTable(root)
    files = table.files([row.item for row in table.rows])
    for file in files:
        if file.problem is None:
            return file.width
    raise UserError(f"{table.path}: none of its {len(files):,} bags can be read: {files[0].problem}")


def table_in(root: Path, names: Sequence[str], layout: str) -> Path:
    """Return the table in a folder, by one of these names. Raises UserError for none and for several."""
    if not root.is_dir():
        raise UserError(f"{root}: no such folder: set data.root to the folder of {names[0]}, {layout}")
    found = [root / name for name in names if (root / name).is_file()]
    if not found:
        raise UserError(f"{root}: no {' or '.join(names)} in it: {layout}")
    if len(found) > 1:
        raise UserError(f"{root}: {' and '.join(path.name for path in found)} are both there: keep one of them")
    return found[0]


def read_rows(path: Path, item: str, layout: str) -> list[Row]:
    """Return the rows of a table, whose column `item` names the items. Raises UserError that names every wrong line."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:  # Excel begins a file with a byte-order mark
            reader = csv.DictReader(file, skipinitialspace=True)
            columns = [(name or "").strip() for name in reader.fieldnames or []]
            reader.fieldnames = columns
            lines = [(reader.line_num, line) for line in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path}: cannot be read as CSV in UTF-8 ({error}): write it anew") from error
    for needed in (item, "label"):
        if needed not in columns:
            ours = "bag" if needed == item else needed
            other = next((name for name, own in OTHER_NAMES.items() if own == ours and name in columns), None)
            remedy = f"rename the column {other}" if other else f"its columns are {','.join(columns) or 'none'}"
            raise UserError(f"{path}: no column {needed}: {remedy}; {layout}")
    if not lines:
        raise UserError(f"{path}: no {item} in it: {layout}")
    rows, wrong = [], []
    seen: dict[str, int] = {}
    for number, line in lines:
        cells = {name: (value or "").strip() if not isinstance(value, list) else "" for name, value in line.items()}
        problems = _problems(cells, columns, item)
        if cells[item] in seen:
            problems.append(f"{item} {cells[item]} is in line {seen[cells[item]]} too")
        seen.setdefault(cells[item], number)
        if problems:
            wrong.append(f"line {number}: {', '.join(problems)}")
            continue
        part = PARTS[cells["split"].lower()] if "split" in columns else "train"
        fold = int(cells["fold"]) if "fold" in columns else None
        rows.append(Row(cells[item], cells["label"], part, cells["group"] if "group" in columns else None, fold))
    if wrong:
        raise UserError(f"{path}: {'; '.join(wrong)}")
    return rows


def _problems(cells: dict[str, str], columns: Sequence[str], item: str) -> list[str]:
    """Return what is wrong in one line."""
    problems = [f"no {name}" for name in (item, "label", "group") if name in columns and not cells[name]]
    if "split" in columns and cells["split"].lower() not in PARTS:
        problems.append(f"split {cells['split']!r}, must be train, valid or test")
    if "fold" in columns and not (_is_integer(cells["fold"]) and int(cells["fold"]) >= 0):
        problems.append(f"fold {cells['fold']!r}, must be 0, 1, ...")
    return problems


def _is_integer(text: str) -> bool:
    return text.isascii() and text.removeprefix("-").isdigit()
