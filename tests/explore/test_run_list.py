import json

from explore.run_list import choosable, differing, label, labels, reason, short


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
    good, bad = choosable([str(tmp_path / "outputs"), str(tmp_path / "multirun")])
    assert [short(run) for run in good] == ["2026-11-20 10-00-00", "2026-11-20 09-00-00"]
    assert {short(run): reason(run) for run in bad} == {
        "2026-11-20 11-00-00": "failed, without a checkpoint",
        "2026-11-20 12-00-00": "damaged: no run.json",
    }


def test_runs_of_one_name_are_told_apart(tmp_path):
    for name in ("a", "b"):
        write(tmp_path / name / "2026-11-20" / "09-00-00")
    write(tmp_path / "a" / "2026-11-20" / "10-00-00")
    names = labels(choosable([str(tmp_path)])[0])
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
    (second, first), _ = choosable([str(folder), str(other)])
    assert label(first) == "cnn · digits · 0.9877 · more · 2026-11-20 09-00-00"
    again = write(tmp_path / "2026-11-20" / "09-00-00_more", comment="more", started="2026", composed={"model": "cnn"})
    assert label(choosable([str(again)])[0][0]) == "cnn · ? · more · 2026-11-20 09-00-00"  # not said twice
    assert differing(first, second) == "model: cnn / lenet, lr: 0.1 / None"
