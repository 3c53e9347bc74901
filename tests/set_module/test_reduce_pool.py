import pytest
import torch

from set_module.reduce_pool import ReducePool
from set_module.set_batch import SetBatch


def test_reductions_stand_side_by_side_in_their_order():
    values = torch.tensor([[1.0, -1.0], [3.0, -5.0], [7.0, 7.0]])
    pool = ReducePool(in_features=2, reductions=["max", "sum", "min", "mean", "std"])
    pooled = pool(SetBatch(values, torch.tensor([2, 1])))
    assert pool.out_features == 10
    expected = [[3, -1, 4, -6, 1, -5, 2, -3, 1, 2], [7, 7, 7, 7, 7, 7, 7, 7, 0, 0]]
    torch.testing.assert_close(pooled, torch.tensor(expected, dtype=torch.float))


def test_works_under_autocast():
    pool = ReducePool(2, ["mean", "max", "std", "sum", "min"])
    values = torch.randn(5, 2, dtype=torch.bfloat16, requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16):
        pool(SetBatch(values, torch.tensor([4, 1]))).float().sum().backward()
    assert values.grad.isfinite().all()


@pytest.mark.parametrize("reductions", [["mean", "median"], ["Max"]])
def test_unknown_reduction_is_refused_with_the_valid_ones(reductions):
    with pytest.raises(ValueError, match="choose from sum, mean, max, min, std"):
        ReducePool(2, reductions)


@pytest.mark.parametrize("reductions", [[], "mean"])
def test_a_list_of_at_least_one_is_asked_for(reductions):
    with pytest.raises(ValueError, match="give a list of at least one"):
        ReducePool(2, reductions)
