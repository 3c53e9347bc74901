"""Which images of the training set train and which validate: a function of settings and split_seed alone."""

import hashlib

import torch
from torch import Tensor

from process.errors import UserError


def split(
    num_images: int, valid: float, fold: int | None, num_folds: int, seed: int, limit_train: int | None
) -> tuple[Tensor, Tensor]:
    """Sorted positions of the training and of the validation images, disjoint.

    valid is a ratio (0 < valid < 1), a count, or 0 for none; fold = k takes part k of num_folds instead.
    limit_train keeps so many of the training part and leaves the validation part as it is.
    """
    order = torch.randperm(num_images, generator=torch.Generator().manual_seed(seed))
    if fold is not None:
        parts = list(order.tensor_split(num_folds))
        valid_part = parts.pop(fold)
        train_part = torch.cat(parts)
        setting = f"data.num_folds={num_folds}"
    else:
        count = round(valid * num_images) if 0 < valid < 1 else int(valid)
        valid_part, train_part = order[:count], order[count:]
        setting = f"data.valid={valid}"
    if len(train_part) == 0:
        raise UserError(f"{setting} leaves none of the {num_images} images for training: choose less")
    if len(valid_part) == 0 and (fold is not None or valid > 0):
        raise UserError(f"{setting} leaves none of the {num_images} images for validation: choose another, or valid=0")
    if limit_train is not None:
        if not 1 <= limit_train <= len(train_part):
            raise UserError(f"data.limit_train={limit_train}: choose 1 to {len(train_part)}, or null for all")
        train_part = train_part[:limit_train]
    return train_part.sort().values, valid_part.sort().values


def split_hash(valid_position: Tensor) -> str:
    """16 hex digits that tell whether two runs validated on the same images."""
    positions = ",".join(map(str, valid_position.sort().values.tolist()))
    return hashlib.sha256(positions.encode()).hexdigest()[:16]
