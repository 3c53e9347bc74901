"""The LightningModule of docs/extending.md, in a copy of the project: it trains, resumes and is a start."""

import csv
import json
import os
import re
import shutil

import pytest
import torch
import warm
from resumed import SHORT, assert_same
from runs import REPOSITORY, record

pytestmark = pytest.mark.processes  # trainings in a process of their own

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
WATCHED = ("hparams.monitor=valid_size", "hparams.monitor_mode=min")
FAULT = "+callbacks.fault={_target_: faults.Crash, batch: 8}"
TRAININGS = {  # name -> arguments; all in one process
    "whole": [*MINE],  # on the default callbacks and loggers
    "broken": [*MINE, "loggers=none", FAULT],
    "resumed": ["resume=broken", "~callbacks.fault"],
    "classifier": [*SHORT, "hparams.max_epochs=1", "loggers=none", "init_from=whole"],
    "misnamed": [*MINE, "loggers=none", "hparams.monitor=train_recn", "hparams.patience=3"],
    "misnamed without validation": [*MINE, "loggers=none", "hparams.monitor=train_recn", "data.valid=0"],
    "plain": [*SHORT, *EVERY_BATCH, "loggers=none", "model=plain", *WATCHED],
}
SEVERAL = """
import json, os, runpy, sys
for name, arguments in json.loads(sys.argv[1]).items():
    folder = [] if name == "resumed" else [f"hydra.run.dir='{name}'"]
    sys.argv = [f"{os.getcwd()}/src/train.py", *arguments, *folder]
    print(f"=== {name}", flush=True)
    try:
        runpy.run_path(sys.argv[0], run_name="__main__")
    except SystemExit as stop:
        print("exit code", stop.code, flush=True)
"""


def shown():
    """The two files that docs/extending.md shows for another LightningModule."""
    page = (REPOSITORY / "docs" / "extending.md").read_text(encoding="utf-8")
    section = page.partition("## Another LightningModule\n")[2].partition("\n## ")[0]
    files = dict(re.findall(r"^`([\w./]+)`:\n\n```\w+\n(.*?)^```", section, re.MULTILINE | re.DOTALL))
    return files["src/mine.py"], files["config/model/mine.yaml"]


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
def said(project):
    """Return the output of each training on the terminal."""
    path = os.pathsep.join([str(project / "src"), str(REPOSITORY / "tests" / "support")])
    script = project / "several.py"
    script.write_text(SEVERAL)
    variables = os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    process = warm.Process(str(script), json.dumps(TRAININGS), cwd=project, variables=variables, merged=True)
    stdout, _ = process.communicate()
    assert process.returncode == 0, stdout
    parts = stdout.split("=== ")[1:]
    return {name: text for name, _, text in (part.partition("\n") for part in parts)}


def test_it_is_short():
    assert len(shown()[0].splitlines()) <= 45


def curve(folder, name):
    with (folder / "metrics.csv").open(newline="") as file:
        return [float(row[name]) for row in csv.DictReader(file) if row[name]]


def test_trains_on_the_defaults_and_is_watched_by_its_own_name(project, said):
    assert "exit code" not in said["whole"], said["whole"]
    whole = project / "whole"
    facts = record(whole)
    assert facts["status"] == "finished"
    assert facts["best_checkpoint"] == "checkpoints/best.ckpt"
    assert {"train_recon", "valid_recon", "test_recon"} == {name for name in facts["metrics"] if "recon" in name}
    assert facts["best_score"] == min(curve(whole, "valid_recon")) < 0.2
    assert all(len(curve(whole, name)) == 5 for name in ("train_recon_step", "lr", "grad_norm", "examples"))
    weights = torch.load(whole / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
    learned = [weight.numel() for name, weight in weights.items() if "embed.0." not in name]
    assert facts["parameters"] == sum(learned)  # those of the lazy layer too


def test_callbacks_that_need_logits_are_left_out(said):
    names = "confusion_matrix, labels, scatter, worst_images, evidence, order_of_looking"
    lacking = "test_logits, test_values or test_labels"
    assert said["whole"].count(f"callbacks: {names} are left out: MaskedPatches has no {lacking}") == 1
    assert said["whole"].count("left out") == 1


def test_resumes_bit_for_bit_in_the_middle_of_an_epoch(project, said):
    assert "crashed on purpose" in said["broken"]
    assert "exit code" not in said["resumed"], said["resumed"]
    assert_same(project / "whole", project / "broken")


def test_a_classifier_starts_from_its_weights(said):
    assert "exit code" not in said["classifier"], said["classifier"]
    assert re.search(r"\d+ of \d+ weights from .*best.ckpt", said["classifier"])
    assert "decoder.0.weight is not in the network" in said["classifier"]
    assert "network.head.0.0.weight is missing in the checkpoint" in said["classifier"]


@pytest.mark.parametrize(
    ("name", "logged"), [("misnamed", "valid_recon, train_recon"), ("misnamed without validation", "train_recon")]
)
def test_a_name_that_is_never_logged_ends_the_run_in_one_line(said, name, logged):
    line = f"error: hparams.monitor=train_recn: no such metric was logged; choose one of {logged}\nexit code 1\n"
    assert said[name].endswith(line)


def test_a_plain_module_trains_without_what_needs_more(project, said):
    assert "exit code" not in said["plain"], said["plain"]
    assert record(project / "plain")["status"] == "finished"
    assert record(project / "plain")["best_score"] == min(curve(project / "plain", "valid_size"))
    assert "callbacks.throughput is left out: Plain has no step_metrics" in said["plain"]
    assert "order_of_looking are left out: Plain has no test_logits, test_values or test_labels" in said["plain"]
    assert "no test: Plain has no test_step" in said["plain"]
