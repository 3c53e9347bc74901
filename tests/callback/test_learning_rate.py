from functools import partial

import pytest
import torch
from small_fit import classifier, fit

from callback.learning_rate import LearningRate


def test_the_rate_of_the_logged_step_not_of_the_next(tmp_path):
    halving = {"scheduler": partial(torch.optim.lr_scheduler.StepLR, step_size=1, gamma=0.5), "interval": "step"}
    _, rows = fit([LearningRate()], [4] * 4, tmp_path, classifier(scheduler=halving), log_every_n_steps=2)
    assert [row["lr"] for row in rows] == pytest.approx([0.05, 0.0125])


def test_a_name_for_each_of_several_groups(tmp_path):
    def two_groups(parameters, lr, **_):
        weight, bias = parameters
        return torch.optim.SGD([{"params": [weight], "lr": 2 * lr}, {"params": [bias], "name": "bias"}], lr=lr)

    _, (row,) = fit([LearningRate()], [4], tmp_path, classifier(two_groups))
    assert {name: value for name, value in row.items() if name.startswith("lr")} == {"lr/0": 0.2, "lr/bias": 0.1}
