"""evaluate.py needs nothing but the run folder."""

import json
import re
import shutil

import pytest
import torch
import warm
from module_run import trained
from runs import REPOSITORY, record


@pytest.fixture(scope="module")
def trained_patch_set(tmp_path_factory):
    return trained(tmp_path_factory.mktemp("patch_set"), "data=digits", "hparams.max_epochs=3", "loggers=none")


@pytest.fixture
def patch_set(trained_patch_set, tmp_path):
    """A copy of the run for each test, alone in its folder."""
    return shutil.copytree(trained_patch_set, tmp_path / "outputs" / "day" / "time")


def evaluation(folder):
    return json.loads((folder / "evaluation.json").read_text())


def test_best_is_the_training_s_own_test(patch_set, command):
    assert command("evaluate", f"run={patch_set}") == 0
    result, run = evaluation(patch_set), record(patch_set)
    tested = {name: value for name, value in run["metrics"].items() if name.startswith("test_")}
    measured = {name: value for name, value in result.items() if name.startswith("test_")} | result["sizes"]
    assert measured == tested
    assert list(result["sizes"]) == [f"test_accuracy/n={n}" for n in (1, 4, 16, 64)]


def test_other_sizes_than_the_training_s_in_one_pass_of_the_data(patch_set, command, monkeypatch):
    from model import TaskModule

    seen, step = [], TaskModule.test_step
    monkeypatch.setattr(TaskModule, "test_step", lambda self, *args: seen.append(len(args[0][1])) or step(self, *args))
    before = (patch_set / "run.json").read_bytes()
    assert command("evaluate", f"run={patch_set}", "sizes=[1,16,100]") == 0
    result, run = evaluation(patch_set), record(patch_set)
    assert sum(seen) == 355
    assert sum(map(sum, result["confusion_matrix"])) == run["data"]["test"] == result["images"]
    assert list(result["sizes"]) == ["test_accuracy/n=1", "test_accuracy/n=16", "test_accuracy/n=100"]
    assert result["sizes"]["test_accuracy/n=16"] > result["sizes"]["test_accuracy/n=1"]
    assert len(result["per_class"]) == 10
    assert (patch_set / "run.json").read_bytes() == before
    assert list(patch_set.parent.iterdir()) == [patch_set], "evaluate makes no run of its own"


def test_images_whose_logits_are_nan_are_wrong_and_the_file_is_written(patch_set, command, capsys):
    path = patch_set / "checkpoints" / "best.ckpt"
    checkpoint = torch.load(path, weights_only=True)
    *_, last = (name for name, weight in checkpoint["state_dict"].items() if weight.dim() == 1 and "network" in name)
    checkpoint["state_dict"][last].fill_(torch.nan)
    torch.save(checkpoint, path)
    assert command("evaluate", f"run={patch_set}", "sizes=[1]") == 1
    assert "are NaN for 355 of 355 images, which count as incorrect: choose other weights" in capsys.readouterr().err
    result = evaluation(patch_set)
    assert (result["test_accuracy"], result["test_loss"], result["sizes"]) == (0, "nan", {"test_accuracy/n=1": 0})
    assert set(result["per_class"].values()) == {0}
    assert command("evaluate", f"run={patch_set}", "sizes=[1]", "model.skip_nonfinite=true") == 0
    assert "are NaN for 355 of 355 images, which count as incorrect\n" in capsys.readouterr().out
    assert evaluation(patch_set) == result


def test_of_many_classes_the_table_shows_the_lowest_and_the_file_all(patch_set, command, capsys, monkeypatch):
    monkeypatch.setattr("process.console.MOST_CLASSES", 9)
    monkeypatch.setattr("process.console.LOWEST", 3)
    assert command("evaluate", f"run={patch_set}", "sizes=[1]") == 0
    table = capsys.readouterr().out
    per_class = evaluation(patch_set)["per_class"]
    assert len(per_class) == 10
    lowest = [name.removeprefix("test_accuracy/") for name in sorted(per_class, key=per_class.__getitem__)[:3]]
    assert re.findall(r"test_accuracy/(class=\d)", table) == lowest
    assert re.search(r"7 other classes\W+in evaluation\.json; verbosity=2 shows all", table)


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
    folder = train("data=digits", "model=cnn", "hparams.max_epochs=1", "loggers=none", "comment=it's, a = {test}")
    assert command("evaluate", f"run={folder}") == 0
    assert "sizes" not in evaluation(folder)


def test_no_more_patches_than_places_where_none_is_drawn_twice(train, command):
    once = ("model.network.selection.replace=false", "hparams.patch_num_max=16")
    folder = train("data=digits", "hparams.max_epochs=1", *once, "loggers=none")
    assert command("evaluate", f"run={folder}") == 0  # at 1, 4, 16, 64: there are 16 places
    assert list(evaluation(folder)["sizes"]) == [f"test_accuracy/n={n}" for n in (1, 4, 16)]


def test_other_metrics_than_accuracy_are_measured_too(train, command):
    folder = train("data=digits", "metrics=[f1]", "hparams.monitor=valid_f1", "hparams.max_epochs=1", "loggers=none")
    assert command("evaluate", f"run={folder}", "sizes=[4]") == 0
    result = evaluation(folder)
    assert result["test_f1"] == pytest.approx(record(folder)["metrics"]["test_f1"], abs=1e-6)
    hits = sum(row[k] for k, row in enumerate(result["confusion_matrix"]))
    assert result["test_accuracy"] == pytest.approx(hits / result["images"])


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["run=nowhere"], "no run folder"),
        ([], "which run? run=FOLDER"),
        (["run={}", "ckpt=first.ckpt"], "no checkpoint first.ckpt"),
        (["run={}", "ckpt={}/run.json"], "cannot read the checkpoint"),
        (["run={}", "ckpt={}/truncated.ckpt"], "cannot read the checkpoint"),
        (["run={}", "model=cnn"], "does not fit"),
        (["run={}", "sizes=[0]"], "sizes=[0]: must be a list of whole numbers >= 1"),
        (["run={}", "sizes=4"], "must be a list"),
        (["run={}", "hparams.batch_size=0"], "must be a whole number >= 1"),
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
    assert list(patch_set.parent.iterdir()) == [patch_set], "no folder of its own"


@pytest.mark.processes
def test_a_run_on_two_processes(command, tmp_path):
    options = ("trainer.devices=2", "+trainer.strategy=ddp", "trainer.accelerator=cpu")
    train = (str(REPOSITORY / "src" / "train.py"), "data=digits", "model=cnn", "hparams.max_epochs=1")
    assert warm.run(*train, *options) == 0
    (folder,) = tmp_path.glob("outputs/*/*/*")
    run = record(folder)
    assert run["status"] == "finished"
    # every test image counts once, though the 355 cannot be shared out equally
    assert run["metrics"]["test_accuracy"] * 355 == pytest.approx(
        round(run["metrics"]["test_accuracy"] * 355), abs=1e-3
    )
    assert command("evaluate", f"run={folder}") == 0
    assert evaluation(folder)["test_accuracy"] == pytest.approx(run["metrics"]["test_accuracy"])


@pytest.mark.long
def test_sets_of_vectors_are_measured_at_sizes_beyond_the_training_and_exported(train, command, capsys):
    fewer = ("data.steps_per_epoch=5", "data.valid_sets=20", "data.test_sets=40", "hparams.max_epochs=1")
    folder = train("data=max_regression", *fewer, "hparams.batch_size=16", "loggers=none", "callbacks=[basic]")
    trained = record(folder)["metrics"]
    assert {name for name in trained if name.startswith("test_mae")} == {"test_mae", "test_mae/n=1", "test_mae/n=4"}
    assert command("evaluate", f"run={folder}", "sizes=[4,50]") == 0
    result = evaluation(folder)
    assert (result["sets"], list(result["sizes"])) == (40, ["test_mae/n=4", "test_mae/n=50"])
    assert result["test_mae"] == pytest.approx(trained["test_mae"], rel=1e-5)
    assert result["sizes"]["test_mae/n=4"] == pytest.approx(trained["test_mae/n=4"], rel=1e-5)
    assert result["test_rmse"] >= result["test_mae"]
    assert command("export", f"run={folder}", "formats.onnx=null") == 0
    assert (folder / "export" / "model.pt2").exists()
    capsys.readouterr()
    assert command("predict", f"run={folder}", f"input={folder}") == 1
    assert f"input={folder}: no features are there: give a file of features" in capsys.readouterr().err
