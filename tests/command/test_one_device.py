"""evaluate, predict and visualize compute on one of the devices of the run."""

import pytest
import torch
from omegaconf import OmegaConf

from command.one_device import build_trainer


@pytest.mark.parametrize(
    ("accelerator", "devices", "gpus", "expected"),
    [
        ("gpu", [2], 4, [2]),
        ("auto", [2, 3], 4, [2]),
        ("cpu", [2], 4, 1),
        ("auto", [2], 0, 1),  # of a run that comes from another machine
        ("gpu", [2], 1, 1),
        ("gpu", 4, 4, 1),
        ("auto", "auto", 4, 1),
    ],
)
def test_the_first_of_the_devices_listed(monkeypatch, accelerator, devices, gpus, expected):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    trainer = {"_target_": "builtins.dict", "accelerator": accelerator, "devices": devices}
    built = build_trainer(OmegaConf.create({"trainer": trainer}))
    assert built["devices"] == expected
    assert built["strategy"] == "auto"


def test_a_list_is_no_obstacle_on_the_processor():
    trainer = {"_target_": "pytorch_lightning.Trainer", "accelerator": "cpu", "devices": [2]}
    assert build_trainer(OmegaConf.create({"trainer": trainer})).num_devices == 1
