import torch
from torch import nn

from set_module.element_wise import ElementWise
from set_module.set_batch import SetBatch


def test_acts_on_each_element_by_itself():
    linear = nn.Linear(2, 3)
    batch = SetBatch.from_list([torch.randn(3, 2), torch.randn(1, 2)])
    out = ElementWise(linear, nn.ReLU())(batch)
    assert torch.equal(out.lengths, batch.lengths)
    for set_in, set_out in zip(batch.to_list(), out.to_list(), strict=True):
        torch.testing.assert_close(set_out, linear(set_in).relu())
