"""The whole test set: the confusion matrix, and behind each of its cells the images."""

# M images that are looked at, K classes

from typing import Any

import altair
import pandas
import streamlit as st
import torch
from torch import Tensor

from explore import drawing
from explore.bars import COLOURS
from explore.clickable import clickable
from explore.image_choice import ALL, ONLY_FIRST, ONLY_SECOND, look_for
from explore.literal import literal
from explore.measured import most_patches, predicted, some, subsets
from explore.opened_run import OpenedRun
from figure.picture import drawn, fitted, mosaic

COLUMNS, MOST = 6, 36


def confusion_view(run: OpenedRun, other: OpenedRun | None) -> None:
    index_M = chosen_subset(len(run.source))
    labels_M = run.source.labels.cpu()[index_M]
    said_M = predicted(run, index_M)
    right_M = said_M == labels_M
    number = most_patches(run)
    patches = f", {number} patches each" if number else ""
    also_M = None if other is None else predicted(other, index_M) == labels_M
    second = "" if also_M is None else f"; **{also_M.float().mean():.4f}** by the second run"
    st.markdown(f"**{right_M.float().mean():.4f}** of {len(index_M)} test images are named rightly{patches}{second}.")
    if also_M is not None:
        _agreement(right_M, also_M)
    left, right = st.columns([1, 1], gap="large")
    with left:
        cell = _matrix(labels_M, said_M, run.class_names)
    with right:
        _cell_images(run, index_M, labels_M, said_M, cell)


def chosen_subset(total: int) -> Tensor:
    """Positions of the images that are measured, as many as was chosen."""
    counts = subsets(total)
    if len(counts) == 1:
        return torch.arange(total)
    count = st.segmented_control(
        "Test images that are measured", counts, key="subset", required=True, help="Evenly spaced all over the test set"
    )
    return some(total, count or total)


def _agreement(right_M: Tensor, also_M: Tensor) -> None:
    columns = st.columns(4)
    counts = [right_M & also_M, right_M & ~also_M, ~right_M & also_M, ~right_M & ~also_M]
    words = ["both right", ONLY_FIRST, ONLY_SECOND, "both wrong"]
    for column, both_M, word in zip(columns, counts, words, strict=True):
        column.metric(word, int(both_M.sum()))

    columns[1].button("Look at them", on_click=look_for, args=[ONLY_FIRST], key="only first")
    columns[2].button("Look at them", on_click=look_for, args=[ONLY_SECOND], key="only second")


def _matrix(labels_M: Tensor, said_M: Tensor, class_names: list[str]) -> tuple[int, int] | None:
    """The confusion matrix; returns the cell (true, predicted) that was clicked."""
    classes = len(class_names)
    counts_KK = (labels_M * classes + said_M).bincount(minlength=classes**2).view(classes, classes)
    total_K = counts_KK.sum(1, keepdim=True).clamp(min=1)
    rows = pandas.DataFrame(
        {
            "true": [name for name in class_names for _ in class_names],
            "predicted": class_names * classes,
            "images": counts_KK.flatten().tolist(),
            "part": (counts_KK / total_K).sqrt().flatten().tolist(),  # the root: single mistakes are seen beside 990
            "cell": range(classes**2),
        }
    )
    angle = 0 if max(map(len, class_names)) <= 3 and classes <= 20 else -45
    overlap: Any = False if classes <= 40 else "greedy"  # then not every class has its name there; a tooltip has it
    picked = altair.selection_point(name="cell", fields=["cell"], on="click", empty=False)
    base = altair.Chart(rows).encode(
        x=altair.X(
            "predicted:N",
            sort=class_names,
            axis=altair.Axis(orient="top", labelAngle=angle, labelLimit=90, labelOverlap=overlap),
        ),
        y=altair.Y("true:N", sort=class_names, axis=altair.Axis(labelLimit=90, labelOverlap=overlap)),
        tooltip=["true", "predicted", "images"],
    )
    squares = base.mark_rect(cursor="pointer").encode(
        color=altair.Color("part:Q", scale=altair.Scale(range=["#f4f6fa", COLOURS[0]], interpolate="rgb"), legend=None),
        stroke=altair.condition(picked, altair.value("#2b3445"), altair.value("white")),
        strokeWidth=altair.condition(picked, altair.value(2.5), altair.value(1)),
    )
    layers = [squares.add_params(picked)]
    if classes <= 20:
        layers.append(
            base.transform_filter("datum.images > 0")
            .mark_text(fontSize=12, color="#2b3445", tooltip=None)
            .encode(text="images:Q")
        )
    chart = altair.layer(*layers).properties(height=min(640, 120 + 36 * classes))
    selected = st.altair_chart(chart, on_select="rerun", selection_mode="cell", key="matrix")["selection"]["cell"]
    return divmod(int(selected[0]["cell"]), classes) if selected else None


def _cell_images(
    run: OpenedRun, index_M: Tensor, labels_M: Tensor, said_M: Tensor, cell: tuple[int, int] | None
) -> None:
    if cell is None:
        found_F = index_M[labels_M != said_M]
        st.markdown(f"**{len(found_F)} images are named wrongly.** A cell of the matrix shows its own.")
    else:
        found_F = index_M[(labels_M == cell[0]) & (said_M == cell[1])]
        true, named = (literal(run.class_names[number]) for number in cell)
        st.markdown(f"**{len(found_F)} images of {true}, named {named}.**")
    if not len(found_F):
        return
    shown = found_F[:MOST].tolist()
    named_of = dict(zip(index_M.tolist(), said_M.tolist(), strict=True))
    images = [run.source.images(torch.tensor([index])) for index in shown]
    pictures = [
        fitted(mosaic(list(image.values), drawing.CELL), drawing.CELL) if run.bags else drawn(image[0], drawing.CELL)
        for image in images
    ]
    captions = [(run.class_names[int(run.source.labels[i])], f"as {run.class_names[named_of[i]]}") for i in shown]

    def clicked(x: float, y: float) -> None:
        place = drawing.cell(x, y, len(shown), COLUMNS)
        if place is not None:
            look_for(ALL, shown[place])

    sheet = drawing.contact_sheet(pictures, captions, COLUMNS)
    clickable(sheet, "cell_images", "images of the cell", (COLUMNS, drawing.rows(len(pictures), COLUMNS)), clicked)
    more = f"The first {MOST}. " if len(found_F) > MOST else ""
    st.caption(f"{more}A click opens an image.")
