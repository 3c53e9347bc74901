from functools import partial
from itertools import chain

import pytest
import torch
from pytorch_lightning.callbacks import ModelCheckpoint
from recording_model import Recorder

from datamodule.max_regression import MaxRegression
from process.errors import UserError

pytestmark = pytest.mark.filterwarnings("ignore:.*LeafSpec.*:FutureWarning")
REFILLED = "ignore:Checkpoint directory .* exists and is not empty"


@pytest.fixture
def maxima(settings):
    facts = {"channels": None, "image_size": None, "features": 1, "num_classes": None, "target_shape": []}
    drawn = {"set_size": [1, 6], "steps_per_epoch": 3, "valid_sets": 6, "test_sets": 5}
    return lambda **changes: MaxRegression(**settings | facts | drawn | changes)


def epochs(data, numbers):
    """Return the batches of the epochs as lists (elements, lengths, targets, index)."""
    loader = data.train_dataloader()
    found = []
    for epoch in numbers:
        loader.batch_sampler.sampler.set_epoch(epoch)
        found.append([plain(batch) for batch in loader])
    return found


def plain(batch):
    sets, targets, index = batch
    return sets.values.flatten().tolist(), sets.lengths.tolist(), targets.tolist(), index.tolist()


def test_every_step_has_new_sets_of_all_sizes(maxima):
    data = maxima(set_size=[2, 4], steps_per_epoch=40)
    seen, sizes = set(), torch.zeros(5)
    for epoch in epochs(data, (0, 1)):
        assert len(epoch) == 40
        for values, lengths, targets, _ in epoch:
            sets = torch.tensor(values).split(lengths)
            assert targets == [float(each.max()) for each in sets]
            seen |= set(values)
            sizes += torch.bincount(torch.tensor(lengths), minlength=5)
    assert len(seen) > 0.99 * sum(size * count for size, count in enumerate(sizes.tolist()))
    assert min(seen) >= 0
    assert max(seen) <= 100
    assert sizes[:2].sum() == 0
    assert sizes[2:].min() > 80  # of 320 sets
    assert [index for epoch in epochs(data, (0, 2)) for *_, batch in epoch for index in batch] == [
        *range(160),
        *range(320, 480),
    ]


def test_a_step_is_a_function_of_seed_and_step(maxima):
    state = torch.get_rng_state()
    assert epochs(maxima(), (0, 1)) == epochs(maxima(), (0, 1))
    assert epochs(maxima(), (1,))[0] != epochs(maxima(seed=1), (1,))[0]
    assert epochs(maxima(steps_per_epoch=6), (0,))[0] == list(chain(*epochs(maxima(steps_per_epoch=3), (0, 1))))
    assert torch.equal(state, torch.get_rng_state())


@pytest.mark.parametrize("world_size", [2, 4])
def test_ranks_share_the_sets_of_a_step(maxima, world_size):
    alone = epochs(maxima(batch_size=8), (0, 1))
    ranks = []
    for rank in range(world_size):
        data = maxima(batch_size=8 // world_size)
        data._epoch_and_ranks = lambda rank=rank: (0, rank, world_size)
        ranks.append(epochs(data, (0, 1)))
    for epoch in range(2):
        for step in range(3):
            values, lengths, targets, index = alone[epoch][step]
            sets = [each.tolist() for each in torch.tensor(values).split(lengths)]
            for rank in range(world_size):
                mine = ranks[rank][epoch][step]
                assert mine[0] == list(chain(*sets[rank::world_size]))
                assert mine[1:] == (lengths[rank::world_size], targets[rank::world_size], index[rank::world_size])


def test_validation_and_test_are_always_the_same_and_differ(maxima):
    def fixed(data, part):
        return [plain(batch) for batch in data.ordered_dataloader(part)]

    for part in ("valid", "test"):
        assert fixed(maxima(), part) == fixed(maxima(seed=1, split_seed=2, steps_per_epoch=9), part)
    assert fixed(maxima(), "valid")[0] != fixed(maxima(), "test")[0]
    assert maxima().summary() == {"train": 12, "valid": 6, "test": 5, "split_hash": None}
    assert not maxima(valid_sets=0).has_valid
    assert not maxima(test_sets=0).has_test
    assert maxima(valid_sets=0).val_dataloader() == []


def test_sets_of_exactly_n_are_drawn_anew(maxima):
    batches = list(maxima().sized_dataloader("test", 50))
    assert [sets.lengths.tolist() for sets, _, _ in batches] == [[50] * 4, [50]]
    for sets, targets, _ in batches:
        assert targets.tolist() == [float(each.max()) for each in sets]
    assert maxima(test_sets=0).sized_dataloader("test", 2) is None


def test_the_first_epoch_stands_for_the_training_sets(maxima):
    data = maxima()
    (first,) = epochs(data, (0,))
    assert [plain(batch) for batch in data.ordered_dataloader("train")] == first
    assert data.targets("train").tolist() == [target for _, _, targets, _ in first for target in targets]
    assert data.own_index(torch.tensor([5000])).tolist() == [5000]


def test_sets_are_subsampled_anew_in_each_epoch(maxima):
    whole, part = epochs(maxima(), (0, 1)), epochs(maxima(max_elements=2), (0, 1))
    for all_values, (values, lengths, targets, index) in zip(chain(*whole), chain(*part), strict=True):
        assert lengths == [min(2, n) for n in all_values[1]]
        assert set(values) < set(all_values[0])
        assert (targets, index) == all_values[2:]


@pytest.mark.filterwarnings(REFILLED)
@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("stop_at", [(0, 1), (1, 0), (1, 2)])
def test_resume_in_the_middle_of_an_epoch(maxima, trainer, tmp_path, workers, stop_at):
    whole, crashed, resumed = Recorder(), Recorder(), Recorder()
    trainer().fit(whole, maxima())
    crashed.stop_at = stop_at

    def every_step():
        return ModelCheckpoint(tmp_path, "last", every_n_train_steps=1, enable_version_counter=False)

    build = partial(trainer, enable_checkpointing=True)
    with pytest.raises(KeyError, match="crash"):
        build(callbacks=[every_step()]).fit(crashed, maxima(num_workers=workers))
    build(callbacks=[every_step()]).fit(
        resumed, maxima(num_workers=workers), ckpt_path=tmp_path / "last.ckpt", weights_only=True
    )
    seen = [plain(batch) for model in (crashed, resumed) for epoch in model.trained for batch in model.trained[epoch]]
    assert seen == [plain(batch) for epoch in range(3) for batch in whole.trained[epoch]]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"set_size": [4, 2]}, r"data.set_size=\[4, 2\]: give the smallest number first"),
        ({"limit_train": 7}, "data.limit_train=7: these data have no end"),
        ({"fold": 1}, "data.fold=1: these data have no end"),
        ({"balanced": True}, "drawn anew: data.balanced=false"),
    ],
)
def test_settings_of_tables_are_refused(maxima, changes, words):
    with pytest.raises(UserError, match=words):
        maxima(**changes)
