"""train.py from start to end, as a user calls it."""

import csv
import json
import re
import subprocess
import sys
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest
import torch
import yaml
from hydra.core.utils import JobReturn
from hydra.experimental.callback import Callback as HydraCallback
from omegaconf import DictConfig
from PIL import Image
from runs import REPOSITORY, record

NETWORKS = sorted(path.stem for path in (REPOSITORY / "config" / "model").glob("*.yaml"))


def metrics(folder):
    with (folder / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_the_run_folder_says_all_of_it(train):
    folder = train("data=digits", "model=cnn", "hparams.max_epochs=2", "comment=a=b, 日本")
    assert folder.name.endswith("_a=b-日本")
    run = record(folder)
    assert run["status"] == "finished"
    assert run["comment"] == "a=b, 日本"
    assert run["settings"] == {
        "data": "digits",
        "model": "cnn",
        "hparams.max_epochs": 2,
        "comment": "a=b, 日本",
    }
    assert run["data"]["train"] + run["data"]["valid"] + run["data"]["test"] == 1797
    assert set(run["metrics"]) == {
        f"{part}_{name}" for part in ("train", "valid", "test") for name in ("loss", "accuracy")
    }
    assert run["best_score"] == max(float(row["valid_accuracy"] or 0) for row in metrics(folder))
    assert yaml.safe_load((folder / "config.yaml").read_text())["model"]["network"]["num_outputs"] == 10
    assert (folder / "source" / "src" / "train.py").read_text() == (REPOSITORY / "src" / "train.py").read_text()
    assert (folder / "source" / "config" / "config.yaml").exists()
    assert re.search(
        r"parameters on cpu; examples: 1,154 train, 288 valid, 355 test$", (folder / "train.log").read_text(), re.M
    )
    assert list((folder / "tensorboard").glob("events.*"))
    for name in ("best", "last"):
        checkpoint = folder / "checkpoints" / f"{name}.ckpt"
        assert checkpoint.is_file()
        assert not checkpoint.is_symlink()
        assert "state_dict" in torch.load(checkpoint, weights_only=True)


FIXED = ("data=digits", "data.limit_train=300", "hparams.optimizer=SGD", "loggers=none", "hparams.lr=1e-30")


def test_all_metrics_are_those_of_the_checkpoint_that_was_tested(train, capfd):
    """No step changes the weights: validation cannot improve after the first epoch, training draws other patches."""
    folder = train(*FIXED, "hparams.max_epochs=3", "hparams.patch_num_max=8", "sizes=[1,3,8,9]")
    run, rows = record(folder), metrics(folder)
    losses = [float(row["train_loss"]) for row in rows if row["train_loss"]]
    assert len(set(losses)) == 3
    assert (run["best_checkpoint"], run["best_epoch"]) == ("checkpoints/best.ckpt", 1)
    assert run["metrics"]["train_loss"] == pytest.approx(losses[0])
    assert run["last_metrics"]["train_loss"] == pytest.approx(losses[2])
    assert set(run["last_metrics"]) == {
        f"{part}_{name}" for part in ("train", "valid") for name in ("loss", "accuracy")
    }
    assert run["best_score"] == run["metrics"]["valid_accuracy"]
    sizes = [name for name in run["metrics"] if "/" in name]
    assert sizes == [f"test_accuracy/n={size}" for size in (1, 3, 8)], "a set has at most 8 patches"
    assert run["metrics"]["test_accuracy/n=8"] == run["metrics"]["test_accuracy"]
    assert float(rows[-1]["test_accuracy/n=3"]) == run["metrics"]["test_accuracy/n=3"]
    shown = capfd.readouterr().out
    assert re.search(rf"test_accuracy/n=3 +│ {run['metrics']['test_accuracy/n=3']:.4f}", shown)
    assert re.search(r"best epoch +│ 1 of 3 ", shown)
    assert re.search(rf"last epoch: train_loss +│ {losses[2]:.4f}", shown)


@pytest.mark.parametrize("option", ["+trainer.check_val_every_n_epoch=2", "+trainer.max_steps=7"])
def test_an_earlier_validation_is_not_of_the_last_epoch(train, option, capfd):
    folder = train(*FIXED, "model=lenet", "hparams.max_epochs=3", option)  # of three batches
    run = record(folder)
    assert set(run["last_metrics"]) == {"train_loss", "train_accuracy"}
    assert run["metrics"]["valid_accuracy"] == run["best_score"]
    assert "last epoch: valid" not in capfd.readouterr().out


def test_evaluate_measures_the_same_numbers(train, command):
    folder = train("data=digits", "hparams.max_epochs=3", "hparams.lr=0.003", "sizes=[2,16,64]", "loggers=none")
    run, sizes = record(folder), ("test_accuracy/n=2", "test_accuracy/n=16", "test_accuracy/n=64")
    assert run["metrics"][sizes[0]] < run["metrics"][sizes[2]]
    assert command("evaluate", f"run={folder}") == 0
    result = json.loads((folder / "evaluation.json").read_text())
    assert result["sizes"] == {name: run["metrics"][name] for name in sizes}, "the sizes of the run, the same numbers"
    assert result["test_accuracy"] == run["metrics"]["test_accuracy"]
    assert result["test_loss"] == pytest.approx(run["metrics"]["test_loss"], rel=1e-5)


def test_metrics_of_sets_of_mixed_sizes_say_so_and_the_best_checkpoint_follows_them(train):
    watching = ("hparams.patience=0", "scheduler=plateau", "callbacks=[basic,median_stopping]")
    folder = train(*FIXED, *watching, "hparams.max_epochs=4", "hparams.patch_num_max=4", "hparams.test_patch_num=null")
    run = record(folder)
    assert [int(row["epoch"]) for row in metrics(folder) if row["train_loss"]] == [0, 1], "no better: it stops"
    mixed = {f"{part}_{name}/n=1-4" for part in ("valid", "test") for name in ("loss", "accuracy")}
    sizes = {f"test_accuracy/n={size}" for size in (1, 4)}
    assert set(run["metrics"]) == mixed | sizes | {"train_loss", "train_accuracy"}
    assert (run["best_epoch"], run["best_score"]) == (1, run["metrics"]["valid_accuracy/n=1-4"])
    assert run["composed"]["hparams.monitor"] == "valid_accuracy/n=1-4"


def test_mixed_sizes_are_watched_by_a_plain_name_and_evaluated_under_their_own(train, command, capsys):
    plain = ("hparams.monitor=valid_loss", "hparams.monitor_mode=min", "hparams.test_patch_num=null")
    folder = train(*FIXED, *plain, "hparams.max_epochs=1", "hparams.patch_num_max=4")
    run = record(folder)
    assert run["best_score"] == run["metrics"]["valid_loss/n=1-4"]
    assert command("evaluate", f"run={folder}", "sizes=[1,4]") == 0
    result = json.loads((folder / "evaluation.json").read_text())
    tested = {name: value for name, value in run["metrics"].items() if name.startswith("test_")}
    assert {name: v for name, v in result.items() if name.startswith("test_")} | result["sizes"] == tested
    assert set(tested) == {"test_loss/n=1-4", "test_accuracy/n=1-4", "test_accuracy/n=1", "test_accuracy/n=4"}
    assert all(name.startswith("test_accuracy/n=1-4/class=") for name in result["per_class"])
    capsys.readouterr()
    assert command("report", str(folder), "sort=test_accuracy") == 0
    assert "test_accuracy/n=1-4" in capsys.readouterr().out.splitlines()[0].split()
    assert command("train", f"resume={folder}", "hparams.max_epochs=2") == 0, "the same monitor"
    assert record(folder)["resumed"][0]["changes"] == {"hparams.max_epochs": [1, 2]}


def test_a_patch_set_learns_digits(train):
    run = record(train("data=digits", "hparams.max_epochs=15", "hparams.patch_num_min=16", "loggers=none"))
    assert run["metrics"]["test_accuracy"] > 0.9


def test_the_same_command_twice_gives_the_same_metrics(train):
    command = (
        "data=digits",
        "hparams.max_epochs=2",
        "loggers=none",
        "hparams.seed=0",
        "data.crop_padding=1",
        "data.flip=True",
    )
    first, second = train(*command), train(*command)
    assert (first / "metrics.csv").read_bytes() == (second / "metrics.csv").read_bytes()
    third = train(*(word.replace("seed=0", "seed=1") for word in command))
    assert (first / "metrics.csv").read_bytes() != (third / "metrics.csv").read_bytes()


@pytest.fixture(scope="module")
def folder_of_images(tmp_path_factory):
    """Two classes of 32x32 photographs: noise."""
    root = tmp_path_factory.mktemp("images")
    for number in range(24):
        path = root / ("test" if number % 3 == 0 else "train") / ("red", "green")[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = torch.randint(256, (32, 32, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(number))
        Image.fromarray(pixels.numpy()).save(path)
    return root


DATA = {
    "digits": ["data=digits"],
    "folder": ["data=image_folder", "data.root={root}", "data.valid=0.25"],
    "gray folder": ["data=image_folder", "data.root={root}", "data.valid=0.25", "data.channels=1"],
    "folder in workers": ["data=image_folder", "data.root={root}", "data.valid=0.25", "data.memory_limit_gib=0"],
}
# how a data set is read means nothing to a network: one with patches and one without are enough
PAIRS = [(data, name) for data in ("digits", "folder") for name in NETWORKS]
PAIRS += [(data, name) for data in ("gray folder", "folder in workers") for name in ("cnn", "patch_set")]


@pytest.mark.parametrize(("data", "network"), PAIRS)
def test_debug_runs_every_network_on_every_small_data_set(train, folder_of_images, network, data):
    overrides = [override.format(root=folder_of_images) for override in DATA[data]]
    folder = train(*overrides, f"model={network}", "debug=True", "experiment_name=__debug__")
    assert record(folder)["status"] == "finished"
    assert not (folder / "checkpoints").exists()
    assert folder.parts[-3] == "__debug__"


@pytest.mark.parametrize("scheduler", ["none", "cosine", "onecycle", "two_cycles", "step", "plateau"])
def test_every_scheduler(train, scheduler):
    options = ["scheduler.scheduler.step_size=1"] if scheduler == "step" else []
    folder = train(
        "data=digits",
        "model=cnn",
        "hparams.max_epochs=2",
        "hparams.lr=0.001",
        "data.limit_train=200",
        "loggers=none",
        f"scheduler={scheduler}",
        *options,
    )
    state = torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)
    (group,) = state["optimizer_states"][0]["param_groups"]
    if scheduler == "onecycle":
        assert (group["max_lr"], group["lr"] < 1e-3) == (1e-3, True)
    else:
        expected = {"none": 1e-3, "plateau": 1e-3, "step": 1e-5, "cosine": 0, "two_cycles": 4e-9}[scheduler]
        assert group["lr"] == pytest.approx(expected, abs=1e-8)


@pytest.mark.parametrize(
    "options",
    [
        ("data.limit_train=8",),
        ("+trainer.max_steps=10",),
        ("+trainer.max_steps=3",),  # less than an epoch: without a validation
        ("+trainer.limit_train_batches=2",),
        ("trainer.accumulate_grad_batches=4",),
        ("hparams.optimizer=Adagrad",),
    ],
)
def test_the_default_cycle_is_as_long_as_the_training(train, options):
    folder = train("data=digits", "model=lenet", "hparams.max_epochs=2", "callbacks=[basic]", "loggers=none", *options)
    state = torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)
    assert state["lr_schedulers"][0]["total_steps"] == state["global_step"] > 0


def test_a_folder_that_holds_a_run_is_refused_and_nothing_touched(train, command, capsys, tmp_path):
    options = ("data=digits", "model=cnn", "hparams.max_epochs=1", "data.limit_train=64", "loggers=none")
    folder = tmp_path / "mine"
    assert command("train", *options, f"hydra.run.dir={folder}") == 0

    def files():
        return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}

    before = files()
    capsys.readouterr()
    assert command("train", *options, "hparams.lr=0.1", f"hydra.run.dir={folder}") == 1
    assert capsys.readouterr().err.startswith("error: hydra.run.dir=mine holds a run: resume=mine continues it")
    assert files() == before
    assert command("train", f"resume={folder}", "hparams.max_epochs=2") == 0  # which continues it
    assert command("evaluate", f"run={folder}") == 0


def test_no_validation_at_all(train):
    options = ("hparams.max_epochs=1", "data.valid=0", "hparams.patience=3", "loggers=none")
    folder = train("data=digits", "model=cnn", *options)
    run = record(folder)
    assert run["best_score"] is run["best_epoch"] is run["best_checkpoint"] is None
    assert "test_accuracy" in run["metrics"]
    assert run["last_metrics"].items() < run["metrics"].items(), "the last weights are tested"
    assert not any(name.startswith("valid") for name in run["metrics"])
    assert [path.name for path in (folder / "checkpoints").iterdir()] == ["last.ckpt"]


def test_training_can_be_watched_without_validation(train):
    watch = ("hparams.monitor=train_loss", "hparams.monitor_mode=min")
    run = record(train("data=digits", "model=cnn", "hparams.max_epochs=1", "data.valid=0", "loggers=none", *watch))
    assert run["best_score"] == pytest.approx(run["metrics"]["train_loss"])


def test_early_stopping(train):
    # at lr=1e-12 nothing improves after the first epoch
    options = ("hparams.max_epochs=9", "hparams.patience=1", "hparams.lr=1e-12", "loggers=none")
    folder = train("data=digits", "model=lenet", *options)
    assert max(int(row["epoch"]) for row in metrics(folder) if row["train_loss"]) < 8


def test_a_checkpoint_every_k_epochs(train):
    every = ("callbacks=[basic,every_k_epochs]", "callbacks.every_k_epochs.every_n_epochs=2")
    folder = train("data=digits", "model=lenet", "hparams.max_epochs=4", "loggers=none", *every)
    names = {path.name for path in (folder / "checkpoints").iterdir()}
    assert names == {"best.ckpt", "last.ckpt", "epoch=1.ckpt", "epoch=3.ckpt"}


def test_lr_0_searches_and_records(train):
    folder = train("data=digits", "model=cnn", "hparams.max_epochs=3", "hparams.lr=0")
    run = record(folder)
    assert run["lr"] not in (0, 1e-3)
    state = torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)
    assert state["optimizer_states"][0]["param_groups"][0]["max_lr"] == run["lr"]
    assert run["metrics"]["test_accuracy"] > 0.8  # 0.1 at a rate that is far off


def test_lr_0_with_debug_says_what_it_takes(train):
    folder = train("data=digits", "model=cnn", "debug=True", "hparams.lr=0")
    assert record(folder)["lr"] == 1e-3
    assert "lr=0.001" in (folder / "train.log").read_text()


def test_trainer_arguments_of_every_day(train):
    options = (
        "trainer.gradient_clip_val=1",
        "trainer.accumulate_grad_batches=2",
        "trainer.precision=bf16-mixed",
    )
    assert record(train("data=digits", "model=cnn", "hparams.max_epochs=1", *options))["status"] == "finished"


def test_two_workers_change_nothing(train):
    command = ("data=digits", "hparams.max_epochs=1", "data.crop_padding=1", "loggers=none")
    alone, helped = train(*command), train(*command, "data.num_workers=2")
    assert (alone / "metrics.csv").read_bytes() == (helped / "metrics.csv").read_bytes()


@pytest.mark.processes
def test_a_grid_makes_a_numbered_folder_per_job(command, tmp_path):
    grid = ("hparams.batch_size=32,64", "hparams.optimizer=SGD,Adam", "-m")
    assert command("train", "data=digits", "model=lenet", "hparams.max_epochs=1", "loggers=none", *grid) == 0
    (sweep,) = tmp_path.glob("multirun/Default/*/*")
    runs = [record(sweep / str(number)) for number in range(4)]
    assert {(run["settings"]["hparams.batch_size"], run["settings"]["hparams.optimizer"]) for run in runs} == {
        (size, name) for size in (32, 64) for name in ("SGD", "Adam")
    }
    assert all(run["status"] == "finished" for run in runs)


class Returned(HydraCallback):
    """A record of the values that Hydra gives to a sweep at the end of each job."""

    values: ClassVar[list[float]] = []

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **_: Any) -> None:
        self.values.append(job_return.return_value)


def test_the_value_that_a_sweep_optimises(train, monkeypatch):
    monkeypatch.setitem(sys.modules, "returned", SimpleNamespace(Returned=Returned))
    returned = "+hydra.callbacks.returned._target_=returned.Returned"
    folder = train("data=digits", "model=cnn", "hparams.max_epochs=1", "loggers=none", returned)
    assert Returned.values == [record(folder)["best_score"]]


def test_a_crash_is_recorded_with_its_traceback(command, tmp_path, capsys):
    fault = ("+callbacks.fault._target_=faults.Crash", "+callbacks.fault.batch=1")
    assert command("train", "data=digits", "model=cnn", "loggers=none", *fault) == 1
    (folder,) = tmp_path.glob("outputs/*/*/*")
    run = record(folder)
    assert run["status"] == "failed"
    assert run["error"] == "RuntimeError: crashed on purpose"
    assert "Traceback" in (folder / "train.log").read_text()
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.processes
def test_as_a_process_from_another_folder(tmp_path):
    arguments = [
        sys.executable,
        str(REPOSITORY / "src" / "train.py"),
        "data=digits",
        "model=cnn",
        "debug=True",
    ]
    done = subprocess.run(arguments, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (run,) = tmp_path.glob("outputs/Default/*/*/run.json")
    assert json.loads(run.read_text())["command"].endswith("src/train.py data=digits model=cnn debug=True")
    assert "Warning" not in done.stderr
