"""What is looked at: a test image, how many patches of it are drawn, and which of them the network gets."""

# C H W of an image

from dataclasses import dataclass
from typing import Any

import streamlit as st
import torch

from explore import reading
from explore.chosen_set import ChosenSet
from explore.opened_run import OpenedRun

IN_OR_OUT, IN = "in or out", "always puts in"


@dataclass
class Looked:
    """An image, and what the network is given of it."""

    run: OpenedRun
    index: int
    image: Any  # uint8 [C, H, W]; of a bag its images [N, C, H, W]
    label: int
    chosen: ChosenSet
    elements: reading.Elements | None  # those that are in, in their order; None: the network sees the whole image


def look(run: OpenedRun, index: int) -> Looked:
    image = run.source.images(torch.tensor([index]))
    image = image.values if run.bags else image[0]
    label = int(run.source.labels[index])
    if not (run.cuts or run.bags):
        return Looked(run, index, image, label, ChosenSet([]), None)
    number = _controls(run) if run.cuts else None
    state = st.session_state
    key = (str(run.folder), index)
    if state.get("chosen_of") != key:
        state["chosen_of"], state["chosen"], state["drawn_as"], state["other_draw"] = key, ChosenSet([]), None, 0
    chosen: ChosenSet = state["chosen"]
    if state["drawn_as"] != (number, state["other_draw"]):
        state["drawn_as"] = (number, state["other_draw"])
        others = state["other_draw"]
        chosen.redraw([(0, 0)] * len(image) if run.bags else reading.draw(run.network, image, index, number, others))
    inside = chosen.inside()
    if run.bags:
        elements = reading.Elements(image[torch.tensor(inside)], None)
    else:
        elements = reading.cut(run.network, image, [chosen.corner(number) for number in inside])
    return Looked(run, index, image, label, chosen, elements)


def _controls(run: OpenedRun) -> int | None:
    """The number of patches to draw, None where it is not free; and what is done by buttons and by clicks."""
    state, number = st.session_state, None
    columns = st.columns([3, 1, 1, 1, 1.8], vertical_alignment="bottom")
    if run.chooses:
        low, high = run.network.patch_num
        most = run.network.max_patch_num or max(128, 2 * high)
        number = state["number"] = min(state.get("number", min(high, 16)), most)
        if most > 1:
            number = columns[0].slider("Patches drawn", 1, most, key="number", help=f"Trained on {low} to {high}")
        else:
            columns[0].caption("There is one place for a patch.")
    else:
        columns[0].caption(f"patch_mode={run.network.cutout.mode} says which patches there are.")
    buttons(columns[1:4], draws=run.chooses)
    state.setdefault("click_does", IN_OR_OUT)
    columns[4].segmented_control("A click on the image", [IN_OR_OUT, IN], key="click_does", required=True)
    return number


def buttons(columns: Any, draws: bool) -> None:
    state = st.session_state

    def shuffle() -> None:
        state["chosen"].shuffles += 1

    def draw() -> None:
        state["other_draw"] += 1

    def reset() -> None:
        state["chosen_of"] = None

    columns[0].button("Shuffle", on_click=shuffle, width="stretch", help="The same set in another order")
    if draws:
        columns[1].button("Draw others", on_click=draw, width="stretch", help="As many patches, at other places")
    columns[-1].button("As drawn", on_click=reset, width="stretch", help="Undo clicks, shuffling and other draws")
