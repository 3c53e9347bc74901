"""Sets are tested at several sizes: the names of the results, and what sees these tests."""

from functools import partial

import pytest
import pytorch_lightning as pl
import torch
from torch import nn
from torch.utils.data import DataLoader

from command.sized_tests import largest_set, measure_sizes
from datamodule.loader import Part, SetSource, identity_collate
from model import TaskModule
from set_module.reduce import set_max
from set_module.set_batch import SetBatch
from task.metrics import regression
from task.regression import Regression


class Smallest(nn.Module):
    """The answer to another question, so that the error is known: min instead of max."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))

    def forward(self, sets, index_B):
        return -set_max(sets.map(lambda values: -values)) * self.weight


class Data:
    """Sets 0 .. n - 1 with the target n - 1; up to 5 elements."""

    max_elements = None

    def source(self, part, size=5):
        values = torch.arange(float(size))[:, None]
        return SetSource(SetBatch(values.repeat(4, 1), [size] * 4), torch.full((4,), size - 1.0))

    def sized_dataloader(self, part, n):
        part = Part(self.source(part, n if n < 9 else 5), torch.arange(4))
        return DataLoader(part, batch_size=3, collate_fn=identity_collate)


class Uneven(Data):
    """A set of 2 elements and one of 5."""

    def sized_dataloader(self, part, n):
        values = torch.arange(5.0)[[*range(min(n, 2)), *range(min(n, 5))]][:, None]
        source = SetSource(SetBatch(values, [min(n, 2), min(n, 5)]), torch.zeros(2))
        return DataLoader(Part(source, torch.arange(2)), batch_size=2, collate_fn=identity_collate)


class Seen(pl.Callback):
    def __init__(self):
        self.starts = self.batches = 0

    def on_test_start(self, trainer, pl_module):
        self.starts += 1


class ReadsItems(Seen):
    def on_test_batch_end(self, *args):
        self.batches += 1


@pytest.fixture
def trainer(tmp_path):
    settings = {"enable_progress_bar": False, "enable_model_summary": False, "enable_checkpointing": False}
    return pl.Trainer(accelerator="cpu", logger=False, callbacks=[Seen(), ReadsItems()], **settings)


def model(metrics):
    task = Regression((), num_outputs=1, loss=nn.L1Loss(), metrics=regression(metrics))
    return TaskModule(Smallest(), task, 0.1, partial(torch.optim.SGD))


def test_each_size_has_its_own_results_and_one_that_no_set_has_is_left_out(trainer):
    module = model(["mae"])
    assert measure_sizes(trainer, module, Data(), [2, 4, 9]) == {"test_mae/n=2": 1.0, "test_mae/n=4": 3.0}
    seen, reads_items = (each for each in trainer.callbacks if isinstance(each, Seen))
    assert (seen.starts, reads_items.starts, reads_items.batches) == (2, 0, 0)
    assert module.name_suffix == ""


def test_a_result_is_of_sets_of_one_size(trainer):
    assert measure_sizes(trainer, model(["mae"]), Uneven(), [1, 2, 3]) == {"test_mae/n=1": 0.0, "test_mae/n=2": 0.0}


def test_the_loss_is_shown_where_nothing_else_is_measured(trainer):
    assert measure_sizes(trainer, model([]), Data(), [3]) == {"test_loss/n=3": 2.0}


def test_the_largest_set(trainer):
    data = Data()
    assert largest_set(data) == 5
    data.max_elements = 3
    assert largest_set(data) == 3
    assert largest_set(object.__new__(type("Images", (), {"source": lambda self, part: None}))) is None
