"""The list of runs, and a run as it is opened."""

import json
import time

import pytest
import torch
from own_module import MaskedPatches

from command import cli
from command.trained_run import data_key
from explore.opened_run import open_network, read_config
from explore.runs import differing_settings, found_runs, label, labels, list_runs, obstacle, short_name
from process.errors import UserError
from process.text import one_line


def write(folder, checkpoint="best", **facts):
    folder.mkdir(parents=True)
    (folder / "run.json").write_text(json.dumps({"status": "finished", **facts}))
    if checkpoint:
        (folder / "checkpoints").mkdir()
        (folder / "checkpoints" / f"{checkpoint}.ckpt").touch()
    return folder


def test_the_newest_first_and_those_without_a_checkpoint_apart(tmp_path):
    day = tmp_path / "outputs" / "Default" / "2026-11-20"
    write(day / "09-00-00", started="2026-11-20T09:00:00")
    write(day / "10-00-00", "last", started="2026-11-20T10:00:00")
    write(day / "11-00-00", None, status="failed", started="2026-11-20T11:00:00")
    (day / "12-00-00").mkdir()
    good, bad = list_runs([str(tmp_path / "outputs"), str(tmp_path / "multirun")])
    assert [short_name(run) for run in good] == ["2026-11-20 10-00-00", "2026-11-20 09-00-00"]
    assert {short_name(run): obstacle(run) for run in bad} == {
        "2026-11-20 11-00-00": "failed, without a checkpoint",
        "2026-11-20 12-00-00": "damaged: no run.json",
    }


def test_runs_of_one_name_are_told_apart(tmp_path):
    for name in ("a", "b"):
        write(tmp_path / name / "2026-11-20" / "09-00-00")
    write(tmp_path / "a" / "2026-11-20" / "10-00-00")
    names = labels(list_runs([str(tmp_path)])[0])
    assert len(set(names.values())) == 3
    assert sorted(name.count("/a/") for name in names.values()) == [0, 0, 1]


def test_a_run_is_named_by_what_it_is(tmp_path):
    folder = write(
        tmp_path / "2026-11-20" / "09-00-00",
        comment="more",
        composed={"model": "cnn", "data": "digits", "hparams.lr": 0.1},
        metrics={"test_accuracy": 0.98765},
    )
    other = write(tmp_path / "2026-11-20" / "10-00-00", composed={"model": "lenet", "data": "digits"})
    (second, first), _ = list_runs([str(folder), str(other)])
    assert label(first) == "cnn · digits · 0.9877 · more · 2026-11-20 09-00-00"
    again = write(tmp_path / "2026-11-20" / "09-00-00_more", comment="more", started="2026", composed={"model": "cnn"})
    assert label(list_runs([str(again)])[0][0]) == "cnn · ? · more · 2026-11-20 09-00-00"  # not said twice
    assert differing_settings(first, second) == "model: cnn / lenet, lr: 0.1 / None"


ODD = {
    "comment": [["a", "list"], {"a": 1}, 5, True, "x" * 10**7, "two\nlines\u202e\x1b[31m"],
    "status": ["x" * 10**7, "", "two\nlines"],
    "settings": [{"model": {"a": [1]}, "data": None}, {"model": "x" * 10**7}, {"x" * 10**6: 1}],
    "composed": [{"model": [], "data": 0.5}, {}],
    "metrics": [{"test_accuracy": "text", "valid_accuracy": [1]}, {"test_accuracy": "NaN"}, {"test_accuracy": 10**400}],
    "experiment_name": [None, 7],
    "class_names": [5, "x" * 10**7],
}


def test_a_record_of_any_content_has_one_short_line(tmp_path):
    for name, values in ODD.items():
        for number, value in enumerate(values):
            write(tmp_path / name / "2026-11-20" / f"{number:02}-00-00", **{name: value})
    good, bad = list_runs([str(tmp_path)])
    lines = [*labels(good).values(), *(one_line(obstacle(run), 100) for run in bad)]
    assert len(lines) == sum(map(len, ODD.values()))
    assert all(line.isprintable() and len(line) < 800 for line in lines)
    assert all(len(differing_settings(good[0], run)) < 2000 for run in good if run.known.keys() <= {"model", "data"})


def test_three_thousand_runs_are_listed_at_once(tmp_path):
    settings = {"model": "cnn", "data": "MNIST", **{f"hparams.x{number}": number for number in range(40)}}
    for number in range(3000):
        day = tmp_path / "Default" / f"2026-11-{number // 240 + 1:02}"
        metrics = {"test_accuracy": 0.5, "valid_accuracy": 0.5, "test_loss": 0.1}
        write(day / f"{number % 240 // 60:02}-{number % 60:02}-00", composed=settings, metrics=metrics)
    began = time.process_time()
    by_folder, name_of, bad = found_runs((str(tmp_path),))
    assert (len(by_folder), len(name_of), bad) == (3000, 3000, [])
    assert time.process_time() - began < 2  # measured: 0.25 s on one core


def test_what_kind_of_network_it_is(opened_run):
    patches, cnn = opened_run("patches"), opened_run("cnn")
    assert (patches.cuts_patches, patches.has_free_patch_num, patches.has_bags) == (True, True, False)
    assert (cnn.cuts_patches, cnn.has_free_patch_num, cnn.has_bags) == (False, False, False)
    assert patches.class_names == [str(digit) for digit in range(10)]
    assert not patches.network.training


def test_a_network_that_is_no_task_module_is_refused(run_of, tmp_path):
    config = read_config(run_of("cnn"))
    config.model = {"_target_": "own_module.MaskedPatches"}
    (tmp_path / "checkpoints").mkdir()
    torch.save({"state_dict": MaskedPatches().state_dict()}, tmp_path / "checkpoints" / "best.ckpt")
    with pytest.raises(UserError, match=r"this page shows a TaskModule: own_module\.MaskedPatches has no network and"):
        open_network(tmp_path, config)


def test_runs_on_the_same_images_share_them(run_of):
    cli.register_resolvers()
    key = data_key(read_config(run_of("patches")))
    config = read_config(run_of("cnn"))
    config.data.flip = True  # which test images are never
    assert data_key(config) == key
    config.data.image_size = [9, 9]
    assert data_key(config) != key


def test_a_config_that_is_missing_or_damaged_is_named(tmp_path):
    with pytest.raises(UserError, match=r"config\.yaml is missing or damaged"):
        read_config(tmp_path)
    (tmp_path / ".hydra").mkdir()
    (tmp_path / ".hydra" / "config.yaml").write_text("data: [")
    with pytest.raises(UserError, match=r"config\.yaml is missing or damaged"):
        read_config(tmp_path)
