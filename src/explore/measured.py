"""What a run says of all its test images, or of some all over them: measured once, with a bar, then remembered."""

# M images that are looked at, K classes

from collections.abc import Callable
from copy import copy
from typing import Any

import streamlit as st
import torch
from torch import Tensor

from explore.opened_run import OpenedRun, version

BATCH = 250


def some(total: int, count: int) -> Tensor:
    """`count` of the numbers below `total`, evenly spaced; all where there are no more."""
    return torch.arange(total) if count >= total else torch.arange(count) * total // count


@torch.no_grad()
def logits(run: OpenedRun, index_M: Tensor, number: int | None, progress: Callable[[float], Any]) -> Tensor:
    """[M, K], from so many patches of each image where their number is free."""
    parts = []
    for index_B in index_M.split(BATCH):
        images = run.source.images(index_B)
        if run.cuts:
            cutout = copy(run.network.cutout)  # as others may look at the same network
            if number is not None:
                cutout.count = number
            corners = cutout.positions(images.shape, index_B)
            logits_BK = run.network.read(run.network.encode(cutout.cut(images, corners), corners))
        else:
            logits_BK = run.network(images, index_B)
        parts.append(logits_BK.float())
        progress(sum(map(len, parts)) / len(index_M))
    return torch.cat(parts)


def subsets(total: int) -> list[int]:
    """How many images may be chosen to be measured; what is chosen is one of them, at first the second."""
    counts = sorted({min(total, count) for count in (500, 2000, 10000, total)})
    if st.session_state.get("subset") not in counts:
        st.session_state["subset"] = counts[min(1, len(counts) - 1)]
    return counts


def most_patches(run: OpenedRun) -> int | None:
    """The number for measures of the test set: the most that it was trained on; None where it is not free."""
    return run.network.patch_num[1] if run.chooses else None


def predicted(run: OpenedRun, index_M: Tensor) -> Tensor:
    """The class [M] of each image, from the most patches."""
    return remembered(run, index_M, most_patches(run), f"Naming {len(index_M)} test images").argmax(1)


def remembered(run: OpenedRun, index_M: Tensor, number: int | None, what: str) -> Tensor:
    """`logits`, with a bar that says what is measured, the first time."""
    key = (run.folder, version(run.folder), len(index_M), number)
    if key not in _memory():
        bar = st.progress(0.0, f"{what} ...")
        _memory()[key] = logits(run, index_M, number, lambda part: bar.progress(part, f"{what} ..."))
        bar.empty()
    return _memory()[key]


@st.cache_resource
def _memory() -> dict[Any, Tensor]:
    return {}
