"""Any callable as the loss, which may read the inputs and what the network returns besides its outputs."""

from functools import partial

import pytest
import pytorch_lightning as pl
import torch
from torch import nn
from torch.utils.data import DataLoader

from model import TaskModule
from network.mlp_embed import MLPEmbed
from network.patch_set import PatchSet
from process.errors import UserError
from set_module.attention_pool import AttentionPool
from set_module.instance_loss import InstanceLoss
from set_module.set_batch import SetBatch
from task.classification import Classification
from task.loss import Loss
from task.several import Several


def of_outputs(outputs, targets):
    return outputs.mean()


def of_weights(outputs, targets, others):
    return others["weights"].values.square().sum() / len(outputs)


def of_anything(outputs, targets, **more):
    assert set(more) == {"inputs", "others"}
    return outputs.mean()


@pytest.mark.parametrize(("loss", "reads_others"), [(of_outputs, False), (of_weights, True), (of_anything, True)])
def test_a_loss_gets_what_it_has_arguments_for(loss, reads_others):
    task = Loss(1, loss)
    assert task.reads_others == reads_others
    assert Several({"a": Classification(2, nn.CrossEntropyLoss(), {}), "b": task}, {}).reads_others == reads_others
    outputs, others = torch.tensor([[1.0], [3.0]]), {"weights": None}
    if loss is not of_weights:
        assert task.batch_loss(outputs, None, None, others) == 2


def test_the_loss_of_any_task_may_read_what_the_network_returns():
    task = Classification(2, of_weights, {})
    assert task.reads_others
    others = {"weights": SetBatch(torch.tensor([[1.0], [2.0]]), [2])}
    assert task.batch_loss(torch.zeros(1, 2), torch.zeros(1, dtype=torch.int64), None, others) == 5
    assert not Classification(2, nn.CrossEntropyLoss(), {}).reads_others


def test_a_network_that_does_not_return_what_the_loss_reads_is_refused_in_one_line():
    task = Classification(2, InstanceLoss(nn.CrossEntropyLoss()), {})
    with pytest.raises(UserError, match=r"^this loss reads instance_logits, which the network does not return: choose"):
        task.batch_loss(torch.zeros(1, 2), torch.zeros(1, dtype=torch.int64), None, {})


def test_the_test_of_a_network_that_draws_patches_gives_the_loss_what_it_reads():
    torch.manual_seed(0)
    facts = {"channels": 1, "image_size": [2, 2], "mean": [0.5], "std": [0.25], "num_outputs": 1}
    cut = {"patch_size": 1, "patch_num_min": 1, "patch_num_max": 4, "test_patch_num": 4, "seed": 0}
    parts = {"embed": partial(MLPEmbed, widths=[8]), "pool": partial(AttentionPool, hidden=4)}
    network = PatchSet(**facts, **cut, **parts, returns=["weights"])
    model = TaskModule(network, Loss(1, of_weights), 0.1, partial(torch.optim.SGD), sizes=[1, 2])
    images = torch.randint(256, (6, 1, 2, 2), dtype=torch.uint8)
    data = [(images, torch.empty(6, 0), torch.arange(6))]
    trainer = pl.Trainer(accelerator="cpu", logger=False, enable_progress_bar=False, enable_checkpointing=False)
    (results,) = trainer.test(model, DataLoader(data, batch_size=None), verbose=False)
    network.eval()
    expected = of_weights(images, None, network(images, torch.arange(6)))
    assert results == {"test_loss": pytest.approx(expected.item())}


def test_the_default_of_another_task_is_refused_unless_the_network_has_an_output_for_each_class():
    with pytest.raises(UserError, match=r"^task=loss needs a loss: choose loss=reconstruction, or name a callable"):
        Loss(1, nn.CrossEntropyLoss())
    loss = Loss(3, nn.CrossEntropyLoss()).batch_loss(torch.zeros(2, 3), torch.tensor([0, 2]), None, {})
    assert float(loss) == pytest.approx(1.0986123)  # log 3
