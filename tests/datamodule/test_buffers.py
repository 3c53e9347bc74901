import pickle

import torch

from datamodule.buffers import Buffers


def test_memory_is_used_again_once_nothing_refers_to_it_and_not_before():
    buffers = Buffers(torch.float16)
    first = buffers.empty(10, 4)
    assert (first.shape, first.dtype) == ((10, 4), torch.float16)
    view, address = first[3:5].fill_(7), first.data_ptr()
    del first
    second = buffers.empty(10, 4).fill_(1)
    assert second.data_ptr() != address, "a view keeps it"
    assert view.unique().tolist() == [7]
    del view
    third = buffers.empty(12, 4)  # a quarter is spare
    assert third.data_ptr() == address
    del second, third
    assert buffers.empty(20, 4).shape == (20, 4)  # larger than any


def test_a_copy_for_another_process_is_empty():
    copy = pickle.loads(pickle.dumps(Buffers(torch.float32)))
    assert copy.empty(2, 3).dtype == torch.float32
