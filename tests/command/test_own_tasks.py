"""A task of one's own says what it measures: a misspelt hparams.monitor is refused before a run folder exists."""

import pytest
from omegaconf import OmegaConf
from torch import nn
from torchmetrics import MeanAbsoluteError

from command import own_tasks
from process.errors import UserError
from task.task import Task


def config(monitor, mode="min", *tasks):
    names = tasks or ("own",)
    return OmegaConf.create(
        {
            "task": {name: {"_target_": "own.Task"} for name in names},
            "model": {"_target_": "model.TaskModule", "network": {}},
            "hparams": {"monitor": monitor, "monitor_mode": mode},
        }
    )


class Undeclared(Task):
    def step_metrics(self, outputs_BK, targets, inputs):
        return {"width": outputs_BK.mean()}


class Declared(Undeclared):
    steps = {"width": None, "coverage": True}


class Validated(Declared):
    measured_by_steps = True


class ValidatedUndeclared(Undeclared):
    measured_by_steps = True


def built(kind):
    return kind(1, nn.L1Loss(), {"mae": MeanAbsoluteError()})


@pytest.mark.parametrize(
    ("kind", "monitor", "choices"),
    [
        (Task, "valid_mea", "valid_loss, valid_mae, train_loss"),
        (Task, "train_mae", "valid_loss, valid_mae, train_loss"),
        (Undeclared, "valid_width", "valid_loss, valid_mae, train_loss"),
        (Declared, "train_widht", "valid_loss, valid_mae, train_loss, train_width, train_coverage"),
        (Declared, "valid_width", "valid_loss, valid_mae, train_loss, train_width, train_coverage"),
        (
            Validated,
            "valid_widht",
            "valid_loss, valid_mae, valid_width, valid_coverage, train_loss, train_width, train_coverage",
        ),
        (ValidatedUndeclared, "test_width", "valid_loss, valid_mae, train_loss"),
    ],
)
def test_a_name_that_is_not_measured(kind, monitor, choices):
    with pytest.raises(UserError) as refused:
        own_tasks.refuse_unmeasured(config(monitor), {"own": built(kind)})
    assert str(refused.value) == f"hparams.monitor={monitor}: no such metric; choose from {choices}"


@pytest.mark.parametrize(
    ("kind", "monitor"),
    [
        (Task, "valid_mae"),
        (Undeclared, "train_width"),
        (Declared, "train_width"),
        (Validated, "valid_width"),
        (ValidatedUndeclared, "valid_width"),
    ],
)
def test_a_name_that_is_or_may_be_measured(kind, monitor):
    own_tasks.refuse_unmeasured(config(monitor), {"own": built(kind)})


def test_names_of_several_tasks():
    tasks = {"one": built(Task), "two": built(Declared)}
    for monitor in ("valid_two_mae", "valid_one_loss", "train_two_width"):
        own_tasks.refuse_unmeasured(config(monitor, "min", *tasks), tasks)
    with pytest.raises(
        UserError, match="valid_mae: no such metric; choose from valid_loss, valid_one_loss, valid_one_"
    ):
        own_tasks.refuse_unmeasured(config("valid_mae", "min", *tasks), tasks)


@pytest.mark.parametrize(("monitor", "mode", "better"), [("valid_mae", "max", "lower"), ("train_coverage", "min", "h")])
def test_the_wrong_direction(monitor, mode, better):
    with pytest.raises(UserError, match=f"hparams.monitor={monitor}: the {better}"):
        own_tasks.refuse_unmeasured(config(monitor, mode), {"own": built(Declared)})


def test_only_tasks_of_ones_own_are_built_and_not_for_the_loss():
    assert own_tasks.asked_for_monitor(config("valid_loss")) == []
    assert own_tasks.asked_for_monitor(config("valid_mae")) == ["own"]
    known = config("valid_mae", "min", "known", "own")
    known.task.known.metrics = {"_target_": "task.metrics.regression", "names": ["mae"]}
    assert own_tasks.asked_for_monitor(known) == ["own"]
