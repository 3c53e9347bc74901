"""Parts of a data set whose items belong to groups, such as the slides of a patient, none of which is divided."""

# M items, G groups, K classes, P parts

from collections.abc import Sequence

import torch
from torch import Tensor

from process.errors import UserError


def grouped_split(
    labels_M: Tensor,
    groups: Sequence[str],
    valid: float,
    fold: int | None,
    num_folds: int,
    seed: int,
    limit_train: int | None,
) -> tuple[Tensor, Tensor]:
    """Return the sorted positions of training and of validation items, with no group in both and classes as in all.

    Args:
        labels_M: the class of each item, int64; equal ones of items without classes.
        groups: the group of each item.
        valid: a ratio (0 < valid < 1) of the items, about; a number of items, about; or 0 for none.
        fold: which of `num_folds` parts, as equal as the groups allow, is used for validation, in place of `valid`.
        limit_train: number of training items that are kept, None for all; validation items stay the same.
    """
    count, setting = len(labels_M), f"data.valid={valid}"
    if fold is not None:
        part_M, setting = divide(labels_M, groups, [1 / num_folds] * num_folds, seed) == fold, f"{num_folds=} folds"
    elif valid == 0:
        part_M = torch.zeros(count, dtype=torch.bool)
    else:
        share = valid / count if valid >= 1 else valid
        if share >= 1:
            raise UserError(f"{setting} leaves none of the {count} items for training: choose less")
        part_M = divide(labels_M, groups, [share, 1 - share], seed) == 0
    return chosen_parts(part_M, setting, valid > 0 or fold is not None, seed, limit_train)


def chosen_parts(
    valid_M: Tensor, setting: str, needs_valid: bool, seed: int, limit_train: int | None
) -> tuple[Tensor, Tensor]:
    """Return the sorted positions of both parts, of training `limit_train`. Raises UserError for an empty part."""
    train, held_out = (~valid_M).nonzero()[:, 0], valid_M.nonzero()[:, 0]
    if len(train) == 0:
        raise UserError(f"{setting} leaves none of the {len(valid_M)} items for training: choose less")
    if needs_valid and len(held_out) == 0:
        raise UserError(
            f"{setting} leaves none of the {len(valid_M)} items for validation: choose more, or fewer folds"
        )
    if limit_train is not None:
        if not 1 <= limit_train <= len(train):
            raise UserError(f"data.limit_train={limit_train}: choose 1 to {len(train)}, or null for all")
        order = torch.randperm(len(train), generator=torch.Generator().manual_seed(seed))
        train = train[order[:limit_train]].sort().values
    return train, held_out


def divide(labels_M: Tensor, groups: Sequence[str], shares: Sequence[float], seed: int) -> Tensor:
    """Return the part of each item, int64 [M]: parts of these shares, of all items and of each class.

    The groups come in a random order, the largest first, each into the part that it brings closest to its shares:
    least sum_k ((n_pk + c_k - T_pk)^2 - (n_pk - T_pk)^2) / T_pk, n_pk items of class k in part p so far, c_k in the
    group, T_pk the share. Items that are their own group fill the parts as seats are allotted by Sainte-Lague.
    """
    names = {name: number for number, name in enumerate(dict.fromkeys(groups))}
    group_M = torch.tensor([names[name] for name in groups])
    _, class_M = labels_M.unique(return_inverse=True)
    classes = int(class_M.max()) + 1
    count_GK = (group_M * classes + class_M).bincount(minlength=len(names) * classes).view(-1, classes).double()
    target_PK = torch.tensor(shares, dtype=torch.float64)[:, None] * count_GK.sum(0)
    order_G = torch.randperm(len(names), generator=torch.Generator().manual_seed(seed))
    order_G = order_G[count_GK.sum(1)[order_G].argsort(descending=True, stable=True)]
    filled_PK, part_G = torch.zeros_like(target_PK), torch.zeros(len(names), dtype=torch.int64)
    for group in order_G.tolist():
        count_K = count_GK[group]
        change_P = (count_K * (2 * (filled_PK - target_PK) + count_K) / target_PK).sum(1)
        part = int(change_P.argmin())
        part_G[group] = part
        filled_PK[part] += count_K
    if not (part_G == 0).any():  # a small share of few groups
        part_G[order_G[-1]] = 0
    return part_G[group_M]
