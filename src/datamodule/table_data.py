"""Base class of data sets whose items stand in a table: their targets, and the split by its columns."""

# M items of a part

import re
from typing import Any

import torch
from torch import Tensor

from datamodule.bag_table import ItemTable
from datamodule.data_module import DataModule
from datamodule.grouped_split import chosen_parts, grouped_split
from datamodule.loader import Source
from process.errors import UserError

NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?", re.ASCII | re.IGNORECASE)


class TableData(DataModule):
    """Items of a `table`, which a subclass reads.

    Targets are labels, or without data.num_classes numbers of the shape []. Validation items are those of the table's
    column split; else of its column fold, the fold data.fold; else they are split off the training items, with classes
    as in all items and no group in both.
    """

    table: Any  # an ItemTable, or a property that reads it

    @property
    def class_names(self) -> list[str]:  # type: ignore[override]
        return [] if self.num_classes is None else self.table.class_names

    def targets_of(self, chosen: list[int]) -> Tensor:
        """Return the targets of the rows with these numbers."""
        table: ItemTable = self.table
        labels = [table.rows[number].label for number in chosen]
        if self.num_classes is not None:
            return torch.tensor([self.class_names.index(label) for label in labels])
        wrong = [label for label in labels if not NUMBER.fullmatch(label)]
        if wrong:
            raise UserError(f"{table.path}: without data.num_classes, labels are numbers: {', '.join(wrong)}")
        return torch.tensor([float(label) for label in labels])

    def divide(self, train: Source, valid: float, fold: int | None) -> tuple[Tensor, Tensor]:
        table: ItemTable = self.table
        rows = [row for row in table.rows if row.part == "train"]
        if self.fold is not None and fold is None:
            raise UserError(
                f"data.fold={self.fold}: the column split says which {table.item}s are for validation: data.fold=null"
            )
        if fold is not None and table.has_folds:
            folds = sorted({row.fold for row in rows if row.fold is not None})
            if fold not in folds:
                raise UserError(f"data.fold={fold}: {table.path} has the folds {', '.join(map(str, folds))}")
            is_valid_M = torch.tensor([row.fold == fold for row in rows])
            return chosen_parts(is_valid_M, f"data.fold={fold}", True, self.split_seed, self.limit_train)
        labels_M = train.targets
        assert isinstance(labels_M, Tensor)
        labels_M = labels_M.cpu() if self.num_classes is not None else torch.zeros(len(rows), dtype=torch.int64)
        groups = [row.item if row.group is None else row.group for row in rows]
        return grouped_split(labels_M, groups, valid, fold, self.num_folds, self.split_seed, self.limit_train)
