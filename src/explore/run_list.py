"""The runs from which one chooses: newest first, named by what they are, and those that cannot be opened."""

import re
from collections import Counter
from pathlib import Path

from table.collect import RunRecord, read_runs

OF_NO_EFFECT = {"comment", "tags", "loggers", "callbacks", "experiment_name", "experiment", "verbosity"}


def choosable(folders: list[str]) -> tuple[list[RunRecord], list[RunRecord]]:
    """Runs with a checkpoint, the newest first, and the others."""
    runs = read_runs(folder for folder in folders if Path(folder).exists())[::-1]
    good = [run for run in runs if not reason(run)]
    return good, [run for run in runs if reason(run)]


def reason(run: RunRecord) -> str:
    """Why it cannot be opened; nothing where it can."""
    if run.facts["status"] == "damaged":
        return f"damaged: {run.facts['error']}"
    checkpoints = Path(run.facts["folder"]) / "checkpoints"
    if not any((checkpoints / name).is_file() for name in ("best.ckpt", "last.ckpt")):
        return f"{run.facts['status']}, without a checkpoint"
    return ""


def label(run: RunRecord) -> str:
    """`patch_set · MNIST · 0.9890 · 2026-11-20 09-00-00`."""
    comment = str(run.facts.get("comment") or "")
    place = re.sub(r"( \d\d-\d\d-\d\d)_\S*", r"\1", short(run)) if comment else short(run)  # the comment said twice
    metrics = [run.metrics[name] for name in ("test_accuracy", "valid_accuracy") if name in run.metrics]
    words = [
        str(run.known.get("model", "?")),
        str(run.known.get("data", "?")),
        f"{metrics[0]:.4f}" if metrics else "",
        "" if run.facts["status"] == "finished" else run.facts["status"],
        comment,
        place,
    ]
    return " · ".join(word for word in words if word)


def labels(runs: list[RunRecord]) -> dict[str, str]:
    """Folder -> label, and the folder after it where two would be the same, which a list takes for one."""
    words = [label(run) for run in runs]
    number = Counter(words)
    folders = [run.facts["folder"] for run in runs]
    return {f: text if number[text] == 1 else f"{text} · {f}" for f, text in zip(folders, words, strict=True)}


def short(run: RunRecord) -> str:
    """The end of its folder: date, time, the number of a job."""
    parts = Path(run.facts["folder"]).parts
    return " ".join(parts[-3:] if parts[-1].isdecimal() else parts[-2:])


def differing(run: RunRecord, other: RunRecord) -> str:
    """`model: patch_set / cnn, ...`, the settings in which two runs differ."""
    names = sorted((run.known.keys() | other.known.keys()) - OF_NO_EFFECT, key=lambda name: ("." in name, name))
    pairs = [(name, run.known.get(name), other.known.get(name)) for name in names]
    return ", ".join(f"{name.removeprefix('hparams.')}: {one} / {two}" for name, one, two in pairs if one != two)
