"""One test image and the set of its patches: click them in and out, shuffle them, see what they say."""

# N elements, C H W of an image, K classes

from math import ceil

import streamlit as st
import torch
from torch import Tensor

from explore import drawing, reading
from explore.answer import logits_of, logits_of_other, show_answer
from explore.clickable import clickable
from explore.evidence import show_evidence
from explore.image_choice import chosen_image
from explore.looked import IN, Looked, buttons, look
from explore.opened_run import OpenedRun
from figure.picture import drawn


@st.fragment
def image_view(run: OpenedRun, other: OpenedRun | None, names: list[str]) -> None:
    """What is clicked in it draws it alone anew, not the whole page."""
    index = chosen_image(run, other)
    if index is None:
        return
    looked = look(run, index)
    with torch.no_grad():
        logits_K = logits_of(looked)
        also_K = None if other is None else logits_of_other(other, looked)
    predicted = int(logits_K.argmax())
    if run.bags:
        buttons(st.columns([1, 1, 3])[:2], draws=False)
        left, right = st.columns([2, 1], gap="medium")
        with right:
            show_answer(looked, logits_K, also_K, names)
            scores = show_evidence(looked, predicted)
        with left:
            _gallery(looked, scores, columns=6, tile=104)
        return
    left, middle, right = st.container(key="looked").columns(3, gap="medium")
    with left:
        _image(looked)
    with right:  # before the evidence, which may take longer
        show_answer(looked, logits_K, also_K, names)
    with middle:
        scores = show_evidence(looked, predicted)
    if looked.elements is not None:
        _gallery(looked, scores, columns=16, tile=52)


def _image(looked: Looked) -> None:
    if looked.elements is None:
        st.image(drawn(looked.image, drawing.SIDE), width="stretch")
        st.caption("This network sees the whole image: there are no patches to choose.")
        return
    chosen, size = looked.chosen, looked.run.patch_size
    height, width = looked.image.shape[1:]

    def clicked(x: float, y: float) -> None:
        under = chosen.under(y * height, x * width, size)
        if under is None:
            under = chosen.under(y * height, x * width, size, out=True)
        if under is None or st.session_state["click_does"] == IN:
            chosen.put_in(y * height, x * width, size, (height, width))
        elif not chosen.toggle(under):
            st.toast("A set has at least one patch: put another in first.")

    picture = drawing.outlined(looked.image, chosen, size)
    grid = (ceil(2 * width / size), ceil(2 * height / size))  # half patches
    clickable(picture, "image", f"test image {looked.index} with its patches", grid, clicked)
    st.caption("Pale: no patch sees it. A click on a patch takes it out, or in again; beside them it puts one in.")


def _gallery(looked: Looked, scores_N: Tensor, columns: int, tile: int) -> None:
    chosen, numbers = looked.chosen, looked.chosen.numbers()
    if looked.run.bags:
        patches = [looked.image[number] for number in numbers]
    else:
        corners = [chosen.corner(number) for number in numbers]
        patches = list(reading.cut(looked.run.network, looked.image, corners).patches)
    score_of = dict(zip(chosen.inside(), scores_N.tolist(), strict=True))

    def clicked(x: float, y: float) -> None:
        place = drawing.cell(x, y, len(numbers), columns)
        if place is not None and not chosen.toggle(numbers[place]):
            st.toast("A set has at least one element: put another in first.")

    picture = drawing.gallery(patches, [score_of.get(number) for number in numbers], columns, tile)
    clickable(
        picture,
        "gallery",
        "the elements of the set, in their order",
        (columns, drawing.rows(len(numbers), columns)),
        clicked,
    )
    st.caption("The set, in the order in which the network gets it; the frames are the evidence. A click: out, or in.")
