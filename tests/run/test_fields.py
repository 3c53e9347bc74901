"""run.json: each entry that something reads is checked, and the others are left alone."""

import json

import pytest

from run.fields import EVALUATION, RUN, SWEEP, wrong_entry
from run.folder import RecordError, read_run_json

START = {
    "started": "2026-11-20T09:00:00.000+00:00",
    "command": "python src/train.py",
    "git": {"commit": "0" * 40, "dirty": True},
    "host": "here",
    "pid": 7,
    "versions": {"torch": "2.15.0+cpu", "driver": None},
    "gpus": ["NVIDIA H200"],
}
RECORD = {
    **START,
    "status": "finished",
    "ended": "2026-11-20T09:01:00.000+00:00",
    "seconds": 60.5,
    "comment": 5,
    "tags": ["baseline"],
    "settings": {"hparams.lr": 0.1, "data.image_size": [8, 8], "loss.weight": None, "model": {"a": [{"b": True}]}},
    "composed": {},
    "data": {"train": 1154, "split_hash": "ee80"},
    "class_names": ["cat", "dog"],
    "lower_is_better": ["loss"],
    "parameters": 21482,
    "lr": 0.1,
    "best_checkpoint": None,
    "best_epoch": None,
    "best_score": "nan",
    "metrics": {"test_loss": "inf", "test_accuracy": 1},
    "resumed": [{**START, "changes": {"hparams.lr": ["(not set)", 0.2]}, "other_code": []}],
}


def test_the_record_of_a_run_has_no_wrong_entry():
    assert wrong_entry(RECORD, RUN) is None
    assert wrong_entry({**START, "arguments": ["-m"], "resumed": [START]}, SWEEP) is None
    assert wrong_entry({"checkpoint": "best.ckpt", "per_class": {"test_accuracy/class=cat": None}}, EVALUATION) is None


def test_entries_of_other_versions_are_allowed():
    assert wrong_entry({"status": "running", "from_tomorrow": [{}]}, RUN) is None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("class_names", {"cat": 0}),
        ("class_names", ["cat", 3]),
        ("class_names", [True]),
        ("class_names", "cat"),
        ("class_names", ["x" * 100_000]),
        ("git", "0" * 40),
        ("git", {"commit": ["0"]}),
        ("git", {"dirty": "no"}),
        ("parameters", "21482"),
        ("parameters", -1),
        ("parameters", 10**40),
        ("parameters", True),
        ("seconds", "long"),
        ("seconds", float("nan")),
        ("settings", {"hparams.lr": 10**400}),
        ("settings", {"x" * 100_000: 1}),
        ("metrics", {"test_accuracy": [1]}),
        ("metrics", {"test_accuracy": "high"}),
        ("last_metrics", {"test_accuracy": True}),
        ("comment", "x" * 100_000),
        ("tags", "baseline"),
        ("versions", {"torch": 2}),
        ("resumed", ["foreign"]),
        ("resumed", [{"changes": []}]),
        ("status", "ended"),
        ("best_score", []),
    ],
)
def test_a_wrong_entry_is_refused_by_its_name(tmp_path, name, value):
    (tmp_path / "run.json").write_text(json.dumps(RECORD | {name: value}))
    if isinstance(value, dict) and any(isinstance(each, int) and each > 10**300 for each in value.values()):
        expected = r"run\.json is no JSON"  # a number of so many digits is not even parsed
    else:
        expected = rf"run\.json is damaged: {name} must be "
    with pytest.raises(RecordError, match=expected) as caught:
        read_run_json(tmp_path)
    assert "\n" not in str(caught.value)
    assert len(caught.value.reason) < 200


def test_a_hundred_thousand_classes_are_read(tmp_path):
    names = [f"class {number}" for number in range(100_000)]
    metrics = {f"test_accuracy/class={name}": 0.5 for name in names}
    (tmp_path / "run.json").write_text(json.dumps(RECORD | {"class_names": names, "metrics": metrics}, indent=2))
    assert read_run_json(tmp_path)["class_names"] == names
