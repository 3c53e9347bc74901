"""Run folders are found wherever they are; damaged ones are reported as damaged."""

import fcntl
import json
import os
import socket
import subprocess
from pathlib import Path

import pytest
from run_records import make_run

from run.fields import RUN
from table.collect import RunRecord, main_metric, measured, read_runs, with_errors
from table.rows import make_table
from table.terminal import show


def found(folder):
    return {os.path.relpath(run.facts["folder"], folder): run.facts["status"] for run in read_runs([str(folder)])}


def test_single_runs_jobs_of_sweeps_and_a_folder_of_ones_own(tmp_path):
    make_run(tmp_path / "outputs/Default/2026-11-20/09-00-00_a-comment")
    make_run(tmp_path / "outputs/Default/2026-11-20/09-00-00_1")
    make_run(tmp_path / "multirun/Default/2026-11-20/09-00-00/0")
    make_run(tmp_path / "multirun/Default/2026-11-20/09-00-00/1")
    make_run(tmp_path / "elsewhere/mine")
    assert found(tmp_path) == dict.fromkeys(
        [
            "outputs/Default/2026-11-20/09-00-00_a-comment",
            "outputs/Default/2026-11-20/09-00-00_1",
            "multirun/Default/2026-11-20/09-00-00/0",
            "multirun/Default/2026-11-20/09-00-00/1",
            "elsewhere/mine",
        ],
        "finished",
    )
    assert found(tmp_path / "elsewhere/mine") == {".": "finished"}


def test_folders_that_overlap_hold_each_run_once(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make_run(tmp_path / "outputs/a")
    make_run(tmp_path / "outputs/b")
    (tmp_path / "link").symlink_to("outputs")
    folders = ["outputs/b/", ".", "outputs", f"{tmp_path}/outputs/b", "link"]
    assert sorted(Path(run.facts["folder"]).name for run in read_runs(folders)) == ["a", "b"]
    for folders in (["outputs/b", "."], [".", "outputs/b"]):  # a run has the name by which it is named itself
        assert [run.facts["folder"] for run in read_runs(folders)] == ["./outputs/a", "outputs/b"]


def test_folders_inside_a_run_are_not_searched(tmp_path):
    folder = make_run(tmp_path / "2026-11-20/09-00-00")
    make_run(folder / "source/outputs/Default/2026-11-19/10-00-00")
    assert list(found(tmp_path)) == ["2026-11-20/09-00-00"]


def test_a_link_shows_no_run_twice_and_leads_in_no_circle(tmp_path):
    make_run(tmp_path / "2026-11-20/09-00-00")
    (tmp_path / "again").symlink_to(tmp_path)
    assert len(found(tmp_path)) == 1


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (None, "no run.json"),
        (b"", "run.json is no JSON"),
        (b'{"status": "fini', "run.json is no JSON"),
        (b"\xff\xfe\x00", "run.json is no UTF-8 text"),
        (b"[" * 100_000, "run.json is no JSON"),
        (b"[1, 2]", "run.json is not that of a run"),
        (b"null", "run.json is not that of a run"),
        (b'{"name": "package", "version": "1.0"}', "run.json is not that of a run"),
        (b'{"status": "done"}', "run.json is damaged: status must be one of running, finished, failed, interrupted"),
        (b'{"status": "failed", "settings": []}', f"run.json is damaged: settings must be {RUN['settings'].words}"),
    ],
)
@pytest.mark.parametrize("place", ["outputs/Default/2026-11-20/09-00-00", "multirun/Default/2026-11-20/09-00-00/0"])
def test_damaged(tmp_path, place, content, why):
    folder = tmp_path / place
    folder.mkdir(parents=True)
    if content is not None:
        (folder / "run.json").write_bytes(content)
    make_run(folder.with_name("10-00-00" if "outputs" in place else "1"))
    damaged, whole = read_runs([str(tmp_path)])
    assert damaged.facts == {"folder": str(folder), "status": "damaged", "error": why}
    assert whole.facts["status"] == "finished"


def test_unreadable(tmp_path):
    (tmp_path / "2026-11-20/09-00-00/run.json").mkdir(parents=True)  # root may read every file, but no folder as a file
    (run,) = read_runs([str(tmp_path)])
    assert run.facts["status"] == "damaged"
    assert "directory" in run.facts["error"].lower()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_folder_that_may_not_be_entered(tmp_path):
    (tmp_path / "2026-11-20").mkdir(mode=0)
    (run,) = read_runs([str(tmp_path)])
    assert run.facts["status"] == "damaged"


def test_a_sweep_that_has_not_started_a_job_is_not_damaged(tmp_path):
    folder = tmp_path / "multirun/Default/2026-11-20/09-00-00"
    folder.mkdir(parents=True)
    (folder / "multirun.yaml").touch()
    assert read_runs([str(tmp_path)]) == []


def test_metrics_are_numbers_nan_included(tmp_path):
    metrics = {"a": 1, "b": "nan", "c": "-inf", "d": None}
    make_run(tmp_path / "run", metrics=metrics)
    (run,) = read_runs([str(tmp_path)])
    assert {name: str(value) for name, value in run.metrics.items()} == {"a": "1.0", "b": "nan", "c": "-inf"}


def test_the_newest_comes_last_and_job_10_after_job_9(tmp_path):
    for job in (10, 9):
        make_run(tmp_path / f"multirun/Default/2026-11-20/09-00-00/{job}", started="2026-11-20T09:00:00.000+00:00")
    make_run(tmp_path / "outputs/Default/2026-11-19/09-00-00", started="2026-11-19T09:00:00.000+00:00")
    names = [Path(run.facts["folder"]).name for run in read_runs([str(tmp_path)])]
    assert names == ["09-00-00", "9", "10"]


@pytest.mark.parametrize(
    ("facts", "held", "status"),
    [
        ({"host": socket.gethostname()}, False, "dead"),
        ({"host": socket.gethostname()}, True, "running"),
        ({"host": "elsewhere"}, False, "running"),
        ({"host": "elsewhere", "resumed": [{"host": socket.gethostname()}]}, False, "dead"),
        ({"host": socket.gethostname(), "resumed": [{"host": "elsewhere"}]}, False, "running"),
    ],
)
def test_a_running_run_whose_process_is_gone_is_dead(tmp_path, facts, held, status):
    folder = make_run(tmp_path / "run", status="running", **facts)
    handle = os.open(folder, os.O_RDONLY)
    if held:
        fcntl.flock(handle, fcntl.LOCK_EX)
    (run,) = read_runs([str(tmp_path)])
    os.close(handle)
    assert run.facts["status"] == status
    assert json.loads((folder / "run.json").read_text())["status"] == "running"


def evaluated(folder, content, **facts):
    make_run(folder, metrics={"test_accuracy": 0.9}, best_checkpoint="checkpoints/best.ckpt", **facts)
    text = content if isinstance(content, str) else json.dumps(content)
    (folder / "evaluation.json").write_text(text, encoding="utf-8")
    (run,) = read_runs([str(folder)])
    return run.metrics


EVALUATION = {
    "checkpoint": "outputs/x/checkpoints/best.ckpt",
    "images": 355,
    "test_accuracy": 0.5,
    "test_f1": 0.8,
    "per_class": {"test_accuracy/class=cat": 0.7, "test_accuracy/class=dog": None},
    "sizes": {"test_accuracy/n=16": 0.6},
    "confusion_matrix": [[1, 2], [3, 4]],
}
MEASURED = {"test_f1": 0.8, "test_accuracy/class=cat": 0.7, "test_accuracy/n=16": 0.6}


def test_what_evaluate_measured_stands_beside_what_training_measured(tmp_path):
    assert evaluated(tmp_path / "a", EVALUATION) == {**MEASURED, "test_accuracy": 0.9}
    ended = "2026-11-20T09:00:00.000+00:00"
    assert evaluated(tmp_path / "b", EVALUATION, ended=ended) == {**MEASURED, "test_accuracy": 0.9}


def test_an_evaluation_of_another_checkpoint_is_not_mixed_with_that_of_the_best(tmp_path):
    last = evaluated(tmp_path / "a", {**EVALUATION, "checkpoint": "outputs/x/checkpoints/last.ckpt"})
    assert last == {"test_accuracy": 0.9, "last_test_accuracy": 0.5, **{f"last_{k}": v for k, v in MEASURED.items()}}
    assert evaluated(tmp_path / "b", {**EVALUATION, "checkpoint": "elsewhere/epoch=3.ckpt"}) == {"test_accuracy": 0.9}


def test_an_evaluation_older_than_the_end_of_the_run_is_outdated(tmp_path):
    assert evaluated(tmp_path / "a", EVALUATION, ended="2999-01-01T00:00:00.000+00:00") == {"test_accuracy": 0.9}


@pytest.mark.parametrize("content", ["", "[]", "null", '{"sizes": 3, "per_class": []}', "[" * 100_000])
def test_a_damaged_evaluation_hides_no_run_and_is_named(tmp_path, content):
    assert evaluated(tmp_path / "a", content) == {"test_accuracy": 0.9}
    (run,) = read_runs([str(tmp_path)])
    path = tmp_path / "a" / "evaluation.json"
    assert run.warning.startswith(f"{path} is damaged, ")
    assert run.warning.endswith(f": measure again, python src/evaluate.py run={tmp_path / 'a'}")


def test_folders_may_be_nested_deeper_than_python_calls(tmp_path):
    here, depth = Path.cwd(), 1200
    os.chdir(tmp_path)
    for _ in range(depth):
        Path("d").mkdir()
        os.chdir("d")
    make_run(Path("2026-11-20/09-00-00"))
    os.chdir(here)
    runs = read_runs([str(tmp_path)])
    subprocess.run(["rm", "-r", tmp_path / "d"], check=True)  # too deep for pytest
    assert [run.facts["folder"] for run in runs] == [f"{tmp_path}/{'d/' * depth}2026-11-20/09-00-00"]


def test_a_name_that_is_no_text_and_one_of_255_bytes_are_listed(tmp_path, capfd):
    make_run(tmp_path / ("x" * 255))
    make_run(tmp_path / os.fsdecode(b"caf\xe9"))
    runs = read_runs([str(tmp_path)])
    assert len(runs) == 2
    show(make_table(runs))
    assert r"caf\xe9" in capfd.readouterr().out


def test_metrics_of_the_last_epoch_have_names_that_say_so(tmp_path):
    make_run(tmp_path / "a", metrics={"valid_accuracy": 0.9}, last_metrics={"valid_accuracy": 0.8, "valid_loss": "nan"})
    (run,) = read_runs([str(tmp_path)])
    assert run.metrics.pop("last_valid_loss") != 0
    assert run.metrics == {"valid_accuracy": 0.9, "last_valid_accuracy": 0.8}


def test_error_rates_are_computed_from_accuracies():
    names = ("test_accuracy", "test_accuracy/n=4", "last_valid_accuracy", "test_top_5", "balanced_accuracy")
    run = with_errors(RunRecord({}, metrics=dict.fromkeys(names, 0.75)))
    errors = {name: value for name, value in run.metrics.items() if name not in names}
    assert errors == dict.fromkeys(("test_error", "test_error/n=4", "last_valid_error"), 0.25)
    assert with_errors(RunRecord({}, metrics={"test_accuracy": 0.5, "test_error": 0.1})).metrics["test_error"] == 0.1


def watching(monitor, **metrics):
    return RunRecord({"folder": "x", "status": "finished"}, composed={"hparams.monitor": monitor}, metrics=metrics)


@pytest.mark.parametrize(
    ("runs", "metric"),
    [
        ([watching("valid_mae", test_mae=1.0, valid_mae=2.0)], "test_mae"),
        ([watching("valid_mae", valid_mae=2.0)], "valid_mae"),
        ([watching("valid_loss", test_loss=1.0)] + 2 * [watching("valid_gap", test_gap=1.0)], "test_gap"),
        ([watching("valid_mae", test_mae=1.0), watching("valid_f1", test_accuracy=0.5)], "test_accuracy"),
        ([watching("valid_mae", **{"test_mae/n=1-64": 1.0})], "test_mae/n=1-64"),
        ([], "test_accuracy"),
    ],
)
def test_runs_without_accuracy_are_compared_by_what_they_watch(runs, metric):
    assert main_metric(runs) == metric


def test_results_of_all_kinds_of_parts_are_metrics_and_counts_of_items_are_not():
    kinds = {"class": "accuracy", "label": "f1", "count": "mae", "component": "r2"}
    parts = {f"per_{kind}": {f"test_{name}/{kind}=1": 0.5} for kind, name in kinds.items()}
    found = measured({"sets": 3, "nan_sets": 1, "test_mae": 2.0, **parts})
    assert found == {"test_mae": 2.0} | {f"test_{name}/{kind}=1": 0.5 for kind, name in kinds.items()}
