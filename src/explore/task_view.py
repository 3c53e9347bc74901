"""The view of a run of another task than classification: its curves, results and settings, and single predictions."""

import csv
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import altair
import pandas
import streamlit as st
import torch
from torch import Tensor

from explore.image_view import show_item
from explore.opened_run import OpenedRun
from explore.prediction_panel import COLOURS, bars
from explore.runs import main_result
from explore.words import LONGEST, as_typed
from figure.answers import one_target
from process.console import format_number
from process.text import one_line
from run.record import describe_error
from set_module.set_network import split_outputs
from table.collect import RunRecord

MOST_NUMBERS = 100  # of a prediction
log = logging.getLogger(__name__)


def task_view(run: OpenedRun, record: RunRecord, other: OpenedRun | None, names: list[str]) -> None:
    """Show what can be shown of any task."""
    task = "classification" if run.task is None else run.task.name
    if other is not None and (run.task is None) != (other.task is None):
        task = "different tasks"
    st.caption(f"task={task}: the test set by classes, the evidence and the number of patches are for classification.")
    views = ["Items", "Curves", "Results and settings"]
    if st.session_state.get("view") not in views:
        st.session_state["view"] = views[0]
    view = st.segmented_control("View", views, key="view", required=True, label_visibility="collapsed")
    if view == "Items":
        items_view(run, other, names)
    elif view == "Curves":
        curves_view(run.folder, main_result(record)[1])
    else:
        left, right = st.columns(2, gap="large")
        left.dataframe(table_of(record.metrics, "metric"), hide_index=True, width="stretch")
        right.dataframe(table_of(record.known, "setting"), hide_index=True, width="stretch")


def items_view(run: OpenedRun, other: OpenedRun | None, names: list[str]) -> None:
    """Show a test item, its target and what the runs predict."""
    last = len(run.source) - 1
    st.session_state["item"] = min(st.session_state.get("item", 0), last)
    st.number_input(f"Item, 0 to {last}", 0, last, key="item")
    index_1 = torch.tensor([st.session_state["item"]])
    try:
        inputs = run.source.inputs(index_1)
        target = one_target(run.source.targets, int(index_1))
        left, right = st.columns(2, gap="medium")
        with left:
            show_item(inputs.values if run.has_bags else inputs[0])
        with right:
            for each, name in zip((run, other), names, strict=False):
                if each is not None:
                    if other is not None:
                        st.markdown(f"**{as_typed(name)}**")
                    show_answer(each, inputs, index_1, target)
    except Exception as error:  # a user's own task may raise anything, and the page must stay usable
        log.exception(f"{run.folder}: the item cannot be shown")
        st.error(as_typed(f"{describe_error(error)} (the traceback is in the terminal of this page)"))


@torch.no_grad()
def show_answer(run: OpenedRun, inputs: Any, index_1: Tensor, target: Any) -> None:
    """Show the prediction of a run beside the target, for each of its tasks."""
    outputs_1K = split_outputs(run.network(inputs, index_1))[0]
    if not hasattr(run.task, "parts"):
        _show_one(run.task, run.class_names, outputs_1K, target)
        return
    for name, part_1K in run.task.parts(outputs_1K).items():
        st.markdown(f"**{as_typed(name)}**")
        _show_one(run.task.tasks[name], [], part_1K, target[name])


def _show_one(task: Any, class_names: list[str], outputs_1K: Tensor, target: Tensor) -> None:
    predicted = outputs_1K.float()[0] if task is None else task.predict(outputs_1K)[0]
    if task is not None and task.label_logits:
        names = class_names if len(class_names) == len(predicted) else [str(k) for k in range(len(predicted))]
        true = [names[k] for k in (target > 0.5).nonzero()[:, 0].tolist()]
        st.markdown(f"True: {as_typed(', '.join(true) or 'none')}")
        st.html(bars(names, [predicted.tolist()]))
        return
    numbers = {"predicted": predicted.flatten()[:MOST_NUMBERS].tolist()}
    if target.numel() == predicted.numel():
        numbers = {"true": target.flatten()[:MOST_NUMBERS].tolist(), **numbers}
    elif target.numel() == 1:
        st.markdown(f"True: {format_number(float(target))}")
    frame = pandas.DataFrame({name: [format_number(value) for value in column] for name, column in numbers.items()})
    st.dataframe(frame, width="stretch", hide_index=len(frame) == 1)


def curves_view(folder: Path, monitored: str) -> None:
    """Show the curves of a metric in training and validation by epoch, as metrics.csv records them."""
    curves = read_curves(folder / "metrics.csv")
    if not curves:
        st.info("metrics.csv holds no curve: the training has not finished an epoch, or the file is missing.")
        return
    metrics = sorted({name.partition("_")[2] for name in curves}, key=lambda name: (name != monitored, name))
    metric = st.selectbox("Metric", metrics, key=f"curve of {len(metrics)}")
    rows = [
        {"curve": stage, "epoch": epoch, metric: value}
        for stage in ("train", "valid")
        for epoch, value in curves.get(f"{stage}_{metric}", {}).items()
    ]
    chart = (
        altair.Chart(pandas.DataFrame(rows).rename(columns={metric: "value"}))
        .mark_line(point=True)
        .encode(
            x=altair.X("epoch:Q", axis=altair.Axis(tickMinStep=1, format="d")),
            y=altair.Y("value:Q", scale=altair.Scale(zero=False), title=metric),
            color=altair.Color("curve:N", scale=altair.Scale(range=COLOURS), title=None),
            tooltip=["curve", "epoch", altair.Tooltip("value:Q", format=".5g")],
        )
        .properties(height=420)
    )
    st.altair_chart(chart)


def read_curves(path: Path) -> dict[str, dict[int, float]]:
    """Return train_* and valid_* of metrics.csv by epoch, counted from 1; nothing of a file that cannot be read."""
    curves: dict[str, dict[int, float]] = {}
    try:
        with path.open(newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                for name, text in row.items():
                    if text and name.startswith(("train_", "valid_")) and not name.endswith("_step"):
                        curves.setdefault(name, {})[int(row["epoch"]) + 1] = float(text)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, csv.Error):
        return {}
    return curves


def table_of(values: Mapping[str, Any], what: str) -> pandas.DataFrame:
    """Return a table of names and values as text."""
    texts = [format_number(v) if isinstance(v, float) else one_line(v, LONGEST) for v in values.values()]
    return pandas.DataFrame({what: [one_line(name, LONGEST) for name in values], "value": texts})
