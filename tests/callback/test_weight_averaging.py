"""Averaged weights: those that are validated are those that are tested and kept, and a resumed run averages on."""

import json

import pytest
import torch
from module_run import trained
from resumed import LAST, SAVING, SHORT, assert_same
from runs import record
from weight_history import History

from callback.weight_averaging import EMA

pytestmark = pytest.mark.long  # together 50 s: each case is a training
OPTIONS = (*SHORT, *SAVING, "model=lenet_bn", "callbacks=[basic,monitor,ema]", "loggers=none")
LIGHTNINGS = "{_target_: pytorch_lightning.callbacks.EMAWeightAveraging, decay: 0.5, use_buffers: false}"
BEST = "checkpoints/best.ckpt"


def loaded(folder, name):
    return torch.load(folder / name, weights_only=True)


def averaged(steps, decay):
    """The definition, in a plain loop and double precision."""
    means = {name: value.double() for name, value in steps[0].items()}
    for t, weights in enumerate(steps[1:], start=2):
        d = min(decay, t / (9 + t))
        for name, value in weights.items():
            floats = value.is_floating_point()
            means[name] = d * means[name] + (1 - d) * value.double() if floats else value.double()
    return means


def assert_close(weights, expected):
    for name, value in expected.items():
        torch.testing.assert_close(weights[name].double(), value, rtol=1e-4, atol=1e-6, msg=name)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run of three epochs, in which each epoch is better than the one before, and its weights after each step."""
    history = "+callbacks.history._target_=weight_history.History"
    folder = trained(tmp_path_factory.mktemp("ema"), *OPTIONS, "callbacks.ema.decay=0.6", history)
    return folder, History.steps


def test_best_holds_the_averages_and_last_both(finished):
    folder, steps = finished
    assert len(steps) == 15
    epoch = loaded(folder, BEST)["epoch"]
    assert_close(loaded(folder, BEST)["state_dict"], averaged(steps[: 5 * (epoch + 1)], 0.6))
    last = loaded(folder, LAST)
    assert_close(last["state_dict"], averaged(steps, 0.6))
    assert all(torch.equal(value, steps[-1][name]) for name, value in last["current_model_state"].items())
    assert any(name.endswith("running_var") for name in last["state_dict"])
    counts = [name for name in steps[-1] if name.endswith("num_batches_tracked")]
    assert counts
    assert all(last["state_dict"][name] == 15 for name in counts)


def test_what_was_validated_and_tested_is_what_was_kept(finished, command):
    folder, _ = finished
    assert command("evaluate", f"run={folder}") == 0
    evaluation = json.loads((folder / "evaluation.json").read_text())
    run = record(folder)
    assert evaluation["test_accuracy"] == pytest.approx(run["metrics"]["test_accuracy"], abs=1e-6)
    from hydra.utils import instantiate
    from omegaconf import OmegaConf
    from pytorch_lightning import Trainer

    config = OmegaConf.load(folder / "config.yaml")
    model, data = instantiate(config.model), instantiate(config.data)
    model.load_state_dict(loaded(folder, BEST)["state_dict"])
    trainer = Trainer(accelerator="cpu", logger=False, enable_progress_bar=False, enable_model_summary=False)
    (result,) = trainer.validate(model, data, verbose=False)
    assert result["valid_accuracy"] == pytest.approx(run["best_score"], abs=1e-6)


def test_init_from_starts_with_the_averages(finished, command, tmp_path):
    folder, _ = finished
    same = (*SHORT, "model=lenet_bn", "callbacks=[basic]", "loggers=none", "hparams.max_epochs=1", "hparams.lr=1e-12")
    before = set(tmp_path.glob("outputs/*/*/*"))
    assert command("train", *same, f"init_from={folder}") == 0
    (new,) = set(tmp_path.glob("outputs/*/*/*")) - before
    weight = "network.features.0.0.weight"
    torch.testing.assert_close(loaded(new, LAST)["state_dict"][weight], loaded(folder, BEST)["state_dict"][weight])


@pytest.mark.parametrize(
    "fault",
    [
        {"batch": 8},
        {"batch": 3, "during": "validation", "fault": "Signal", "code": 143},
        {"batch": 7, "fault": "Signal", "code": 143},
    ],
    ids=["within an epoch", "interrupted in a validation", "interrupted within an epoch"],
)
def test_a_resumed_run_equals_one_that_was_never_stopped(train, command, tmp_path, fault):
    whole = train(*OPTIONS)
    before = set(tmp_path.glob("outputs/*/*/*"))
    name, code = fault.get("fault", "Crash"), fault.get("code", 1)
    options = {"_target_": f"faults.{name}", "batch": fault["batch"], "during": fault.get("during", "train")}
    options |= {"name": "SIGTERM"} if name == "Signal" else {}
    assert command("train", *OPTIONS, *(f"+callbacks.fault.{key}={value}" for key, value in options.items())) == code
    (broken,) = set(tmp_path.glob("outputs/*/*/*")) - before
    assert command("train", f"resume={broken}", "~callbacks.fault") == 0
    assert_same(whole, broken)
    assert_same_weights(whole, broken)


def assert_same_weights(one, other):
    for key in ("state_dict", "current_model_state", "averaging_state"):
        mine, theirs = loaded(one, LAST)[key], loaded(other, LAST)[key]
        assert all(torch.equal(mine[name], theirs[name]) for name in mine), key
    mine, theirs = loaded(one, BEST)["state_dict"], loaded(other, BEST)["state_dict"]
    assert all(torch.equal(mine[name], theirs[name]) for name in mine)


def test_more_epochs_go_on_from_the_weights_not_from_the_averages(train, command):
    options = (*OPTIONS, "scheduler=none")  # else the first epochs would differ
    whole, short = train(*options), train(*options, "hparams.max_epochs=2")
    assert command("train", f"resume={short}", "hparams.max_epochs=3") == 0
    assert_same_weights(whole, short)


def test_any_averaging_callback_of_lightning(train):
    options = ("model=cnn", "callbacks=[basic]", "loggers=none", f"+callbacks.mean={LIGHTNINGS}")
    folder = train(*SHORT, "hparams.max_epochs=1", *options)
    last, best = loaded(folder, LAST), loaded(folder, BEST)["state_dict"]
    assert all(torch.equal(value, last["state_dict"][name]) for name, value in best.items())
    assert not all(torch.equal(value, last["current_model_state"][name]) for name, value in best.items())


def test_without_validation_the_averages_are_tested(train, command):
    folder = train(*OPTIONS, "data.valid=0")
    assert command("evaluate", f"run={folder}", "ckpt=last") == 0
    evaluation = json.loads((folder / "evaluation.json").read_text())
    assert evaluation["test_accuracy"] == pytest.approx(record(folder)["metrics"]["test_accuracy"], abs=1e-6)


@pytest.mark.filterwarnings("ignore:Be aware that when using `ckpt_path`")
def test_averages_cannot_be_left_out_on_resume(broken_off, command, capsys):
    broken = broken_off(*OPTIONS, batch=8)
    assert command("train", f"resume={broken}", "callbacks=[basic,monitor]") == 1
    assert "resume it with that callback, callbacks=[...,ema]" in capsys.readouterr().err


def test_stochastic_weight_averaging_is_refused_before_training(command, capsys, tmp_path):
    swa = "+callbacks.swa={_target_: pytorch_lightning.callbacks.StochasticWeightAveraging, swa_lrs: 0.01}"
    assert command("train", *SHORT, "model=cnn", "loggers=none", swa) == 1
    assert "callbacks=[basic,monitor,pictures,ema]" in capsys.readouterr().err
    assert not list(tmp_path.glob("outputs/*/*/*/checkpoints/*"))


def test_other_weights_than_the_validated_ones_are_never_kept(command, capsys, tmp_path):
    halved = "+callbacks.halved._target_=weight_history.HalvedInValidation"
    assert command("train", *SHORT, "model=cnn", "callbacks=[basic]", "loggers=none", halved) == 1
    assert "error: a callback changes the weights for validation only" in capsys.readouterr().err
    assert not list(tmp_path.glob("outputs/*/*/*/checkpoints/best.ckpt"))


@pytest.mark.parametrize("decay", [-0.1, 1, 1.5])
def test_a_wrong_decay(decay):
    with pytest.raises(ValueError, match=f"decay={decay}"):
        EMA(decay)
