import torch

from datamodule.loader import Part
from datamodule.source import MemorySource


def test_index_is_the_position_in_the_source():
    source = MemorySource(torch.arange(6, dtype=torch.uint8).view(6, 1, 1, 1), torch.arange(6) * 10)
    part = Part(source, torch.tensor([1, 3, 5]))
    images, labels, index = part.__getitems__([2, 0])
    assert images.flatten().tolist() == index.tolist() == [5, 1]
    assert labels.tolist() == [50, 10]
    assert part[1][2].tolist() == [3]
    assert len(part) == 3
