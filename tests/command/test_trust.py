"""Folders and files from somebody else: what they name is refused before it runs, and trust=true runs it."""

import json
import os
import re
import shutil
import sys
from pathlib import Path

import pytest
import yaml
from module_run import trained
from PIL import Image
from resumed import SHORT
from runs import REPOSITORY

from command import trust
from run import signature
from run.folder import shown

OPTIONS = (*SHORT, "model=cnn", "hparams.max_epochs=1", "loggers=none", "callbacks=[basic]")
DIGIT = "digit.png"


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    return trained(tmp_path_factory.mktemp("finished"), *OPTIONS)


@pytest.fixture
def own(finished, tmp_path):
    return Path(shutil.copytree(finished, tmp_path / "theirs"))


@pytest.fixture
def theirs(own):
    """A run folder that another account has signed."""
    (own / signature.NAME).write_text(json.dumps({"config": "0" * 64, "source": "0" * 64}))
    return own


def override(folder: Path, *words: str) -> None:
    path = folder / ".hydra" / "overrides.yaml"
    path.write_text(yaml.safe_dump([*yaml.safe_load(path.read_text()), *words]))


def write(folder: Path, name: str, text: str) -> None:
    """Add lines to a YAML of the recorded config."""
    path = folder / "source" / "config" / name
    path.write_text(path.read_text() + text)


def insert(folder: Path, after: str, lines: str) -> None:
    """Add lines to the recorded config.yaml after the last place that holds `after`."""
    path = folder / "source" / "config" / "config.yaml"
    before, found, rest = path.read_text().rpartition(after)
    assert found
    path.write_text(before + after + lines + rest)


LOGGING = "patch_sets.yaml"
TOUCH = "call:subprocess.getoutput,'touch hacked'"
HOSTILE = {
    "a function that is called": (lambda f: override(f, f"hparams.lr=${{{TOUCH}}}"), "subprocess.getoutput"),
    "a function that is built": (
        lambda f: override(f, "loss._target_=subprocess.getoutput", "+loss.cmd='touch hacked'"),
        "subprocess.getoutput",
    ),
    "another project's code": (
        lambda f: override(f, "~model.network", "+model.network={_target_:torch.hub.load,model:x}"),
        "torch.hub.load",
    ),
    "a module that one of ours imports": (
        lambda f: override(
            f, "~model.network", "+model.network={_target_:run.folder.subprocess.run,args:[touch,hacked]}"
        ),
        "run.folder.subprocess.run",
    ),
    "a module that torch imports": (
        lambda f: override(f, "optimizer._target_=torch.optim.adam.torch.hub.load"),
        "torch.optim.adam.torch.hub.load",
    ),
    "an optimizer that is none": (
        lambda f: override(f, "hparams.optimizer=adam.torch.hub.load"),
        "torch.optim.adam.torch.hub.load",
    ),
    "a name out of another setting": (
        lambda f: override(f, "+a=subprocess.", "loss._target_='${a}getoutput'", "+loss.cmd='touch hacked'"),
        "subprocess.getoutput",
    ),
    "a node out of another setting": (
        lambda f: override(
            f, "+a={_target_:subprocess.getoutput,cmd:'touch hacked'}", "~model.network", "+model.network=${a}"
        ),
        "subprocess.getoutput",
    ),
    "a node that a resolver makes": (
        lambda f: override(f, "~model.network", '+model.network="${oc.create:{_target_: subprocess.getoutput}}"'),
        "${oc.create:}",
    ),
    "a name that changes with the time": (
        lambda f: override(f, "loss._target_='subprocess.${now:getoutput}'", "+loss.cmd='touch hacked'"),
        "${now:}",
    ),
    "an interpolation that is joined": (
        lambda f: override(f, "+a='$'", "+b='{call:subprocess.getoutput,touch hacked}'", "experiment_name=${a}${b}"),
        "${call:subprocess.getoutput",
    ),
    "an interpolation that is joined with a resolver of ours": (
        lambda f: override(f, "+a='${mixed_sizes:}'", "+b='${a}{call:subprocess.getoutput,touch hacked}'"),
        "${...}{call:",
    ),
    "an escaped interpolation": (
        lambda f: override(f, "+a='\\${call:subprocess.getoutput,touch hacked}'"),
        "subprocess.getoutput",
    ),
    "a path that is written": (lambda f: override(f, "callbacks.best.dirpath=/etc"), "dirpath=/etc"),
    "a path without a name": (
        lambda f: override(f, "+callbacks.x={_target_: callback.checkpoint.LastCheckpoint, _args_: [/etc]}"),
        "_args_=['/etc']",
    ),
    "a name that logging imports": (
        lambda f: insert(f, "verbosity: ", "${oc.env:NOWHERE,'ext://antigravity'} # "),
        "verbosity=",
    ),
    "a link": (lambda f: (f / "train.log").unlink() or (f / "train.log").symlink_to("/tmp/x"), "theirs/train.log"),
    "a linked folder": (lambda f: (f / "source" / "home").symlink_to("/"), "theirs/source/home"),
    "a pipe": (lambda f: os.mkfifo(f / "predict.log"), "theirs/predict.log"),
    "a file that loggers upload": (lambda f: override(f, "guard.artifacts.end=[../../key]"), "artifacts=../../key"),
    "an option of Hydra": (lambda f: override(f, "--config-dir=/tmp"), "--config-dir=/tmp"),
    "a setting of Hydra": (
        lambda f: override(f, "+hydra.callbacks.x._target_=subprocess.getoutput"),
        "+hydra.callbacks.x",
    ),
    "a setting of Hydra, doubled": (lambda f: override(f, "++hydra.job.env_set.A=b"), "hydra.job.env_set"),
    "another run": (lambda f: override(f, "resume=/tmp"), "resume="),
    "a callback of Hydra": (
        lambda f: insert(f, "  callbacks:\n", "    x: {_target_: subprocess.getoutput, cmd: touch hacked}\n"),
        "subprocess.getoutput",
    ),
    "another callback of Hydra": (
        lambda f: write(f, "data/digits.yaml", "\nhydra:\n  callbacks:\n    x:\n      _target_: os.system\n"),
        "os.system",
    ),
    "a factory of logging": (
        lambda f: write(f, f"hydra/job_logging/{LOGGING}", "filters:\n  x:\n    (): subprocess.getoutput\n"),
        "subprocess.getoutput",
    ),
    "a variable of the environment": (
        lambda f: insert(f, "hydra:\n", "  job:\n    env_set:\n      LD_PRELOAD: evil.so\n"),
        "hydra.job.env_set.LD_PRELOAD",
    ),
    "a search path": (lambda f: insert(f, "hydra:\n", "  searchpath: [pkg://antigravity]\n"), "hydra.searchpath"),
    "a function in the defaults list": (
        lambda f: (f / "source/config/config.yaml").write_text(
            (f / "source/config/config.yaml").read_text().replace("- loss: cross_entropy", f"- loss: ${{{TOUCH}}}")
        ),
        "subprocess.getoutput",
    ),
}


def refused(capsys, name: str) -> str:
    said = capsys.readouterr()
    assert said.err.startswith("error: ")
    assert said.err.count("\n") == 1
    assert name in said.err
    assert not Path("hacked").exists()
    return said.err


@pytest.mark.parametrize("what", HOSTILE)
def test_a_hostile_folder_is_refused_before_anything_runs(theirs, command, capsys, what):
    change, name = HOSTILE[what]
    change(theirs)
    before = sorted(theirs.rglob("*"))
    assert command("predict", f"run={theirs}", "input=digit.png") == 1
    refused(capsys, name)
    assert sorted(theirs.rglob("*")) == before


@pytest.mark.parametrize("script", ["evaluate", "export", "visualize", "train"])
def test_each_command_refuses_it(theirs, command, capsys, script):
    opened = f"resume={theirs}" if script == "train" else f"run={theirs}"
    for what in ("a function that is called", "a factory of logging"):
        change, name = HOSTILE[what]
        change(theirs)
        assert command(script, opened) == 1
        refused(capsys, name)
        for asking in (("--help",), ("--cfg", "all", "--resolve")):
            command(script, opened, *asking)
            assert not Path("hacked").exists()
        capsys.readouterr()


def test_a_search_path_imports_nothing(theirs, command, capsys):
    HOSTILE["a search path"][0](theirs)
    before = set(sys.modules)
    assert command("train", f"resume={theirs}", "hparams.max_epochs=2") == 1
    refused(capsys, "hydra.searchpath=pkg://antigravity")
    assert "antigravity" not in set(sys.modules) - before


def test_ordinary_targets_of_a_stranger_work(theirs, command, capsys):
    assert command("evaluate", f"run={theirs}", "verbosity=0") == 0
    assert command("train", f"resume={theirs}", "hparams.max_epochs=2") == 0
    assert not signature.is_own(theirs)


def test_code_of_ones_own_works_until_it_is_edited(command, train, capsys):
    custom = ("+callbacks.fault={_target_: faults.Crash, batch: 99}", "callbacks.progress_bar._target_=faults.Quiet")
    folder = train(*OPTIONS, *custom)
    assert signature.is_own(folder)
    assert command("evaluate", f"run={folder}") == 0
    assert command("train", f"resume={folder}", "hparams.max_epochs=2") == 0
    assert signature.is_own(folder)  # of what it is now
    path = folder / ".hydra" / "overrides.yaml"
    path.write_text(path.read_text() + "- comment=x\n")
    capsys.readouterr()
    assert command("evaluate", f"run={folder}") == 1
    assert "its config names faults.Crash, faults.Quiet" in refused(capsys, "trust=true")
    assert command("evaluate", f"run={folder}", "trust=true", "verbosity=0") == 0
    assert capsys.readouterr().err == f"trusts {shown(folder)}: its config names faults.Crash, faults.Quiet\n"


def test_a_network_that_this_repository_lacks(theirs, command, capsys):
    (theirs / "source/src/network/theirs.py").write_text("class Net: ...")
    override(theirs, "model.network._target_=network.theirs.Net")
    assert command("evaluate", f"run={theirs}") == 1
    line = refused(capsys, "network.theirs.Net")
    assert "read theirs/source/src/network/theirs.py and copy it to src/network/theirs.py" in line
    assert "src/rerun.py theirs trust=true" in line


def test_the_switch(theirs, command, capsys):
    assert command("evaluate", f"run={theirs}", "trust=yes") == 1
    refused(capsys, "trust=yes: must be true or false")
    assert command("evaluate", f"run={theirs}", "trust=false", "+hparams.x=${now:x}") == 1
    refused(capsys, "${now:}")


def test_code_of_a_stranger_runs_only_by_the_switch(theirs, command, capsys):
    (theirs / "source" / "src" / "train.py").write_text("open('hacked', 'w')")
    assert command("rerun", str(theirs)) == 1
    refused(capsys, "the code in it would run")
    (theirs / "sweep.json").write_text(json.dumps({"arguments": ["-m"], "resumed": [], "command": "", "git": None}))
    assert command("train", f"resume_sweep={theirs}") == 1
    refused(capsys, "the code in it would run")


@pytest.mark.processes
def test_the_switch_runs_the_code_of_a_stranger(theirs, command, capfd):
    (theirs / "source" / "src" / "train.py").write_text("print('runs')\nraise SystemExit(3)")
    assert command("rerun", str(theirs), "trust=true") == 3
    said = capfd.readouterr()
    assert "runs the code in theirs/source" in said.err
    assert said.out.endswith("runs\n")


SETTINGS = {
    "- hydra.callbacks.x._target_=os.system": "hydra.callbacks.x._target_",
    "hydra: {job_logging: {filters: {x: {(): os.system}}}}": "hydra.job_logging",
    "- hydra/launcher=joblib": "hydra/launcher",
    "- data@hydra.callbacks=digits": "data@hydra.callbacks",
    "- --config-dir=/tmp": "--config-dir=/tmp",
    "- 'loss._target_=subprocess.getoutput'": "subprocess.getoutput",
    "- '+model.x={a: [{_target_: subprocess.getoutput}]}'": "subprocess.getoutput",
    "- 'loss._target_=torch.nn.NLLLoss,subprocess.getoutput'": "subprocess.getoutput",
    "- 'loss._target_=choice(torch.nn.NLLLoss,subprocess.getoutput)'": "subprocess.getoutput",
    "- '+model.x={_target_:\"torch.${y}\"}'": "torch.${y}",
    "loss: {_target_: 'torch.optim.${hparams.optimizer}'}": "torch.optim.${hparams.optimizer}",
    "hparams: {lr: '${call:subprocess.getoutput,touch hacked}'}": "subprocess.getoutput",
    "comment: '$'": "$",
    "callbacks: {best: {dirpath: /etc}}": "dirpath=/etc",
    "- 'callbacks.best={dirpath: /etc}'": "dirpath=/etc",
    "- 'callbacks={best: {dirpath: /etc}}'": "dirpath=/etc",
    "- 'guard.artifacts.end=[/etc/passwd]'": "artifacts=/etc/passwd",
    "- '+callbacks.x={_target_: callback.checkpoint.LastCheckpoint, _args_: [/etc]}'": "_args_=['/etc']",
    "- '+callbacks.last._args_=[/etc]'": "_args_=['/etc']",
    "- +data@_global_.hydra.callbacks=digits": "data@_global_.hydra.callbacks",
    "- data=../../elsewhere/theirs": "data=../../elsewhere/theirs",
    "- +experiment=/elsewhere/theirs": "experiment=/elsewhere/theirs",
}


@pytest.mark.parametrize("text", SETTINGS)
def test_a_hostile_settings_file_is_refused(command, capsys, tmp_path, text):
    (tmp_path / "theirs.yaml").write_text(text)
    assert command("train", "-c", "theirs.yaml") == 1
    refused(capsys, SETTINGS[text])
    assert [path.name for path in tmp_path.iterdir()] == ["theirs.yaml"]


def test_a_name_that_is_too_long_for_a_file_is_one_line(command, capsys, tmp_path):
    (tmp_path / "theirs.yaml").write_text("- " + "a" * 5000 + "=1")
    assert command("train", "-c", "theirs.yaml") == 1
    refused(capsys, "too long")


def test_a_settings_file_does_not_trust_itself(command, capsys, tmp_path):
    (tmp_path / "theirs.yaml").write_text("trust: true\nloss: {_target_: os.system}")
    assert command("train", "-c", "theirs.yaml") == 1
    refused(capsys, "trust= is typed in the command")


def test_optimizers_are_classes_of_torch_optim(command, capsys):
    assert command("train", "hparams.optimizer=adam.torch.hub.load") == 1
    refused(capsys, "hparams.optimizer=adam.torch.hub.load: must be the name of a class of torch.optim")


def test_settings_files_that_are_the_users(command, capsys, own, tmp_path):
    """Files that an own run has signed are accepted, and any file by the switch."""
    (own / "mine.yaml").write_text("loss: {_target_: torch.nn.functional.x}")
    assert command("train", "-c", str(own / "mine.yaml"), "data=nowhere") == 1
    refused(capsys, "torch.nn.functional.x")
    for file, words in ((own / "mine.yaml", ["trust=true"]), (own / ".hydra" / "overrides.yaml", [])):
        assert command("train", "-c", str(file), *words, "data=nowhere") == 1
        assert "data=nowhere: no such option" in capsys.readouterr().err


PARTS = ("model.TaskModule", "network.lenet.LeNet", "task.metrics.multiclass", "torch.nn.LayerNorm", "torch.optim.SGD")
NO_PARTS = (
    *("os.system", "torch.load", "torch.hub.load", "torch.nn.utils.clip_grad_norm_", "torch.optim.adam.torch.hub.load"),
    *(
        "network.lenet.torch.hub.load",
        "network.lenet.nn.Module",
        "run.folder.subprocess.run",
        "process.files.replacing",
    ),
    *("logger.mlflow.Store", "logger.metrics_csv.Table", "torchvision.datasets.LSUN", "torchvision.models.get_model"),
    *("adapter.lightning.subprocess.Popen", "", "model", ".TaskModule", "../model.TaskModule", "/model.TaskModule"),
)


@pytest.mark.parametrize("name", PARTS)
def test_what_is_listed(name):
    assert trust.is_listed(name)


@pytest.mark.parametrize("name", NO_PARTS)
def test_what_is_not_listed(name):
    assert not trust.is_listed(name)


@pytest.mark.parametrize("path", sorted((REPOSITORY / "config").rglob("*.yaml")), ids=lambda path: path.stem)
def test_all_that_config_names_is_listed(path):
    for found in re.findall(r"_target_: ([\w.]+)", path.read_text()):
        assert trust.is_listed(found.rstrip(".")) or found == "torch.optim."


def test_a_stranger_chooses_no_file_that_is_written(theirs, command, tmp_path):
    """Only what the user types chooses the output, also in a folder that is trusted."""
    (theirs / "source/config/more").mkdir()
    (theirs / "source/config/more/theirs.yaml").write_text("# @package _global_\noutput: elsewhere.csv\n")
    override(theirs, "output=elsewhere.csv", "+more=theirs")
    Image.new("L", (28, 28)).save(DIGIT)
    for words in ((), ("trust=true",)):
        assert command("predict", f"run={theirs}", f"input={DIGIT}", "verbosity=0", *words) == 0
        (theirs / "predictions.csv").unlink()
    assert command("predict", f"run={theirs}", f"input={DIGIT}", "verbosity=0", "output=mine.csv") == 0
    assert {path.name for path in tmp_path.iterdir()} == {DIGIT, "mine.csv", "theirs"}


@pytest.mark.parametrize("option", ["--config-path=", "--config-dir="])
def test_options_of_hydra_into_the_folder_of_a_stranger(theirs, command, capsys, option):
    HOSTILE["a callback of Hydra"][0](theirs)
    assert command("train", f"{option}{theirs / 'source' / 'config'}", "data=nowhere") == 1
    refused(capsys, "which was not made by you here")
    assert command("train", f"{option}{theirs / 'source' / 'config'}", "data=nowhere", "trust=true") == 1
    assert "data=nowhere: no such option" in capsys.readouterr().err


def test_the_run_of_a_stranger_is_not_the_users_inside_of_the_repository(theirs, monkeypatch):
    monkeypatch.setattr(trust, "REPOSITORY", theirs.parent)
    (theirs / signature.NAME).unlink()
    assert not trust._is_users(theirs / ".hydra" / "overrides.yaml")
    assert trust._is_users(theirs.parent / "mine.yaml")


REPLACED = {  # the commands that are tried take turns
    "train.log": lambda path, target: path.unlink() or path.symlink_to(target / "precious"),
    "metrics.csv": lambda path, target: path.unlink() or os.mkfifo(path),
    "system.csv": lambda path, target: path.unlink(missing_ok=True) or path.symlink_to(target / "new"),
    "checkpoints": lambda path, target: shutil.move(path, target) and path.symlink_to(target / "checkpoints"),
    "figures": lambda path, target: path.symlink_to(target),
    "evaluation.json": lambda path, target: path.symlink_to("/dev/full"),
    "export": lambda path, target: path.symlink_to(target / "nowhere"),
}


@pytest.mark.parametrize("name", REPLACED)
def test_an_own_run_whose_files_lead_elsewhere_is_refused(own, command, capsys, tmp_path, name):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").write_text("kept")
    REPLACED[name](own / name, outside)
    before = {path: path.lstat().st_mtime_ns for path in sorted(tmp_path.rglob("*"))}
    script = ("train", "evaluate", "export", "visualize")[list(REPLACED).index(name) % 4]
    assert command(script, f"resume={own}" if script == "train" else f"run={own}") == 1
    line = f"theirs/{name} is a link out of the folder, or no regular file, and may be written: remove it, or add"
    assert line in refused(capsys, "trust=true")
    assert before == {path: path.lstat().st_mtime_ns for path in sorted(tmp_path.rglob("*"))}


@pytest.mark.long
def test_links_of_an_own_run_by_the_switch_and_within_it(own, command, capsys, tmp_path):
    """Checkpoints may be moved to another disk; wandb makes links within the folder."""
    (own / "latest").symlink_to("checkpoints")
    (own / "again.log").symlink_to(own / "train.log")
    (own / "circle").symlink_to("circle")
    assert command("evaluate", f"run={own}", "verbosity=0") == 0
    REPLACED["checkpoints"](own / "checkpoints", tmp_path)
    capsys.readouterr()
    assert command("train", f"resume={own}", "hparams.max_epochs=2", "verbosity=0", "trust=true") == 0
    said = capsys.readouterr().err
    assert said == "uses theirs/checkpoints, a link or no regular file, which may be written\n"
    assert (tmp_path / "checkpoints" / "last.ckpt").is_file()


def test_no_switch_lets_a_log_be_written_through_a_link(own, command, capsys, tmp_path):
    (tmp_path / "precious").write_text("kept")
    REPLACED["train.log"](own / "train.log", tmp_path)
    assert command("train", f"resume={own}", "hparams.max_epochs=2", "trust=true") == 1
    assert "theirs/train.log: it is a link or no regular file; remove it\n" in capsys.readouterr().err
    assert (tmp_path / "precious").read_text() == "kept"
