"""The runs that the page lists, how it calls them, and the settings in which two differ: run.json is read, no more."""

import os
import re
from collections import Counter
from pathlib import Path

import streamlit as st

from explore.words import LONGEST
from process.console import format_number
from process.text import one_line
from table.collect import RunRecord, known_as, read_runs
from table.rows import short_folder

# settings that are left out when two runs are compared
OF_NO_EFFECT = {"comment", "tags", "loggers", "callbacks", "experiment_name", "experiment", "verbosity"}


@st.cache_resource(ttl=5, show_spinner=False)
def found_runs(folders: tuple[str, ...]) -> tuple[dict[str, RunRecord], dict[str, str], list[RunRecord]]:
    """Return folder -> run and folder -> label of the runs that can be opened, and the other runs."""
    good, bad = list_runs(list(folders))
    return {run.facts["folder"]: run for run in good}, labels(good), bad


def list_runs(folders: list[str]) -> tuple[list[RunRecord], list[RunRecord]]:
    """Return the runs that can be opened, newest first, and the others."""
    runs = read_runs(folder for folder in folders if Path(folder).exists())[::-1]
    good: list[RunRecord] = []
    bad: list[RunRecord] = []
    for run in runs:
        (bad if obstacle(run) else good).append(run)
    return good, bad


def obstacle(run: RunRecord) -> str:
    """Return why the run cannot be opened, or an empty text."""
    if run.facts["status"] == "damaged":
        return f"damaged: {run.facts['error']}"
    checkpoints = os.path.join(run.facts["folder"], "checkpoints")  # noqa: PTH118 - pathlib takes twice as long
    if not any(os.path.isfile(f"{checkpoints}/{name}") for name in ("best.ckpt", "last.ckpt")):  # noqa: PTH113
        return f"{run.facts['status']}, without a checkpoint"
    return ""


def label(run: RunRecord) -> str:
    """Return `patch_set · MNIST · 0.9890 · 2026-11-20 09-00-00`, or `... · mae 0.0123 · ...` of another task."""
    comment, place = run.facts.get("comment") or "", short_name(run)
    if comment:  # a folder's name ends with the comment: show it once
        place = re.sub(r"( \d\d-\d\d-\d\d)_\S*", r"\1", place)
    _, metric, value = main_result(run)
    measured = "" if value is None else f"{value:.4f}" if metric == "accuracy" else f"{metric} {format_number(value)}"
    status = "" if run.facts["status"] == "finished" else run.facts["status"]
    model, data = (run.value(group) or "?" for group in ("model", "data"))
    return " · ".join(one_line(word, LONGEST) for word in (model, data, measured, status, comment, place) if word)


def main_result(run: RunRecord) -> tuple[str, str, float | None]:
    """Return the stage (test, else valid), the name and the value of the metric that the run monitored.

    Of runs that record none, or have not measured it, that is the accuracy.
    """
    monitor = run.known.get("hparams.monitor")
    watched = re.sub(r"^(train|valid|test)_", "", monitor) if isinstance(monitor, str) else "accuracy"
    for metric in (watched, "accuracy"):
        for stage in ("test", "valid"):
            if (name := known_as(f"{stage}_{metric}", run.metrics)) in run.metrics:
                return stage, metric, run.metrics[name]
    return "", "", None


def labels(runs: list[RunRecord]) -> dict[str, str]:
    """Return folder -> label. Labels that would be equal end with the folder: a select box merges equal options."""
    words = [label(run) for run in runs]
    count, folders = Counter(words), [run.facts["folder"] for run in runs]
    return {
        f: text if count[text] == 1 else f"{text} · {one_line(f, 300)}" for f, text in zip(folders, words, strict=True)
    }


def short_name(run: RunRecord) -> str:
    """Return the end of the run's folder: date, time, the number of a sweep's job."""
    return short_folder(run.facts["folder"])


def differing_settings(run: RunRecord, other: RunRecord) -> str:
    """Return `model: patch_set / cnn, ...`, the settings in which two runs differ."""
    names = sorted((run.known.keys() | other.known.keys()) - OF_NO_EFFECT, key=lambda name: ("." in name, name))
    pairs = [(name, run.known.get(name), other.known.get(name)) for name in names]
    return ", ".join(
        f"{name.removeprefix('hparams.')}: {one_line(one, LONGEST)} / {one_line(two, LONGEST)}"
        for name, one, two in pairs
        if one != two
    )
