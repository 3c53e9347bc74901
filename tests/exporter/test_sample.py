import torch

from datamodule.loader import SetSource
from exporter import sample
from exporter.sample import Sample
from set_module.set_batch import SetBatch


def test_batches_of_sets_have_not_too_many_slots_after_padding(monkeypatch):
    monkeypatch.setattr(sample, "ELEMENTS", 12)
    lengths = [1, 1, 1, 1, 6, 6, 20, 1, 3]
    sets = SetBatch(torch.arange(sum(lengths))[:, None].float(), lengths)
    batches = list(Sample(SetSource(sets, torch.arange(len(lengths)))).batches(1000))
    assert [index.tolist() for _, _, index in batches] == [[0, 1, 2, 3], [4, 5], [6], [7, 8]]
    assert torch.equal(torch.cat([inputs.values for inputs, _, _ in batches]), sets.values)
    assert torch.cat([targets for _, targets, _ in batches]).tolist() == list(range(len(lengths)))


def test_batches_of_sets_have_at_most_as_many_sets_as_those_of_images():
    sets = SetBatch(torch.zeros(60, 1), torch.ones(60, dtype=torch.int64))
    batches = Sample(SetSource(sets, torch.zeros(60))).batches(1000)
    assert [len(index) for _, _, index in batches] == [25, 25, 10]
