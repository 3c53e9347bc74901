"""The view of one test image: its patches to click in and out, the prediction, and the evidence of each patch."""

# N elements, C H W of an image, K classes

from math import ceil
from typing import Any

import streamlit as st
import torch
from torch import Tensor

from explore import pictures
from explore.chosen_set import cut, leave_one_out, network_scores, occlusion_map, score_map
from explore.opened_run import OpenedRun
from explore.order_panel import next_scores, show_steps
from explore.pictures import clickable_picture
from explore.prediction_panel import other_logits, selection_logits, show_prediction
from explore.selection_panel import ADD, Selection, select_image, select_patches, set_buttons
from figure.item_picture import drawn_item
from figure.looking import UNSEEN
from figure.picture import drawn, tinted

WEIGHTS, LEAVE_ONE_OUT, OCCLUSION = "pool's weights", "leaving one out", "a gray square"  # short, to fit their boxes
PREDICTED, TRUE = -2, -1  # beside the classes 0, 1, ...
WORDS = {PREDICTED: "predicted class", TRUE: "true class"}


@st.fragment
def image_view(run: OpenedRun, other: OpenedRun | None, names: list[str]) -> None:
    """Show the view. A click in it draws this view again, not the whole page."""
    index = select_image(run, other)
    if index is None:
        return
    selection = select_patches(run, index)
    with torch.no_grad():
        logits_K = selection_logits(selection)
        other_K = None if other is None else other_logits(other, selection)
    predicted = int(logits_K.argmax())
    if run.has_vectors:
        left, right = st.columns([2, 1], gap="medium")
        with left:
            show_item(selection.image)
        with right:
            show_prediction(selection, logits_K, other_K, names)
        return
    if run.has_bags:
        set_buttons(st.columns([1, 1, 3])[:2], draws=False)
        left, right = st.columns([2, 1], gap="medium")
        with right:
            show_prediction(selection, logits_K, other_K, names)
            scores = show_evidence(selection, predicted)
        with left:
            _gallery(selection, scores, columns=6, tile=104)
        return
    left, middle, right = st.container(key="image_columns").columns(3, gap="medium")
    with left:
        _image(selection)
    with right:  # before the evidence, which may take longer
        show_prediction(selection, logits_K, other_K, names)
    with middle:
        scores = show_evidence(selection, predicted)
    if run.looks_in_order:
        show_steps(selection)
    if selection.elements is not None:
        _gallery(selection, scores, columns=16, tile=52)


def show_item(item: Tensor) -> None:
    """Show an image, the images of a bag, or the points of a set of vectors; longer vectors are columns of colours."""
    st.image(drawn_item(item, pictures.SIDE), width="content")
    if item.ndim == 2:
        count, features = item.shape
        columns = "" if features <= 3 else " A column for each element, a row for each feature, from dark to bright."
        st.caption(f"{count} vectors of {features} feature{'s' * (features != 1)}.{columns}")


def _image(selection: Selection) -> None:
    if selection.elements is None:
        st.image(drawn(selection.image, pictures.SIDE), width="stretch")
        whole = "This network sees the whole image: there are no patches to choose."
        st.caption(whole)
        return
    chosen, size = selection.chosen, selection.run.patch_size
    height, width = selection.image.shape[1:]

    def clicked(x: float, y: float) -> None:
        under = chosen.patch_at(y * height, x * width, size)
        if under is None:
            under = chosen.patch_at(y * height, x * width, size, out=True)
        if under is None or st.session_state["click_does"] == ADD:
            chosen.add_patch(y * height, x * width, size, (height, width))
        elif not chosen.toggle(under):
            st.toast("A set needs at least one patch: add another one first.")

    scores_RX = next_scores(selection)
    picture = pictures.outlined(selection.image, chosen, size, selection.run.looks_in_order, scores_RX)
    grid = (ceil(2 * width / size), ceil(2 * height / size))  # half patches
    clickable_picture(picture, "image", f"test image {selection.index} with its patches", grid, clicked)
    unseen = "Pale pixels are in no patch."
    if scores_RX is not None:
        unseen = "Violet: the scores of the next patch, each at its centre, and the outline of the best."
    st.caption(f"{unseen} A click takes a patch out or puts it back; outside of all it adds one.")


def _gallery(selection: Selection, scores_N: Tensor, columns: int, tile: int) -> None:
    chosen, numbers = selection.chosen, selection.chosen.numbers()
    if selection.run.has_bags:
        patches = [selection.image[number] for number in numbers]
    else:
        corners = [chosen.corner(number) for number in numbers]
        patches = list(cut(selection.run.network, selection.image, corners).patches)
    score_of = dict(zip(chosen.inside(), scores_N.tolist(), strict=True))

    def clicked(x: float, y: float) -> None:
        place = pictures.cell_at(x, y, len(numbers), columns)
        if place is not None and not chosen.toggle(numbers[place]):
            st.toast("A set needs at least one element: put another one back first.")

    picture = pictures.gallery(patches, [score_of.get(number) for number in numbers], columns, tile)
    grid = (columns, pictures.row_count(len(numbers), columns))
    clickable_picture(picture, "gallery", "the elements of the set, in their order", grid, clicked)
    st.caption("The set in the order of the network's input. Frames show the evidence. A click takes out or puts back.")


def show_evidence(selection: Selection, predicted: int) -> Tensor:
    """Show the heat map of patches or of a whole image; return the scores of the elements, [N]."""
    network, elements, names = selection.run.network, selection.elements, selection.run.class_names
    own = _own_way(network)
    place = st.empty()
    columns = st.columns(2)
    ways = [OCCLUSION] if elements is None else [*([own] if hasattr(network, "scores") else []), LEAVE_ONE_OUT]
    way = columns[0].selectbox("Evidence by", ways, key=f"evidence by {ways[0]}")
    classes = [PREDICTED, TRUE, *range(len(names))]
    chosen = columns[1].selectbox(
        "for", classes, format_func=lambda k: WORDS.get(k) or names[k], key=f"evidence for one of {len(names)}"
    )
    label = {PREDICTED: predicted, TRUE: selection.label}.get(chosen, chosen)
    image_size = selection.image.shape[-2:]
    scores_N = torch.empty(0)
    if elements is None:
        map_HW = occlusion_map(network, selection.image, label)
    else:
        scores_N = (leave_one_out if way == LEAVE_ONE_OUT else network_scores)(network, elements, label)
        if elements.corners is None:
            place.caption(_legend(way))
            return scores_N
        map_HW = score_map(scores_N, elements.corners, selection.run.patch_size, image_size)
    heat_map = tinted(selection.image, map_HW, pictures.SIDE, UNSEEN)
    place.image(heat_map, caption=_legend(way), width="stretch")
    return scores_N


def _own_way(network: Any) -> str:
    """Return the name of the evidence that the network's own `scores` give."""
    if hasattr(getattr(network, "pool", None), "weights"):
        return WEIGHTS
    return "patches' votes" if hasattr(network, "heat_map") else "gradient x input"


def _legend(way: str) -> str:
    if way == WEIGHTS:
        return "Red: has a large weight, for any class."
    return "Red: speaks for the class. Blue: speaks against it."
