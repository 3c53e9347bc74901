"""Folders and files from somebody else: what they name is refused in one line before it runs, and trust=true runs it."""

import json
import shutil
from pathlib import Path

import pytest
import yaml
from module_run import trained
from resumed import SHORT

from command import trust
from run import signature

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


TOUCH = "call:subprocess.getoutput,'touch hacked'"
HOSTILE = {
    "a function that is called": (lambda f: override(f, f"hparams.lr=${{{TOUCH}}}"), "subprocess.getoutput"),
    "a function that is built": (
        lambda f: override(f, "loss._target_=subprocess.getoutput", "+loss.cmd='touch hacked'"),
        "subprocess.getoutput",
    ),
    "another project's code": (
        lambda f: override(f, "model.network={_target_:torch.hub.load,repo_or_dir:.,source:local,model:x}"),
        "torch.hub.load",
    ),
    "a module that one of ours imports": (
        lambda f: override(f, "model.network={_target_:run.folder.subprocess.run,args:[touch,hacked]}"),
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
        lambda f: override(f, "+a=subprocess.", "model.network={_target_:'${a}getoutput',cmd:'touch hacked'}"),
        "subprocess.getoutput",
    ),
    "a node out of another setting": (
        lambda f: override(f, "+a={_target_:subprocess.getoutput,cmd:'touch hacked'}", "model.network=${a}"),
        "subprocess.getoutput",
    ),
    "a node that a resolver makes": (
        lambda f: override(f, "model.network=${oc.create:{_target_:subprocess.getoutput,cmd:'touch hacked'}}"),
        "${oc.create:}",
    ),
    "a name that changes with the time": (
        lambda f: override(f, "model.network={_target_:'subprocess.${now:getoutput}',cmd:'touch hacked'}"),
        "${now:}",
    ),
    "an interpolation that is joined": (
        lambda f: override(f, "+a='$'", "+b='{call:subprocess.getoutput,touch hacked}'", "experiment_name=${a}${b}"),
        "${call:subprocess.getoutput",
    ),
    "an interpolation that is joined with a resolver of ours": (
        lambda f: override(f, "+a='${mixed_sizes:}'", "+b='${a}{call:subprocess.getoutput,touch hacked}'"),
        "...{call:",
    ),
    "an escaped interpolation": (
        lambda f: override(f, "+a='\\${call:subprocess.getoutput,touch hacked}'"),
        "subprocess.getoutput",
    ),
    "a path that is written": (lambda f: override(f, "callbacks.best.dirpath=/etc"), "dirpath=/etc"),
    "a file that loggers upload": (lambda f: override(f, "guard.artifacts.end=[../../key]"), "artifacts=../../key"),
    "an option of Hydra": (lambda f: override(f, "--config-dir=/tmp"), "--config-dir=/tmp"),
    "a setting of Hydra": (
        lambda f: override(f, "+hydra.callbacks.x._target_=subprocess.getoutput"),
        "+hydra.callbacks.x",
    ),
    "a setting of Hydra, doubled": (lambda f: override(f, "++hydra.job.env_set.A=b"), "hydra.job.env_set"),
    "another run": (lambda f: override(f, "resume=/tmp"), "resume=/tmp"),
    "a callback of Hydra": (
        lambda f: insert(f, "  callbacks:\n", "    x: {_target_: subprocess.getoutput, cmd: touch hacked}\n"),
        "subprocess.getoutput",
    ),
    "another callback of Hydra": (
        lambda f: write(f, "data/digits.yaml", "\nhydra:\n  callbacks:\n    x:\n      _target_: os.system\n"),
        "os.system",
    ),
    "a factory of logging": (
        lambda f: write(f, "hydra/job_logging/patch_sets.yaml", "filters:\n  x:\n    (): subprocess.getoutput\n"),
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
COMMANDS = {
    "predict": ("input=digit.png",),
    "evaluate": (),
    "export": (),
    "visualize": (),
    "train": (),
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
    for script, words in COMMANDS.items():
        before = sorted(theirs.rglob("*"))
        setting = "resume" if script == "train" else "run"
        assert command(script, f"{setting}={theirs}", *words) == 1
        refused(capsys, name)
        assert sorted(theirs.rglob("*")) == before
