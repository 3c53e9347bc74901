"""The views of the whole test set: the confusion matrix with its images, the accuracy by number of patches."""

# M images of the subset, K classes

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import altair
import pandas
import streamlit as st
import torch
from torch import Tensor

from explore import pictures
from explore.opened_run import OpenedRun, checkpoint_time
from explore.pictures import clickable_picture
from explore.prediction_panel import COLOURS
from explore.selection_panel import ALL, ONLY_FIRST, ONLY_SECOND, show_images
from explore.test_set_logits import cached_logits, evenly_spaced, predicted_classes, subset_sizes
from explore.words import as_typed, code
from figure.item_picture import drawn_item
from figure.picture import drawable_names, fitted, legend_of_numbers
from process.errors import UserError
from run.checkpoint import find_checkpoint
from run.folder import EVALUATION, shown
from table.collect import measured, read_evaluation
from table.rows import AT_SIZE

COLUMNS, MOST_IMAGES = 6, 36
PATCH_NUMS = (1, 2, 4, 8, 16, 32, 64, 128)
IMAGES = 1000  # on which the accuracy by number of patches is measured here


def confusion_view(run: OpenedRun, other: OpenedRun | None) -> None:
    """Show the accuracy, the confusion matrix, and the images of a cell that was clicked."""
    index_M = select_subset(len(run.source))
    labels_M = run.source.targets.cpu()[index_M]
    predicted_M = predicted_classes(run, index_M)
    correct_M = predicted_M == labels_M
    patches = f", {run.largest_patch_num} patches each" if run.largest_patch_num else ""
    other_M = None if other is None else predicted_classes(other, index_M) == labels_M
    second = "" if other_M is None else f"; **{other_M.float().mean():.4f}** by the second run"
    first = f"**{correct_M.float().mean():.4f}** of {len(index_M)} test images are classified correctly"
    st.markdown(f"{first}{patches}{second}.")
    if other_M is not None:
        _agreement(correct_M, other_M)
    left, right = st.columns([1, 1], gap="large")
    with left:
        cell = _matrix(labels_M, predicted_M, run.class_names)
    with right:
        _cell_images(run, index_M, labels_M, predicted_M, cell)


def select_subset(total: int) -> Tensor:
    """Return the positions of the images that are classified, as many as the user chose."""
    counts = subset_sizes(total)
    if len(counts) == 1:
        return torch.arange(total)
    count = st.segmented_control(
        "Test images that are classified", counts, key="subset", required=True, help="Evenly spaced in the test set"
    )
    return evenly_spaced(total, count or total)


def _agreement(correct_M: Tensor, other_M: Tensor) -> None:
    """Show how many images both runs, one of them or none classifies correctly."""
    columns = st.columns(4)
    counts = [correct_M & other_M, correct_M & ~other_M, ~correct_M & other_M, ~correct_M & ~other_M]
    words = ["both correct", ONLY_FIRST, ONLY_SECOND, "both incorrect"]
    for column, both_M, word in zip(columns, counts, words, strict=True):
        column.metric(word, int(both_M.sum()))

    columns[1].button("Show them", on_click=show_images, args=[ONLY_FIRST], key="only first")
    columns[2].button("Show them", on_click=show_images, args=[ONLY_SECOND], key="only second")


def _matrix(labels_M: Tensor, predicted_M: Tensor, class_names: list[str]) -> tuple[int, int] | None:
    """Show the confusion matrix; return the cell (true, predicted) that was clicked."""
    classes = len(class_names)
    counts_KK = (labels_M * classes + predicted_M).bincount(minlength=classes**2).view(classes, classes)
    total_K = counts_KK.sum(1, keepdim=True).clamp(min=1)
    rows = pandas.DataFrame(
        {
            "true": [name for name in class_names for _ in class_names],
            "predicted": class_names * classes,
            "images": counts_KK.flatten().tolist(),
            # the square root makes a single error visible beside 990 correct images
            "part": (counts_KK / total_K).sqrt().flatten().tolist(),
            "cell": range(classes**2),
        }
    )
    angle = 0 if max(map(len, class_names)) <= 3 and classes <= 20 else -45
    overlap: Any = False if classes <= 40 else "greedy"  # greedy leaves names out of the axis; the tooltip has them
    top = altair.Axis(orient="top", labelAngle=angle, labelLimit=90, labelOverlap=overlap)
    side = altair.Axis(labelLimit=90, labelOverlap=overlap)
    picked = altair.selection_point(name="cell", fields=["cell"], on="click", empty=False)
    base = altair.Chart(rows).encode(
        x=altair.X("predicted:N", sort=class_names, axis=top),
        y=altair.Y("true:N", sort=class_names, axis=side),
        tooltip=["true", "predicted", "images"],
    )
    squares = base.mark_rect(cursor="pointer").encode(
        color=altair.Color("part:Q", scale=altair.Scale(range=["#f4f6fa", COLOURS[0]], interpolate="rgb"), legend=None),
        stroke=altair.condition(picked, altair.value("#2b3445"), altair.value("white")),
        strokeWidth=altair.condition(picked, altair.value(2.5), altair.value(1)),
    )
    layers = [squares.add_params(picked)]
    if classes <= 20:
        numbers = base.transform_filter("datum.images > 0").mark_text(fontSize=12, color="#2b3445", tooltip=None)
        layers.append(numbers.encode(text="images:Q"))
    chart = altair.layer(*layers).properties(height=min(640, 120 + 36 * classes))
    selected = st.altair_chart(chart, on_select="rerun", selection_mode="cell", key="matrix")["selection"]["cell"]
    return divmod(int(selected[0]["cell"]), classes) if selected else None


def _cell_images(
    run: OpenedRun, index_M: Tensor, labels_M: Tensor, predicted_M: Tensor, cell: tuple[int, int] | None
) -> None:
    """Show the images of the cell, or all misclassified ones."""
    if cell is None:
        found_F = index_M[labels_M != predicted_M]
        st.markdown(f"**{len(found_F)} images are misclassified.** A click on a cell of the matrix shows its images.")
    else:
        found_F = index_M[(labels_M == cell[0]) & (predicted_M == cell[1])]
        true, predicted = (as_typed(run.class_names[number]) for number in cell)
        st.markdown(f"**{len(found_F)} images of {true}, classified as {predicted}.**")
    if not len(found_F):
        return
    shown = found_F[:MOST_IMAGES].tolist()
    predicted_of = dict(zip(index_M.tolist(), predicted_M.tolist(), strict=True))
    images = [run.source.inputs(torch.tensor([index])) for index in shown]
    items = (image.values if run.has_bags else image[0] for image in images)
    thumbnails = [fitted(drawn_item(item, pictures.CELL), pictures.CELL) for item in items]
    names = drawable_names(tuple(run.class_names))
    captions = [(names[int(run.source.targets[i])], f"as {names[predicted_of[i]]}") for i in shown]

    def clicked(x: float, y: float) -> None:
        place = pictures.cell_at(x, y, len(shown), COLUMNS)
        if place is not None:
            show_images(ALL, shown[place])

    sheet = pictures.contact_sheet(thumbnails, captions, COLUMNS)
    grid = (COLUMNS, pictures.row_count(len(thumbnails), COLUMNS))
    clickable_picture(sheet, "cell_images", "images of the cell", grid, clicked)
    more = f"The first {MOST_IMAGES}. " if len(found_F) > MOST_IMAGES else ""
    key = as_typed(legend_of_numbers(run.class_names, names))
    st.caption(f"{more}A click opens an image." + (f" Without a font for their names: {key}." if key else ""))


def numbers_view(runs: Iterable[OpenedRun], names: list[str]) -> None:
    """Show the accuracy of each run by the number of patches, as a chart and as a table."""
    rows: list[dict[str, Any]] = []
    for run, name in zip(runs, names, strict=False):
        if not run.has_free_patch_num:
            why = "The data of {} are sets already" if run.has_bags else "{} has no free number of patches"
            st.info(as_typed(f"{why.format(name)}: there is nothing to vary."))
            continue
        sizes = recorded_accuracy(run) or _measured_accuracy(run)
        rows += [{"run": name, "patches": size, "accuracy": value} for size, value in sizes.items()]
    if not rows:
        return
    frame = pandas.DataFrame(rows)
    low = max(0.0, float(frame["accuracy"].min()) - 0.05)
    chart = (
        altair.Chart(frame)
        .mark_line(point=altair.OverlayMarkDef(size=60), strokeWidth=2.5)
        .encode(
            x=altair.X("patches:Q", scale=altair.Scale(type="log", base=2), axis=altair.Axis(values=list(PATCH_NUMS))),
            y=altair.Y("accuracy:Q", scale=altair.Scale(domain=[low, 1.0]), axis=altair.Axis(format=".2f")),
            color=altair.Color("run:N", sort=names, scale=altair.Scale(range=COLOURS), title=None),
            tooltip=["run", "patches", altair.Tooltip("accuracy:Q", format=".4f")],
        )
        .properties(height=420)
        .configure_legend(orient="top", labelLimit=600)
    )
    st.altair_chart(chart)
    table = frame.pivot_table(index="run", columns="patches", values="accuracy", sort=False)
    st.dataframe(table.style.format("{:.4f}"), width="stretch")


def recorded_accuracy(run: OpenedRun) -> dict[int, float]:
    """Return the accuracy by number of patches that evaluate.py measured with these weights on these test images."""
    try:
        found = read_evaluation(str(run.folder)) or {}
        same_weights = Path(found["checkpoint"]).parts[-3:] == find_checkpoint(run.folder, "best").parts[-3:]
        outdated = (run.folder / EVALUATION).stat().st_mtime < checkpoint_time(run.folder)
        if not same_weights or outdated or found["images"] != len(run.source):
            return {}
        sizes = [(AT_SIZE.fullmatch(name), value) for name, value in measured({"sizes": found["sizes"]}).items()]
        return {int(name["n"]): value for name, value in sizes if name and 0 <= value <= 1}
    except (OSError, KeyError, UserError):
        return {}


def _measured_accuracy(run: OpenedRun) -> dict[int, float]:
    """Return the accuracy on a subset of the test images by the number of patches."""
    index_M = evenly_spaced(len(run.source), IMAGES)
    labels_M = run.source.targets.cpu()[index_M]
    numbers = [size for size in PATCH_NUMS if size <= run.offered_patch_num]
    words = f"Measured here on {len(index_M)} test images"
    if len(index_M) < len(run.source):
        sizes = f"{numbers}".replace(" ", "")
        words += "; on all of them: " + code(f"python src/evaluate.py run={shown(run.folder)} 'sizes={sizes}'")
    st.caption(words)
    return {
        size: float((cached_logits(run, index_M, size, f"{size} patches").argmax(1) == labels_M).float().mean())
        for size in numbers
    }
