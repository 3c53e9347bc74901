"""The logits of a run on its test set, or on a part of it: computed once with a progress bar, then cached."""

# M images of the subset, K classes

from collections.abc import Callable
from copy import copy
from typing import Any

import streamlit as st
import torch
from torch import Tensor

from explore.opened_run import OpenedRun, checkpoint_time
from set_module.set_network import outputs_at, split_outputs

BATCH = 250


def evenly_spaced(total: int, count: int) -> Tensor:
    """Return `count` of the numbers below `total`, evenly spaced; all of them if there are no more."""
    return torch.arange(total) if count >= total else torch.arange(count) * total // count


def subset_sizes(total: int) -> list[int]:
    """Return the subset sizes to choose from; if none of them is chosen, choose the second."""
    counts = sorted({min(total, count) for count in (500, 2000, 10000, total)})
    if st.session_state.get("subset") not in counts:
        st.session_state["subset"] = counts[min(1, len(counts) - 1)]
    return counts


def predicted_classes(run: OpenedRun, index_M: Tensor) -> Tensor:
    """Return the predicted class [M] of each image, from as many patches as in the test."""
    return cached_logits(run, index_M, run.largest_patch_num, f"Classifying {len(index_M)} test images").argmax(1)


def cached_logits(run: OpenedRun, index_M: Tensor, patch_num: int | None, title: str) -> Tensor:
    """Return the logits of `compute_logits`, with a progress bar where they are not cached yet."""
    key = (run.folder, checkpoint_time(run.folder), len(index_M), patch_num)
    if key not in _cache():
        bar = st.progress(0.0, f"{title} ...")
        _cache()[key] = compute_logits(run, index_M, patch_num, lambda part: bar.progress(part, f"{title} ..."))
        bar.empty()
    return _cache()[key]


@st.cache_resource
def _cache() -> dict[Any, Tensor]:
    return {}


@torch.no_grad()
def compute_logits(run: OpenedRun, index_M: Tensor, patch_num: int | None, progress: Callable[[float], Any]) -> Tensor:
    """Return the logits [M, K] of the test images, and call `progress` with the share of them that is done.

    `patch_num` patches are drawn from each image if their number is free.
    """
    parts = []
    for index_B in index_M.split(BATCH):
        images = run.source.inputs(index_B)
        if run.cuts_patches:
            cutout = copy(run.network.cutout)  # several people may look at the same network
            if patch_num is not None:
                cutout.count = patch_num
            corners = cutout.positions(images, index_B)
            logits_BK = outputs_at(run.network, images, corners)
        else:
            logits_BK = split_outputs(run.network(images, index_B))[0]
        parts.append(logits_BK.float())
        progress(sum(map(len, parts)) / len(index_M))
    return torch.cat(parts)
