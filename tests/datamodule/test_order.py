import torch
from torch.utils.data import BatchSampler

from datamodule.order import EpochOrder, ResumableBatches


def test_order_is_a_function_of_seed_and_epoch():
    order, again = EpochOrder(50, seed=1), EpochOrder(50, seed=1)
    first = list(order)
    assert sorted(first) == list(range(50))
    order.set_epoch(1)
    assert list(order) != first
    order.set_epoch(0)
    assert list(order) == first == list(again)
    assert list(EpochOrder(50, seed=2)) != first


def test_batches_are_those_of_torch():
    for drop_last in (False, True):
        order = EpochOrder(10, seed=0)
        ours = [batch.tolist() for batch in ResumableBatches(order, 3, drop_last)]
        assert ours == list(BatchSampler(order, 3, drop_last))
        wrapped = [int(i) for i in torch.arange(10)]  # what stands there when Lightning distributes the sampler
        assert [batch.tolist() for batch in ResumableBatches(wrapped, 3, drop_last)] == list(
            BatchSampler(wrapped, 3, drop_last)
        )


def test_one_pass_starts_later():
    batches = ResumableBatches(EpochOrder(10, seed=0), 3, False)
    whole = [batch.tolist() for batch in batches]
    batches.start = 2
    assert [batch.tolist() for batch in batches] == whole[2:]
    assert [batch.tolist() for batch in batches] == whole
    assert len(batches) == 4
