"""The logits of the test set, against the training's own test and the network's forward pass."""

import json

import pytest
import torch

from explore.test_set_logits import compute_logits, evenly_spaced


@pytest.mark.parametrize("comment", ["patches", "cnn"])
def test_what_is_measured_is_what_the_run_recorded(comment, opened_run):
    run = opened_run(comment)
    seen = []
    logits = compute_logits(run, torch.arange(len(run.source)), None, seen.append)
    accuracy = (logits.argmax(1) == run.source.targets).float().mean().item()
    recorded_accuracy = json.loads((run.folder / "run.json").read_text())["metrics"]["test_accuracy"]
    assert accuracy == pytest.approx(recorded_accuracy, abs=1e-6)
    assert seen[-1] == 1


def test_a_number_of_patches_is_that_of_the_network(opened_run):
    run = opened_run("patches")
    index = torch.tensor([3, 200])
    logits = compute_logits(run, index, 5, lambda _: None)
    run.network.patch_num = 5
    assert torch.allclose(logits, run.network(run.source.inputs(index), index), atol=1e-6)


def test_evenly_spaced_numbers():
    assert evenly_spaced(100, 4).tolist() == [0, 25, 50, 75]
    assert evenly_spaced(3, 500).tolist() == [0, 1, 2]
