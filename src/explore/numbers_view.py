"""How well a run names images by the number of patches that it is given."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import altair
import pandas
import streamlit as st

from explore.bars import COLOURS
from explore.literal import literal
from explore.measured import remembered, some
from explore.opened_run import OpenedRun, version
from process.errors import UserError
from run.checkpoint import find_checkpoint

SIZES = (1, 2, 4, 8, 16, 32, 64, 128)
IMAGES = 1000


def numbers_view(runs: Iterable[OpenedRun], names: list[str]) -> None:
    rows: list[dict[str, Any]] = []
    for run, name in zip(runs, names, strict=False):
        if not run.chooses:
            why = "The data of {} are sets already" if run.bags else "{} does not choose how many patches it sees"
            st.info(literal(f"{why.format(name)}: there is nothing to vary."))
            continue
        sizes = recorded(run) or _measured(run)
        rows += [{"run": name, "patches": size, "accuracy": value} for size, value in sizes.items()]
    if not rows:
        return
    frame = pandas.DataFrame(rows)
    low = max(0.0, float(frame["accuracy"].min()) - 0.05)
    chart = (
        altair.Chart(frame)
        .mark_line(point=altair.OverlayMarkDef(size=60), strokeWidth=2.5)
        .encode(
            x=altair.X("patches:Q", scale=altair.Scale(type="log", base=2), axis=altair.Axis(values=list(SIZES))),
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


def recorded(run: OpenedRun) -> dict[int, float]:
    """What evaluate.py measured of these weights on these test images, by the number of patches; empty if nothing."""
    path = run.folder / "evaluation.json"
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        of, now = (Path(each).parts[-3:] for each in (found["checkpoint"], find_checkpoint(run.folder, "best")))
        if of != now or found["images"] != len(run.source) or path.stat().st_mtime < version(run.folder):
            return {}
        return {int(name.rpartition("=")[2]): float(value) for name, value in found["sizes"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, UserError):
        return {}


def _measured(run: OpenedRun) -> dict[int, float]:
    index_M = some(len(run.source), IMAGES)
    labels_M = run.source.labels.cpu()[index_M]
    most = run.network.max_patch_num or max(SIZES)
    words = f"Measured here on {len(index_M)} test images"
    if len(index_M) < len(run.source):
        sizes = f"{list(SIZES)}".replace(" ", "")
        words += f"; on all of them: `python src/evaluate.py run={run.folder} 'sizes={sizes}'`"
    st.caption(words)
    return {
        size: float((remembered(run, index_M, size, f"{size} patches").argmax(1) == labels_M).float().mean())
        for size in SIZES
        if size <= most
    }
