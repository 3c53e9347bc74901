"""A run is opened in one way: with its own classes, as a TaskModule, on one device, also from a damaged record."""

import json
import re
import shutil
from pathlib import Path

import pytest
import torch
from module_run import trained
from omegaconf import OmegaConf
from own_module import MaskedPatches
from runs import record

from command.trained_run import TrainedRun, open_run, refuse_other_classes
from process import gpus
from process.errors import UserError
from run import signature


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["b", "zz"], "class 0 is 'b' in these data, and was 'A ä' where"),
        (["A ä"], "class 1 is no class in these data, and was 'b' where"),
        (["A ä", "b", "c"], "class 2 is 'c' in these data, and was no class where"),
    ],
)
def test_the_first_class_that_differs_is_named(tmp_path, names, words):
    (tmp_path / "run.json").write_text(json.dumps({"status": "finished", "class_names": ["A ä", "b"]}))
    refuse_other_classes(tmp_path, ["A ä", "b"])
    with pytest.raises(UserError, match=re.escape(words)):
        refuse_other_classes(tmp_path, names)


@pytest.mark.parametrize("text", ['{"status": "finished"}', "{", None])
def test_without_recorded_names_any_are_accepted(tmp_path, text):
    if text is not None:
        (tmp_path / "run.json").write_text(text)
    refuse_other_classes(tmp_path, ["a"])


@pytest.fixture(scope="module")
def cnn(tmp_path_factory):
    options = ("data=digits", "model=cnn", "hparams.max_epochs=1", "loggers=none", "callbacks=[basic]")
    return trained(tmp_path_factory.mktemp("run"), *options)


@pytest.fixture
def copy(cnn, tmp_path):
    return shutil.copytree(cnn, tmp_path / "copy")


COMMANDS = [
    ("evaluate", "run={}"),
    ("predict", "run={}", "input={}/image.png"),
    ("visualize", "run={}"),
    ("export", "run={}", "output={}/files"),
]


@pytest.mark.parametrize("arguments", [*COMMANDS[:1], *COMMANDS[2:], ("train", "resume={}", "hparams.max_epochs=2")])
def test_every_command_that_needs_labels_refuses_other_classes(copy, command, capsys, arguments):
    facts = record(copy)
    facts["class_names"] = ["zero", *facts["class_names"][1:]]
    (copy / "run.json").write_text(json.dumps(facts))
    name, *settings = (argument.format(copy) for argument in arguments)
    capsys.readouterr()
    assert command(name, *settings) == 1
    error = capsys.readouterr().err.strip()
    assert error.startswith("error: class 0 is '0' in these data, and was 'zero' where")
    assert "\n" not in error
    assert record(copy) == facts, "nothing was begun"
    assert not any((copy / "files").glob("*"))


def test_another_number_of_classes_is_refused_without_recorded_names_too(copy, command, capsys):
    text = (copy / "config.yaml").read_text()
    assert "\n  num_classes: 10\n" in text
    (copy / "config.yaml").write_text(text.replace("\n  num_classes: 10\n", "\n  num_classes: 11\n"))
    (copy / "run.json").write_text("{")
    checkpoint = torch.load(copy / "checkpoints" / "best.ckpt", weights_only=True)
    weights = checkpoint["state_dict"]
    weights |= {name: torch.cat([value, value[:1]]) for name, value in weights.items() if value.shape[:1] == (10,)}
    torch.save(checkpoint, copy / "checkpoints" / "best.ckpt")
    assert command("evaluate", f"run={copy}") == 1
    assert f"these data have 10 classes, and {copy} was trained on 11" in capsys.readouterr().err


@pytest.fixture
def autoencoder(copy):
    """The run of a LightningModule that is no TaskModule, as its own YAML in config/model/ would have it."""
    (copy / "source" / "config" / "model" / "mine.yaml").write_text("_target_: own_module.MaskedPatches\n")
    overrides = copy / ".hydra" / "overrides.yaml"
    overrides.write_text(overrides.read_text().replace("model=cnn", "model=mine"))
    torch.save({"state_dict": MaskedPatches().state_dict()}, copy / "checkpoints" / "best.ckpt")
    (copy / "image.png").touch()
    signature.sign(copy)
    return copy


@pytest.mark.parametrize(
    ("arguments", "line"),
    list(
        zip(
            COMMANDS,
            [
                "evaluate.py measures a TaskModule: own_module.MaskedPatches has no network and no test_step",
                "predict.py uses a TaskModule: own_module.MaskedPatches has no network and no task",
                "visualize.py looks into a TaskModule: own_module.MaskedPatches has no network and no test_step",
                "export.py exports a TaskModule: own_module.MaskedPatches has no network and no task",
            ],
            strict=True,
        )
    ),
)
def test_what_is_no_task_module_is_refused_with_what_it_lacks(autoencoder, command, capsys, arguments, line):
    name, *settings = (argument.format(autoencoder) for argument in arguments)
    capsys.readouterr()
    assert command(name, *settings) == 1
    error = capsys.readouterr().err.strip()
    assert error.startswith(f"error: {line}")
    assert "\n" not in error
    assert not any((autoencoder / each).exists() for each in ("evaluation.json", "predictions.csv", "figures", "files"))


def test_a_network_needs_nothing_but_the_recorded_number_of_classes(copy):
    config = OmegaConf.create({"data": {"num_classes": 0}})
    assert open_run(copy, config, "best").config.data.num_classes == 10
    (copy / "config.yaml").write_text("data: [")
    assert open_run(copy, OmegaConf.create({"data": {"num_classes": 3}}), "last").config.data.num_classes == 3


def of_trainer(**trainer):
    return TrainedRun(Path(), OmegaConf.create({"trainer": trainer}), Path())


@pytest.mark.parametrize(
    ("accelerator", "devices", "gpus", "expected"),
    [
        ("gpu", [2], 4, [2]),
        ("auto", [2, 3], 4, [2]),
        ("cpu", [2], 4, 1),
        ("auto", [2], 0, 1),  # the run comes from another machine
        ("gpu", [2], 1, 1),
        ("gpu", 4, 4, 1),
        ("auto", "auto", 4, 1),
    ],
)
def test_the_first_of_the_devices_listed(monkeypatch, accelerator, devices, gpus, expected):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    built = of_trainer(_target_="builtins.dict", accelerator=accelerator, devices=devices).trainer()
    assert built["devices"] == expected
    assert built["strategy"] == "auto"


def test_the_processor_replaces_a_gpu_that_torch_cannot_use(monkeypatch):
    monkeypatch.setattr(gpus, "choose_accelerator", lambda asked: {"auto": "cpu"}[asked])
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)  # as NVML counts
    built = of_trainer(_target_="builtins.dict", accelerator="auto", devices=[2]).trainer()
    assert (built["accelerator"], built["devices"]) == ("cpu", 1)


def test_a_list_of_devices_is_accepted_on_the_processor():
    run = of_trainer(_target_="pytorch_lightning.Trainer", accelerator="cpu", devices=[2])
    assert run.trainer().num_devices == 1
