"""evaluate.py needs nothing but the run folder."""

import json

import pytest
from runs import record


@pytest.fixture
def patch_set(train):
    return train("data=digits", "hparams.max_epochs=3", "loggers=none")


def evaluation(folder):
    return json.loads((folder / "evaluation.json").read_text())


def test_best_agrees_with_the_training_s_own_test(patch_set, command):
    before = (patch_set / "run.json").read_bytes()
    assert command("evaluate", f"run={patch_set}", "sizes=[1,16]") == 0
    result, run = evaluation(patch_set), record(patch_set)
    assert result["test_accuracy"] == pytest.approx(run["metrics"]["test_accuracy"], abs=1e-6)
    assert result["test_loss"] == pytest.approx(run["metrics"]["test_loss"], rel=1e-5)
    assert sum(map(sum, result["confusion_matrix"])) == run["data"]["test"] == result["images"]
    assert set(result["sizes"]) == {"test_accuracy/n=1", "test_accuracy/n=16"}
    assert result["sizes"]["test_accuracy/n=16"] > result["sizes"]["test_accuracy/n=1"]
    assert len(result["per_class"]) == 10
    assert (patch_set / "run.json").read_bytes() == before


def test_the_batch_size_changes_nothing(patch_set, command):
    assert command("evaluate", f"run={patch_set}") == 0
    small = evaluation(patch_set)
    assert command("evaluate", f"run={patch_set}", "hparams.batch_size=7", "data.num_workers=2") == 0
    large = evaluation(patch_set)
    assert small["confusion_matrix"] == large["confusion_matrix"]
    assert small["test_loss"] == pytest.approx(large["test_loss"], rel=1e-5)


def test_last_a_path_and_a_relative_folder(patch_set, command, tmp_path):
    assert command("evaluate", f"run={patch_set.relative_to(tmp_path)}", "ckpt=last") == 0
    last = evaluation(patch_set)
    assert command("evaluate", f"run={patch_set}", f"ckpt={patch_set / 'checkpoints' / 'last.ckpt'}") == 0
    assert evaluation(patch_set)["test_accuracy"] == last["test_accuracy"]


def test_a_network_of_whole_images_has_no_sizes(train, command):
    folder = train("data=digits", "model=cnn", "hparams.max_epochs=1", "comment=it's, a = {test}")
    assert command("evaluate", f"run={folder}") == 0
    assert "sizes" not in evaluation(folder)


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["run=nowhere"], "no run folder"),
        ([], "run"),
        (["run={}", "ckpt=first.ckpt"], "no checkpoint first.ckpt"),
        (["run={}", "ckpt={}/run.json"], "cannot read the checkpoint"),
        (["run={}", "ckpt={}/truncated.ckpt"], "cannot read the checkpoint"),
        (["run={}", "model=cnn"], "is of another network"),
        (["run={}", "data=digitss"], "did you mean data=digits?"),
    ],
)
def test_one_clear_line(patch_set, command, capsys, arguments, line):
    whole = (patch_set / "checkpoints" / "best.ckpt").read_bytes()
    (patch_set / "truncated.ckpt").write_bytes(whole[: len(whole) // 2])
    capsys.readouterr()
    assert command("evaluate", *[argument.format(patch_set) for argument in arguments]) == 1
    error = capsys.readouterr().err.strip()
    assert error.startswith("error: ")
    assert "\n" not in error
    assert line in error
    assert not (patch_set / "evaluation.json").exists()
