import pytest
import torch

from callback.checkpoint import AtomicCheckpointIO


class Unwritable:
    def __reduce__(self):
        raise RuntimeError("in the middle of writing")


def test_a_failure_in_the_middle_leaves_the_previous_checkpoint(tmp_path):
    path = tmp_path / "checkpoints" / "last.ckpt"
    AtomicCheckpointIO().save_checkpoint({"epoch": 1, "weights": torch.ones(1000)}, path)
    with pytest.raises(RuntimeError, match="in the middle"):
        AtomicCheckpointIO().save_checkpoint({"weights": torch.zeros(1000), "last": Unwritable()}, path)
    assert torch.load(path, weights_only=True)["epoch"] == 1
    assert list(path.parent.iterdir()) == [path]
