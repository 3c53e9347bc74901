"""The selection on the page: a test image, how many patches of it are drawn, and which of them the network gets."""

# M images of the subset, C H W of an image

import random
from dataclasses import dataclass
from typing import Any

import streamlit as st
import torch
from torch import Tensor

from explore.chosen_set import ChosenSet, Elements, cut, draw_corners
from explore.opened_run import OpenedRun
from explore.test_set_logits import evenly_spaced, predicted_classes, subset_sizes
from set_module.set_network import draws_at_random

ANY = -1  # class
ALL, INCORRECT = "all images", "misclassified"
ONLY_FIRST, ONLY_SECOND = "only the first is correct", "only the second is correct"
TOGGLE, ADD = "in or out", "always adds"  # what a click on the image does


@dataclass
class Selection:
    """A test image, and what the network is given of it."""

    run: OpenedRun
    index: int
    image: Any  # uint8 [C, H, W]; of a bag its images [N, C, H, W]
    label: int
    chosen: ChosenSet
    elements: Elements | None  # those that are in, in their order; None: the network sees the whole image


def show_images(show: str, position: int = 0) -> None:
    """Make the page show an image of this kind when it is drawn next."""
    for name, value in (("true", ANY), ("predicted", ANY), ("show", show), ("position", position), ("view", "Image")):
        st.session_state[name] = value


def select_image(run: OpenedRun, other: OpenedRun | None) -> int | None:
    """Show the boxes that select a test image; return its position in the test set, or None if no image matches."""
    classes = [ANY, *range(len(run.class_names))]
    kinds = [ALL, INCORRECT, *([ONLY_FIRST, ONLY_SECOND] if other else [])]
    for name, options in (("true", classes), ("predicted", classes), ("show", kinds)):
        if st.session_state.get(name) not in options:
            st.session_state[name] = options[0]

    def class_name(number: int) -> str:
        return "any" if number == ANY else run.class_names[number]

    columns = st.columns([1.2, 1.2, 1.6, 1.2, 1], vertical_alignment="bottom")
    true = columns[0].selectbox("True class", classes, format_func=class_name, key="true")
    predicted = columns[1].selectbox("Predicted class", classes, format_func=class_name, key="predicted")
    show = columns[2].selectbox("Show", kinds, key="show")
    matching_M = _matching(run, other, true, predicted, show)
    last = len(matching_M) - 1
    if last < 0:
        st.info("No test image matches: choose other classes, or all images.")
        return None
    st.session_state["position"] = min(st.session_state.get("position", 0), last)
    columns[3].number_input(f"Image, 0 to {last}", 0, last, key="position")

    def any_image() -> None:
        st.session_state["position"] = random.randint(0, last)

    if (predicted != ANY or show != ALL) and st.session_state["subset"] < len(run.source):
        st.caption(f"Among {st.session_state['subset']:,} classified test images; choose more in the view Test set.")
    columns[4].button("Any", on_click=any_image, width="stretch", help="A random image")
    return int(matching_M[st.session_state["position"]])


def _matching(run: OpenedRun, other: OpenedRun | None, true: int, predicted: int, show: str) -> Tensor:
    """Return the positions in the test set of the images that match the boxes."""
    index_M = torch.arange(len(run.source))
    if predicted != ANY or show != ALL:
        subset_sizes(len(run.source))
        index_M = evenly_spaced(len(run.source), st.session_state["subset"])
    labels_M = run.source.targets.cpu()[index_M]
    keep_M = torch.ones(len(index_M), dtype=torch.bool) if true == ANY else labels_M == true
    if predicted != ANY or show != ALL:
        predicted_M = predicted_classes(run, index_M)
        keep_M &= torch.ones_like(keep_M) if predicted == ANY else predicted_M == predicted
        correct_M = predicted_M == labels_M
        if show in (INCORRECT, ONLY_SECOND):
            keep_M &= ~correct_M
        if show == ONLY_FIRST:
            keep_M &= correct_M
        if other is not None and show in (ONLY_FIRST, ONLY_SECOND):
            keep_M &= (predicted_classes(other, index_M) == labels_M) == (show == ONLY_SECOND)
    return index_M[keep_M]


def select_patches(run: OpenedRun, index: int) -> Selection:
    """Show the controls of the set, unless the network sees whole images; return what the network is given."""
    image = run.source.inputs(torch.tensor([index]))
    image = image.values if run.has_bags else image[0]
    label = int(run.source.targets[index])
    if not (run.cuts_patches or run.has_bags):
        return Selection(run, index, image, label, ChosenSet([]), None)
    number = _controls(run) if run.cuts_patches else None
    state = st.session_state
    key = (str(run.folder), index)
    if state.get("chosen_of") != key:
        state["chosen_of"], state["chosen"], state["drawn_as"], state["redraws"] = key, ChosenSet([]), None, 0
    chosen: ChosenSet = state["chosen"]
    if state["drawn_as"] != (number, state["redraws"]):
        state["drawn_as"] = (number, state["redraws"])
        if run.has_bags:
            chosen.redraw([(0, 0)] * len(image))
        else:
            chosen.redraw(draw_corners(run.network, image, index, number, state["redraws"]))
    inside = chosen.inside()
    if run.has_bags:
        elements = Elements(image[torch.tensor(inside)], None)
    else:
        elements = cut(run.network, image, [chosen.corner(number) for number in inside])
    return Selection(run, index, image, label, chosen, elements)


def _controls(run: OpenedRun) -> int | None:
    """Show the slider, the buttons and what a click does; return the number of patches, None if it is not free."""
    state, number = st.session_state, None
    columns = st.columns([3, 1, 1, 1, 1.8], vertical_alignment="bottom")
    if run.has_free_patch_num:
        low, high = run.network.cutout.train_count
        most = run.offered_patch_num
        number = state["number"] = min(state.get("number", min(high, 16)), most)
        if most > 1:
            what = "Patches seen, in the order of choice" if run.looks_in_order else "Patches drawn"
            number = columns[0].slider(what, 1, most, key="number", help=f"Trained on {low} to {high}")
        else:
            columns[0].caption("A patch has only one place.")
    else:
        columns[0].caption(f"model/selection={run.network.cutout.mode} determines the patches.")
    set_buttons(columns[1:4], draws=draws_at_random(run.network))
    state.setdefault("click_does", TOGGLE)
    columns[4].segmented_control("A click on the image", [TOGGLE, ADD], key="click_does", required=True)
    return number


def set_buttons(columns: Any, draws: bool) -> None:
    """Show the buttons Shuffle and As drawn, and Draw others if the network draws patches."""
    state = st.session_state

    def shuffle() -> None:
        state["chosen"].shuffles += 1

    def draw() -> None:
        state["redraws"] += 1

    def reset() -> None:
        state["chosen_of"] = None

    columns[0].button("Shuffle", on_click=shuffle, width="stretch", help="The same set in another order")
    if draws:
        columns[1].button("Draw others", on_click=draw, width="stretch", help="As many patches at other places")
    columns[-1].button("As drawn", on_click=reset, width="stretch", help="Undo clicks, shuffling and other draws")
