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


def test_ranks_share_each_epoch():
    for size, world_size in ((10, 2), (11, 2), (3, 4)):
        orders = [EpochOrder(size, 0, 1, rank, world_size) for rank in range(world_size)]
        shares = [list(order) for order in orders]
        assert {len(share) for share in shares} == {len(orders[0])} == {-(-size // world_size)}
        together = [i for group in zip(*shares, strict=True) for i in group]
        assert together[:size] == list(EpochOrder(size, 0, 1))  # the images of a step are those of one process


def test_a_resumed_epoch_starts_later():
    order = EpochOrder(10, seed=0)
    batches = ResumableBatches(order, 3, False)
    order.set_epoch(3)
    whole = [batch.tolist() for batch in batches]
    batches.resumed = 3, 2
    assert [batch.tolist() for batch in batches] == whole[2:]
    order.set_epoch(4)
    assert len([*batches]) == len(batches) == 4
