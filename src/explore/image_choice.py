"""Which test image is looked at: by number, by true or predicted class, or because it is named wrongly."""

# M images that were measured

import random

import streamlit as st
import torch
from torch import Tensor

from explore.measured import predicted, some, subsets
from explore.opened_run import OpenedRun

ANY = -1  # class
ALL, WRONG = "all images", "named wrongly"
ONLY_FIRST, ONLY_SECOND = "only the first is right", "only the second is right"


def look_for(show: str, position: int = 0) -> None:
    """From the next drawing of the page on, one of the images of this kind."""
    for name, value in (("true", ANY), ("named", ANY), ("show", show), ("position", position), ("view", "Image")):
        st.session_state[name] = value


def chosen_image(run: OpenedRun, other: OpenedRun | None) -> int | None:
    """Its number in the test set; None where none is as asked for."""
    classes = [ANY, *range(len(run.class_names))]
    kinds = [ALL, WRONG, *([ONLY_FIRST, ONLY_SECOND] if other else [])]
    for name, options in (("true", classes), ("named", classes), ("show", kinds)):
        if st.session_state.get(name) not in options:
            st.session_state[name] = options[0]

    def class_name(number: int) -> str:
        return "any" if number == ANY else run.class_names[number]

    columns = st.columns([1.2, 1.2, 1.6, 1.2, 1], vertical_alignment="bottom")
    true = columns[0].selectbox("True class", classes, format_func=class_name, key="true")
    named = columns[1].selectbox("Predicted class", classes, format_func=class_name, key="named")
    show = columns[2].selectbox("Show", kinds, key="show")
    matching_M = _matching(run, other, true, named, show)
    last = len(matching_M) - 1
    if last < 0:
        st.info("No test image is like that: choose other classes, or all images.")
        return None
    st.session_state["position"] = min(st.session_state.get("position", 0), last)
    columns[3].number_input(f"Image, 0 to {last}", 0, last, key="position")

    def any_image() -> None:
        st.session_state["position"] = random.randint(0, last)

    if (named != ANY or show != ALL) and st.session_state["subset"] < len(run.source):
        st.caption(f"Of the {st.session_state['subset']:,} test images that are measured: Test set chooses how many.")
    columns[4].button("Any", on_click=any_image, width="stretch", help="An image by chance")
    return int(matching_M[st.session_state["position"]])


def _matching(run: OpenedRun, other: OpenedRun | None, true: int, named: int, show: str) -> Tensor:
    index_M = torch.arange(len(run.source))
    if named != ANY or show != ALL:
        subsets(len(run.source))
        index_M = some(len(run.source), st.session_state["subset"])
    labels_M = run.source.labels.cpu()[index_M]
    keep_M = torch.ones(len(index_M), dtype=torch.bool) if true == ANY else labels_M == true
    if named != ANY or show != ALL:
        said_M = predicted(run, index_M)
        keep_M &= torch.ones_like(keep_M) if named == ANY else said_M == named
        right_M = said_M == labels_M
        if show in (WRONG, ONLY_SECOND):
            keep_M &= ~right_M
        if show == ONLY_FIRST:
            keep_M &= right_M
        if other is not None and show in (ONLY_FIRST, ONLY_SECOND):
            keep_M &= (predicted(other, index_M) == labels_M) == (show == ONLY_SECOND)
    return index_M[keep_M]
