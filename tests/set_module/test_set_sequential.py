import pytest
import torch
from torch import nn

from set_module.reduce_pool import ReducePool
from set_module.set_batch import SetBatch
from set_module.set_sequential import SetSequential

SETS = SetBatch.from_list([torch.randn(3, 2), torch.randn(1, 2)])


def test_plain_modules_act_on_each_element_by_itself():
    linear = nn.Linear(2, 3)
    out = SetSequential(linear, nn.ReLU())(SETS)
    assert torch.equal(out.lengths, SETS.lengths)
    for set_in, set_out in zip(SETS, out, strict=True):
        torch.testing.assert_close(set_out, linear(set_in).relu())


def test_once_pooled_they_act_on_vectors():
    head = nn.Linear(4, 5)
    network = SetSequential(SetSequential(nn.ReLU()), ReducePool(2, ["sum", "max"]), head)
    expected = torch.stack([torch.cat([s.relu().sum(0), s.relu().amax(0)]) for s in SETS])
    torch.testing.assert_close(network(SETS), head(expected))


def test_a_set_module_within_a_plain_module_is_refused():
    with pytest.raises(TypeError, match="Sequential holds a set module"):
        SetSequential(nn.Sequential(nn.ReLU(), ReducePool(2, ["sum"])))


def test_a_set_module_after_the_pool_is_refused():
    pool = ReducePool(2, ["sum"])
    with pytest.raises(TypeError, match="ReducePool comes after the pool"):
        SetSequential(pool, pool)(SETS)
