"""The README's own LightningModule, in a copy of the project: what is shown there trains, resumes and is a start."""

import json
import os
import re
import shutil
import subprocess
import sys
import textwrap

import pytest
import torch
from resumed import SHORT, assert_same
from runs import REPOSITORY, record

EVERY_BATCH = ("callbacks.last.every_n_minutes=1e-9", "+trainer.log_every_n_steps=2")
MINE = (*SHORT, *EVERY_BATCH, "hparams.max_epochs=2", "model=mine")
PLAIN = '''
import pytorch_lightning as pl
import torch


class Plain(pl.LightningModule):
    """Gives no more than Lightning asks for."""

    def __init__(self, **_):
        super().__init__()
        self.layer = torch.nn.Linear(64, 1)

    def training_step(self, batch, batch_idx):
        loss = self.layer(batch[0].flatten(1) / 255).square().mean()
        self.log("train_loss", loss)
        return loss

    def validation_step(self, batch, batch_idx):
        self.log("valid_size", self.layer(batch[0].flatten(1) / 255).abs().mean())

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.1)
'''
SEVERAL = """
import json, runpy, sys
for arguments in json.loads(sys.argv[1]):
    sys.argv = ["src/train.py", *arguments]
    try:
        runpy.run_path(sys.argv[0], run_name="__main__")
    except SystemExit as stop:
        print("exit code", stop.code, file=sys.stderr)
"""


def shown():
    """The two files that README shows for another LightningModule."""
    readme = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    item = readme[readme.index("- **another LightningModule**") :]
    code = re.search(r"\n\n((?: {6}.*\n|\n)+)", item)[1]
    python, yaml = textwrap.dedent(code).split("# @package _global_")
    return python.strip() + "\n", "# @package _global_" + yaml


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    folder = tmp_path_factory.mktemp("project")
    for name in ("src", "config"):
        shutil.copytree(REPOSITORY / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(REPOSITORY / "requirements.txt", folder)
    python, yaml = shown()
    (folder / "src" / "mine.py").write_text(python)
    (folder / "config" / "model" / "mine.yaml").write_text(yaml)
    (folder / "src" / "plain.py").write_text(PLAIN)
    (folder / "config" / "model" / "plain.yaml").write_text("# What Lightning asks for.\n_target_: plain.Plain\n")
    return folder


@pytest.fixture(scope="module")
def run(project):
    """Run train.py with each of several lists of arguments, in one process, and return what it said."""
    path = os.pathsep.join([str(project / "src"), str(REPOSITORY / "tests" / "support")])
    environment = os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"}

    def trainings(*arguments):
        command = [sys.executable, "-c", SEVERAL, json.dumps(arguments)]
        done = subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout + done.stderr

    return trainings


@pytest.fixture(scope="module")
def whole(project, run):
    """On the default callbacks and loggers."""
    said = run([*MINE, "hydra.run.dir=whole"])
    assert "exit code" not in said, said
    return project / "whole"


def test_it_is_short():
    assert len(shown()[0].splitlines()) <= 45


def test_trains_on_the_defaults_and_is_watched_by_its_own_name(whole):
    facts = record(whole)
    assert facts["status"] == "finished"
    assert facts["best_checkpoint"] == "checkpoints/best.ckpt"
    assert {"train_recon", "valid_recon", "test_recon"} == {name for name in facts["metrics"] if "recon" in name}
    assert facts["best_score"] == pytest.approx(facts["metrics"]["valid_recon"])
    assert facts["metrics"]["valid_recon"] < 0.2
    header = (whole / "metrics.csv").read_text().splitlines()[0].split(",")
    assert {"train_recon_step", "lr", "grad_norm", "examples"} <= set(header)
    weights = torch.load(whole / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
    assert facts["parameters"] == sum(weight.numel() for weight in weights.values() if weight.is_floating_point())


def test_callbacks_that_need_logits_are_left_out(whole):
    said = (whole / "train.log").read_text()
    for name in ("confusion_matrix", "worst_images", "evidence"):
        assert said.count(f"callbacks.{name} is left out: MaskedPatches has no test_logits") == 1
    assert said.count("is left out") == 3


def test_resumes_bit_for_bit_in_the_middle_of_an_epoch(project, run, whole):
    fault = "+callbacks.fault={_target_: faults.Crash, batch: 8}"
    said = run(
        [*MINE, "loggers=none", "hydra.run.dir=broken", fault],
        ["resume=broken", "~callbacks.fault"],
    )
    assert said.count("exit code 1") == 1, said
    assert "resumes" in (project / "broken" / "train.log").read_text()
    assert_same(whole, project / "broken")


def test_a_classifier_starts_from_its_weights(project, run, whole):
    said = run([*SHORT, "hparams.max_epochs=1", "loggers=none", "init_from=whole", "hydra.run.dir=classifier"])
    assert "exit code" not in said, said
    log = (project / "classifier" / "train.log").read_text()
    assert re.search(r"\d+ of \d+ weights from .*best.ckpt", log)
    assert "decoder.0.weight is not in the network" in log
    assert "network.head.0.0.weight is missing in the checkpoint" in log


def test_a_name_that_is_never_logged_ends_the_run_in_one_line(run):
    logged = "choose one of train_recon, valid_recon"
    for more in (["hparams.patience=3"], ["data.valid=0"]):
        said = run([*MINE, "loggers=none", "hparams.monitor=train_recn", *more])
        assert "error: hparams.monitor=train_recn: no such metric was logged; choose one of " in said
        assert "Traceback" not in said
        assert ("data.valid=0" in more) or logged in said


def test_a_plain_module_trains_without_what_needs_more(project, run):
    watched = ("hparams.monitor=valid_size", "hparams.monitor_mode=min")
    said = run([*SHORT, *EVERY_BATCH, "model=plain", *watched, "hydra.run.dir=plain"])
    assert "exit code" not in said, said
    facts, log = record(project / "plain"), (project / "plain" / "train.log").read_text()
    assert facts["status"] == "finished"
    assert facts["best_score"] == pytest.approx(facts["metrics"]["valid_size"])
    assert "callbacks.throughput is left out: Plain has no step_metrics" in log
    assert "callbacks.evidence is left out: Plain has no network, test_logits" in log
    assert "no test: Plain has no test_step" in log
