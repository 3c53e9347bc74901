"""The order in which a network looks at an image: the answer after each patch, and the scores of the next place."""

# S numbers of patches, K classes, R rows and X columns of places

from collections.abc import Sequence
from html import escape
from typing import Any

import streamlit as st
import torch
from torch import Tensor

from explore.chosen_set import cut, draw_corners, logits_of_sets
from explore.selection_panel import Selection

STYLE = """<style>
.ps-steps { border-collapse: collapse; font-size: .85rem; font-variant-numeric: tabular-nums; width: 100% }
.ps-steps th, .ps-steps td { text-align: center; padding: .12rem 0; border: 2px solid white; font-weight: 400 }
.ps-steps th:first-child { text-align: right; padding-right: .4rem; width: 8rem; max-width: 8rem; overflow: hidden;
  text-overflow: ellipsis; white-space: nowrap }
.ps-steps .ps-now { background: #5b6474; color: white }
.ps-steps .ps-true { font-weight: 700; color: #1a7f4b }
</style>"""
MOST_CLASSES, MOST_NUMBERS = 5, 20  # rows and columns of the table


def next_scores(selection: Selection) -> Tensor | None:
    """Return the scores of the next place after the chosen patches, [R, X]; None if the network has none."""
    scores_of: Any = getattr(selection.run.network.cutout, "next_scores", None)
    if scores_of is None or selection.elements is None:
        return None
    scores_RX: Tensor | None = scores_of(selection.image, selection.elements.corners)
    return scores_RX


def show_steps(selection: Selection) -> None:
    """Show the probabilities after each patch in the order of choice, without clicks, computed once for an image."""
    run, state = selection.run, st.session_state
    key = (str(run.folder), selection.index)
    if state.get("steps_of") != key:
        state["steps"], state["steps_of"] = step_probabilities(selection), key
    now = len(selection.chosen.drawn)
    st.caption("Probabilities in % after each patch, in the order of choice:")
    st.html(steps_table(run.class_names, state["steps"], now, selection.label))


def step_probabilities(selection: Selection) -> list[list[float]]:
    """Return the probabilities [S, K] after 1, 2, ... patches, as many as the page offers."""
    run = selection.run
    corners = draw_corners(run.network, selection.image, selection.index, run.offered_patch_num)
    elements = cut(run.network, selection.image, corners)
    with torch.no_grad():
        logits_SK = logits_of_sets(run.network, elements, [range(n) for n in range(1, len(corners) + 1)])
    rows: list[list[float]] = logits_SK.softmax(1).tolist()
    return rows


def steps_table(names: Sequence[str], rows: Sequence[Sequence[float]], now: int, label: int) -> str:
    """Return HTML with a row for each of the likeliest classes and a column for each number of patches.

    Of many numbers it has some, evenly spaced, and `now`.

    Args:
        rows: the probabilities after each number of patches, [S, K].
        now: the number of patches whose column is marked.
        label: the true class, which always has a row.
    """
    best = sorted(range(len(names)), key=lambda k: -max(row[k] for row in rows))[:MOST_CLASSES]
    shown = sorted(best if label in best else [*best[: MOST_CLASSES - 1], label])
    count = min(len(rows), MOST_NUMBERS)
    spaced = {len(rows) * (place + 1) // count for place in range(count)}
    numbers = sorted(spaced | ({now} if now <= len(rows) else set()))
    now_class = " class=ps-now"
    head = "".join(f"<th{now_class if number == now else ''}>{number}</th>" for number in numbers)
    body = ""
    for k in shown:
        true = " class=ps-true" if k == label else ""
        values = [rows[number - 1][k] for number in numbers]
        cells = (f'<td style="background:rgba(240,138,36,{value:.3f})">{100 * value:.0f}</td>' for value in values)
        body += f"<tr><th{true}>{escape(names[k])}{' ✓' if k == label else ''}</th>{''.join(cells)}</tr>"
    return f"{STYLE}<table class=ps-steps><thead><tr><th></th>{head}</tr></thead><tbody>{body}</tbody></table>"
