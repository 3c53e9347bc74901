"""Which patches speak for a class and which against it: as scores, and as a heat map where they were cut."""

# H W of an image

from typing import Any

import streamlit as st
import torch
from torch import Tensor

from explore import drawing, reading
from explore.looked import Looked

WEIGHTS, LEAVING_OUT, COVERING = "pool's weights", "leaving one out", "a gray square"  # as short as their boxes
NAMED, TRUE = -2, -1  # the predicted class, the true one; or a class by its number
WORDS = {NAMED: "predicted class", TRUE: "true class"}


def show_evidence(looked: Looked, predicted: int) -> Tensor:
    """Shows the heat map of patches or of a whole image; returns the scores of the elements, [N]."""
    network, elements, names = looked.run.network, looked.elements, looked.run.class_names
    own = _own(network)
    place = st.empty()
    columns = st.columns(2)
    ways = [COVERING] if elements is None else [own, LEAVING_OUT]
    way = columns[0].selectbox("Evidence by", ways, key=f"evidence by {ways[0]}")
    classes = [NAMED, TRUE, *range(len(names))]
    whose = columns[1].selectbox(
        "for", classes, format_func=lambda k: WORDS.get(k) or names[k], key=f"evidence for one of {len(names)}"
    )
    label = {NAMED: predicted, TRUE: looked.label}.get(whose, whose)
    image_size = looked.image.shape[-2:]
    scores_N = torch.empty(0)
    if elements is None:
        map_HW = reading.covered(network, looked.image, label)
    else:
        scores_N = (reading.left_out if way == LEAVING_OUT else reading.scored)(network, elements, label)
        if elements.corners is None:
            place.caption(_in_words(way))
            return scores_N
        map_HW = reading.over_pixels(scores_N, elements.corners, looked.run.patch_size, image_size)
    place.image(drawing.heat(looked.image, map_HW), caption=_in_words(way), width="stretch")
    return scores_N


def _own(network: Any) -> str:
    """What `scores` of the network are."""
    if hasattr(getattr(network, "pool", None), "weights"):
        return WEIGHTS
    return "patches' votes" if hasattr(network, "heat_map") else "gradient x input"


def _in_words(way: str) -> str:
    if way == WEIGHTS:
        return "Red: has weight, whatever the class."
    return "Red: speaks for the class. Blue: speaks against it."
