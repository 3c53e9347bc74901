import pytest
import torch
from pytorch_lightning.utilities import move_data_to_device

from set_module.set_batch import SetBatch

SETS = [torch.randn(3, 2), torch.randn(1, 2), torch.randn(4, 2)]


def test_list_round_trip_with_cached_index():
    batch = SetBatch.from_list(SETS)
    assert batch.lengths.tolist() == [3, 1, 4]
    assert batch.index.tolist() == [0, 0, 0, 1, 2, 2, 2, 2]
    assert batch.max_len == 4
    assert isinstance(batch.max_len, int)
    assert len(batch) == 3
    for ours, theirs in zip(batch.to_list(), SETS, strict=True):
        assert torch.equal(ours, theirs)


def test_empty_set_is_refused_by_its_number():
    with pytest.raises(ValueError, match="set 1 is empty"):
        SetBatch(torch.randn(3, 2), torch.tensor([2, 0, 1]))
    with pytest.raises(ValueError, match="set 0 is empty"):
        SetBatch(torch.randn(1, 2), torch.tensor([-1, 2]))


@pytest.mark.parametrize("lengths", [[2, 2], [1, 1], [9]])
def test_lengths_that_do_not_add_up_are_refused(lengths):
    with pytest.raises(ValueError, match=f"add up to {sum(lengths)} but there are 3"):
        SetBatch(torch.randn(3, 2), torch.tensor(lengths))


@pytest.mark.parametrize("lengths", [torch.tensor([[3]]), torch.tensor([3.0]), torch.tensor([], dtype=torch.int64)])
def test_lengths_are_an_int64_vector(lengths):
    with pytest.raises(ValueError, match="int64 vector"):
        SetBatch(torch.randn(3, 2), lengths)


def test_no_set_is_refused():
    with pytest.raises(ValueError, match="at least one"):
        SetBatch.from_list([])


def test_with_values_keeps_the_sets():
    batch = SetBatch.from_list(SETS)
    other = batch.with_values(torch.arange(8))
    assert [s.tolist() for s in other.to_list()] == [[0, 1, 2], [3], [4, 5, 6, 7]]
    with pytest.raises(ValueError, match="7 values for 8 elements"):
        batch.with_values(torch.arange(7))


def test_lightning_moves_every_tensor():
    moved = move_data_to_device((SetBatch.from_list(SETS), torch.zeros(3)), torch.device("meta"))[0]
    assert {moved.values.device.type, moved.lengths.device.type, moved.index.device.type} == {"meta"}
    assert moved.max_len == 4
