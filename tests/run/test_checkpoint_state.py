"""The states that resume= reads from a checkpoint: each is refused by its name if it is of another type."""

import copy
import random

import numpy
import pytest
import torch

from run.checkpoint_state import is_small, other_kind, wrong_state


def checkpoint():
    weight = torch.nn.Parameter(torch.ones(3))
    optimizer = torch.optim.Adam([weight], lr=0.1)
    weight.sum().backward()
    optimizer.step()
    kind, keys, *rest = numpy.random.get_state()
    states = {
        "python": random.getstate(),
        "numpy": [kind, torch.from_numpy(keys.astype("int64")), *rest],
        "torch": torch.get_rng_state(),
        "cuda": [],
    }
    return {
        "epoch": 2,
        "global_step": 20,
        "pytorch-lightning_version": "2.6.6",
        "state_dict": {},
        "loops": {
            "fit_loop": {"epoch_progress": {"current": {"ready": 2}}, "state_dict": {"combined_loader": [{"a": 1}]}}
        },
        "callbacks": {"Best": {"best_k_models": {"best.ckpt": torch.tensor(0.9)}, "best_model_path": "best.ckpt"}},
        "optimizer_states": [optimizer.state_dict()],
        "lr_schedulers": [{"last_epoch": 3}],
        "run_state": {
            "random": [states],
            "loggers": {"csv": {"rows": 4}},
            "metrics": {"valid_loss": float("nan")},
            "validated_epoch": 1,
            "should_stop": False,
            "seconds": {"seconds": 2.4, "cpu_seconds": 0.5},
            "lr": None,
            "settings": "data: digits\n",
        },
        "training_log": {"lr": 0.1, "sums": [{"step": {}, "epoch": {"loss": (torch.ones(()), 1)}}, None]},
    }


def test_a_whole_checkpoint_has_no_wrong_state():
    assert wrong_state(checkpoint()) is None


def test_a_run_that_has_logged_nothing_and_a_loader_of_ones_own_can_be_resumed():
    own = checkpoint()
    own["run_state"]["loggers"]["tensorboard"] = {"last_step": -1}
    own["loops"]["fit_loop"]["state_dict"] = {"combined_loader": [{"worker": b"state", "seen": (1, "a")}]}
    del own["run_state"]["metrics"], own["run_state"]["seconds"]  # as in checkpoints of older versions
    assert wrong_state(own) is None


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("epoch",), "2"),
        (("global_step",), -1),
        (("loops",), None),
        (("loops", "fit_loop", "epoch_progress"), {"current": "2"}),
        (("loops", "fit_loop", "epoch_progress", "current", "ready"), -5),
        (("loops", "fit_loop", "state_dict"), {"combined_loader": [{"epoch": 2, "batch": "3"}]}),
        (("loops", "fit_loop", "epoch_loop.state_dict"), {"_batches_that_stepped": None}),
        (("callbacks",), []),
        (("callbacks", "Best"), 3),
        (("callbacks", "Best", "best_k_models"), {3: 0.9}),
        (("callbacks", "Best", "best_model_path"), ["best.ckpt"]),
        (("callbacks", "Best", "best_model_path"), "checkpoints/../../../thesis"),
        (("optimizer_states",), {}),
        (("optimizer_states", 0, "state"), []),
        (("optimizer_states", 0, "state", 0), None),
        (("optimizer_states", 0, "state", 0, "exp_avg"), torch.ones(3).to_sparse()),
        (("optimizer_states", 0, "param_groups"), [3]),
        (("lr_schedulers",), [3]),
        (("run_state",), {}),
        (("run_state", "random", 0, "python"), (3, (1, 2), None)),
        (("run_state", "random", 0, "numpy"), None),
        (("run_state", "random", 0, "torch"), torch.ones(3)),
        (("run_state", "random"), []),
        (("run_state", "loggers", "csv"), {"rows": "4"}),
        (("run_state", "loggers", "csv"), {"rows": torch.ones(2)}),
        (("run_state", "should_stop"), "no"),
        (("run_state", "seconds"), {"seconds": None}),
        (("run_state", "settings"), b"data"),
        (("training_log", "sums"), [{}]),
        (("training_log", "sums"), []),
        (("training_log", "sums"), [{"step": torch.ones(2).to_sparse(), "epoch": {}}]),
    ],
)
def test_a_state_of_another_type_is_refused_by_its_name(path, value):
    damaged = copy.deepcopy(checkpoint())
    node = damaged
    for key in path[:-1]:
        node = node[key]
    node[path[-1]] = value
    assert wrong_state(damaged).startswith(f"{path[0]} must be ")
    del damaged[path[0]]
    if path[0] in ("loops", "run_state", "callbacks", "optimizer_states", "lr_schedulers"):
        assert wrong_state(damaged) == f"it has no {path[0]}"


@pytest.mark.parametrize(
    ("before", "after", "name"),
    [
        ({"lr": 0.1, "fused": True}, {"lr": torch.tensor(0.2), "fused": None}, None),
        ({"lr": 0.1}, {"lr": "0.1"}, "x.lr"),
        ({"lr": 0.1}, {"lr": True}, "x.lr"),
        ({"lr": 0.1}, {"lr": torch.ones(2)}, "x.lr"),
        ([{"betas": (0.9, 0.99)}], [{"betas": [0.9, "b"]}], "x.betas"),
        ([{"betas": (0.9, 0.99)}], {}, "x"),
        ({"mode": "min"}, {"mode": 3}, "x.mode"),
        ({"nested": {"a": False}}, {"nested": {"a": 0}}, "x.nested.a"),
        ({"old": 1}, {"new": []}, None),
    ],
)
def test_the_kind_of_a_restored_value(before, after, name):
    assert other_kind(before, after, "x") == name


def test_nesting_and_size_are_limited():
    assert is_small({"a": [list(range(1000)), (torch.ones(10**6),)]})
    assert not is_small(list(range(2_000_000)))
