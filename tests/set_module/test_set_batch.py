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
    for ours, theirs in zip(batch, SETS, strict=True):
        assert torch.equal(ours, theirs)


def test_a_prefix_holds_the_first_elements_of_each_set():
    prefix = SetBatch.from_list(SETS).prefix(2)
    assert prefix.max_len == 2
    for ours, whole in zip(prefix, SETS, strict=True):
        assert torch.equal(ours, whole[:2])
    with pytest.raises(ValueError, match="n=0: a set has at least one element"):
        prefix.prefix(0)


def test_empty_set_is_refused_by_its_number():
    with pytest.raises(ValueError, match="set 1 is empty"):
        SetBatch(torch.randn(3, 2), torch.tensor([2, 0, 1]))
    with pytest.raises(ValueError, match="set 0 is empty"):
        SetBatch(torch.randn(1, 2), torch.tensor([-1, 2]))


@pytest.mark.parametrize("lengths", [[2, 2], [1, 1], [9]])
def test_lengths_that_do_not_add_up_are_refused(lengths):
    with pytest.raises(ValueError, match=f"add up to {sum(lengths)} but there are 3"):
        SetBatch(torch.randn(3, 2), torch.tensor(lengths))


def test_lengths_may_be_a_list():
    assert SetBatch(torch.randn(3, 2), [2, 1]).index.tolist() == [0, 0, 1]


def test_any_iterable_of_tensors_is_packed():
    for sets in ((s for s in SETS), tuple(SETS)):
        assert SetBatch.from_list(sets).lengths.tolist() == [3, 1, 4]
    assert SetBatch.from_list(torch.arange(12).view(2, 3, 2)).lengths.tolist() == [3, 3]


def test_a_saved_batch_is_loaded_as_data(tmp_path):
    torch.save({"train": SetBatch.from_list(SETS)}, tmp_path / "sets.pt")
    loaded = torch.load(tmp_path / "sets.pt", weights_only=True)["train"]
    assert torch.equal(loaded.values, torch.cat(SETS))
    assert (loaded.lengths.tolist(), loaded.max_len) == ([3, 1, 4], 4)


@pytest.mark.parametrize("key", [torch.tensor([[0, 1], [1, 2]]), None, True])
def test_a_key_of_another_dimension_is_refused(key):
    with pytest.raises(IndexError, match="one dimension"):
        SetBatch.from_list(SETS)[key]


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
    assert [s.tolist() for s in other] == [[0, 1, 2], [3], [4, 5, 6, 7]]
    with pytest.raises(ValueError, match="7 values for 8 elements"):
        batch.with_values(torch.arange(7))


def test_lightning_moves_every_tensor():
    moved = move_data_to_device((SetBatch.from_list(SETS), torch.zeros(3)), torch.device("meta"))[0]
    assert {moved.values.device.type, moved.lengths.device.type, moved.index.device.type} == {"meta"}
    assert moved.max_len == 4


def test_padding_and_back_whatever_the_filling():
    batch = SetBatch.from_list(SETS)
    for fill in (0.0, 1e4, torch.nan):
        x, mask = batch.pad(fill)
        assert x.shape == (3, 4, 2)
        assert mask.sum(1).tolist() == [3, 1, 4]
        assert torch.equal(x[~mask], torch.full((4, 2), fill)) or x[~mask].isnan().all()
        back = SetBatch.from_padded(x, mask)
        assert torch.equal(back.values, batch.values)
        assert (back.lengths.tolist(), back.index.tolist(), back.max_len) == ([3, 1, 4], batch.index.tolist(), 4)


def test_elements_need_not_stand_at_the_front_of_a_padded_set():
    x = torch.arange(6.0).view(2, 3, 1)
    batch = SetBatch.from_padded(x, torch.tensor([[False, True, True], [True, False, False]]))
    assert [s.flatten().tolist() for s in batch] == [[1, 2], [3]]
    assert batch.max_len == 2


def test_a_mask_that_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="set 1 is empty"):
        SetBatch.from_padded(torch.zeros(2, 1, 3), torch.tensor([[True], [False]]))
    with pytest.raises(ValueError, match=r"give a bool for each of the \[2, 3\] slots"):
        SetBatch.from_padded(torch.zeros(2, 3, 1), torch.ones(2, 2, dtype=torch.bool))
    with pytest.raises(ValueError, match=r"mask is torch\.float32"):
        SetBatch.from_padded(torch.zeros(2, 3, 1), torch.ones(2, 3))


def test_map_acts_on_all_elements_at_once():
    batch = SetBatch.from_list(SETS)
    assert torch.equal(batch.map(torch.Tensor.relu).values, batch.values.relu())


@pytest.mark.parametrize("number", [0, 1, 2, -1, -3, torch.tensor(2)])
def test_a_number_gives_the_elements_of_one_set(number):
    assert torch.equal(SetBatch.from_list(SETS)[number], SETS[number])


@pytest.mark.parametrize(
    ("key", "numbers"),
    [
        (torch.tensor([2, 0, 2]), [2, 0, 2]),
        (torch.tensor([-1, 0]), [2, 0]),
        (torch.tensor([False, True, True]), [1, 2]),
        ([1, 0], [1, 0]),
        ([True, False, False], [0]),
        (slice(1, None), [1, 2]),
        (slice(None, None, 2), [0, 2]),
        (slice(-2, -1), [1]),
        (range(1, 3), [1, 2]),
    ],
    ids=str,
)
def test_a_slice_a_mask_or_numbers_give_the_sets_in_their_order(key, numbers):
    chosen = SetBatch.from_list(SETS)[key]
    assert chosen.lengths.tolist() == [len(SETS[number]) for number in numbers]
    assert chosen.max_len == max(chosen.lengths)
    assert chosen.index.tolist() == [i for i, number in enumerate(numbers) for _ in SETS[number]]
    for ours, number in zip(chosen, numbers, strict=True):
        assert torch.equal(ours, SETS[number])


def test_chosen_sets_are_copies_and_one_set_is_a_view():
    batch = SetBatch.from_list(SETS)
    batch[:2].values.zero_()
    assert torch.equal(batch.values, torch.cat(SETS))
    batch[1].zero_()
    assert batch.values[3].tolist() == [0, 0]


def test_gradients_reach_the_elements_that_were_chosen():
    values = torch.randn(8, 2, requires_grad=True)
    batch = SetBatch(values, torch.tensor([3, 1, 4]))
    (batch[[2, 2]].values.sum() + 5 * batch[1].sum()).backward()
    assert values.grad[:, 0].tolist() == [0, 0, 0, 5, 2, 2, 2, 2]


def test_no_such_set_and_no_set_are_refused():
    batch = SetBatch.from_list(SETS)
    for key in (3, -4, [0, 3], torch.tensor([True, False]), (0, 0)):
        with pytest.raises(IndexError):
            batch[key]
    for key in (slice(0, 0), [], torch.zeros(3, dtype=torch.bool)):
        with pytest.raises(ValueError, match="no set was chosen"):
            batch[key]


def test_a_batch_is_true_whatever_its_values():
    assert SetBatch(torch.zeros(1, 2), torch.tensor([1]))


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_the_repr_is_one_short_line_which_reads_no_values(device):
    batch = SetBatch.from_list([torch.zeros(3, 1, 15, 15, dtype=torch.uint8)] * 2).to(device)
    expected = f"SetBatch(2 sets of at most 3 elements, values [6, 1, 15, 15], torch.uint8, {device})"
    assert repr(batch) == expected


def test_shuffle_permutes_within_each_set_and_every_order_occurs():
    batch = SetBatch.from_list([torch.arange(3), torch.tensor([9]), torch.arange(20, 22)])
    generator = torch.Generator().manual_seed(0)
    orders = set()
    for _ in range(100):
        first, second, third = batch.shuffle(generator)
        assert sorted(first.tolist()) == [0, 1, 2]
        assert second.tolist() == [9]
        assert sorted(third.tolist()) == [20, 21]
        orders.add(tuple(first.tolist()))
    assert len(orders) == 6
    again = [batch.shuffle(torch.Generator().manual_seed(1)).values.tolist() for _ in range(2)]
    assert again[0] == again[1]


def test_subsample_draws_without_replacement_and_keeps_small_sets_whole():
    batch = SetBatch.from_list([torch.arange(5), torch.tensor([9]), torch.arange(20, 22)])
    generator = torch.Generator().manual_seed(0)
    seen = torch.zeros(5)
    for _ in range(500):
        part = batch.subsample(2, generator)
        assert part.lengths.tolist() == [2, 1, 2]
        assert part.index.tolist() == [0, 0, 1, 2, 2]
        assert part.max_len == 2
        first, second, third = part
        assert len(set(first.tolist())) == 2
        assert second.tolist() == [9]
        assert sorted(third.tolist()) == [20, 21]
        seen[first] += 1
    assert seen.min() > 150  # of 200 expected
    assert batch.subsample(50).lengths.tolist() == [5, 1, 2]
    with pytest.raises(ValueError, match="choose >= 1"):
        batch.subsample(0)


def test_torch_export_takes_sets_as_an_argument():
    class Total(torch.nn.Module):
        def forward(self, batch: SetBatch) -> torch.Tensor:
            return batch.with_values(2 * batch.values).values.sum()

    batch = SetBatch.from_list(SETS)
    program = torch.export.export(Total(), (batch,)).module()
    torch.testing.assert_close(program(batch), 2 * batch.values.sum())
