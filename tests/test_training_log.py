import logging
from functools import partial

import pytest
import torch
from pytorch_lightning import Callback, LightningModule
from small_fit import batches, classifier, fit
from torch import nn

from process.errors import UserError
from training_log import TrainingLog, missing, usable


class Sizes(TrainingLog):
    """Logs the mean of each batch's pixels, and how many images have a label above 0."""

    def __init__(self, **settings):
        super().__init__(lr=0.1, **{"optimizer": partial(torch.optim.SGD), **settings})
        self.layer = nn.LazyLinear(1)

    def measured(self, batch):
        images, labels, _ = batch
        return {"mean": images.float().mean(), "above": (labels > 0).sum()}

    def training_step(self, batch, batch_idx):
        self.add_step(len(batch[1]), **self.measured(batch))
        return self.layer(batch[0].flatten(1).float()).mean()

    def validation_step(self, batch, batch_idx):
        self.add_step(len(batch[1]), "valid", **self.measured(batch))


def expected(parts):
    """{name: the mean over the images of several batches, of one size or not}."""
    images, labels = torch.cat([part[0] for part in parts]), torch.cat([part[1] for part in parts])
    return {"mean": float(images.float().mean()), "above": float((labels > 0).float().mean())}


def test_means_are_those_over_all_items(tmp_path):
    sizes = [5, 1, 4, 2]
    trainer, _ = fit([], sizes, tmp_path, Sizes(), valid=[3, 1])
    for stage, parts in (("train", batches(sizes)), ("valid", batches([3, 1]))):
        for name, value in expected(list(parts)).items():
            assert float(trainer.callback_metrics[f"{stage}_{name}"]) == pytest.approx(value, rel=1e-6)


def test_rows_hold_the_means_since_the_last_one(tmp_path):
    model = Sizes()
    trainer, _ = fit([], [5, 1, 4, 2], tmp_path, model, log_every_n_steps=2)
    rows = [row for row in trainer.logger.rows if "train_mean_step" in row]
    parts = list(batches([5, 1, 4, 2]))
    assert [row["train_mean_step"] for row in rows] == [
        pytest.approx(expected(pair)["mean"]) for pair in (parts[:2], parts[2:])
    ]
    assert model.sums["train"] == {}


@pytest.mark.filterwarnings("ignore:.*returned `None`")  # Lightning warns once in a process
def test_an_epoch_of_empty_steps_has_the_mean_nan(tmp_path):
    class Empty(Sizes):
        def training_step(self, batch, batch_idx):
            self.add_step(0, mean=torch.zeros(()))

    trainer, _ = fit([], [2, 2], tmp_path, Empty())
    assert torch.isnan(trainer.callback_metrics["train_mean"])


def test_sums_of_half_precision_go_on_growing():
    model = Sizes()
    for _ in range(1000):
        model.add_step(1, mean=torch.ones((), dtype=torch.bfloat16), above=torch.ones((), dtype=torch.int8))
    assert [total.item() for total, _ in model.sums["train"].values()] == [1000, 1000]


def test_a_checkpoint_of_several_ranks_is_that_of_all_where_one_goes_on(tmp_path):
    model = Sizes()
    fit([], [2], tmp_path, model)
    rows = [{"step": {"mean": (torch.tensor(2.0 * rank), rank)}, "epoch": {"mean": (3.0, 4)}} for rank in (1, 2)]
    model.on_load_checkpoint({"training_log": {"lr": 0.3, "sums": rows}})
    assert [(total.item(), count) for total, count in model.sums["train"].values()] == [(6.0, 3)]
    assert model.epoch_sums == {"mean": (6.0, 8)}
    assert model.lr == 0.1


def test_a_checkpoint_of_an_older_version_is_refused_with_the_remedy(tmp_path):
    model = Sizes()
    trainer, parts = fit([], [2], tmp_path, model)
    path = tmp_path / "old.ckpt"
    trainer.save_checkpoint(path)
    checkpoint = torch.load(path, weights_only=False)
    checkpoint["classifier"] = checkpoint.pop("training_log")
    torch.save(checkpoint, path)
    with pytest.raises(UserError, match=rf"no training_log.*init_from={path}"):
        trainer.fit(model, parts, batches([1]), ckpt_path=path, weights_only=False)


def test_what_the_optimizer_refuses_is_a_line_for_the_user(tmp_path):
    with pytest.raises(UserError, match=r"hparams\.optimizer: .*momentum"):
        fit([], [2], tmp_path, Sizes(optimizer=partial(torch.optim.SGD, momentum=-1)))


def test_fused_optimizers_wait_for_no_lazy_layer(tmp_path):
    trainer, _ = fit([], [2], tmp_path, Sizes(optimizer=partial(torch.optim.Adam)))
    assert not trainer.optimizers[0].defaults["fused"]


def test_what_a_module_lacks():
    needs = ("step_metrics", "lr", "network", "test_logits")
    assert missing(LightningModule(), needs) == list(needs)
    assert missing(Sizes(), needs) == ["network", "test_logits"]
    assert missing(classifier(), needs) == []


class Figure(Callback):
    """A figure of classes or values."""

    needs = ("network", ("test_logits", "test_values"))


class OfLabels(Callback):
    needs = ("test_labels",)


def test_one_of_several_attributes_is_enough():
    needs = Figure.needs
    assert missing(classifier(), needs) == []
    assert missing(Sizes(), needs) == ["network", "test_logits", "test_values"]


def test_figures_of_another_task_are_left_out_silently_and_those_of_no_task_in_one_line(caplog):
    caplog.set_level(logging.INFO, "training_log")
    plain, figure, labels = Callback(), Figure(), OfLabels()
    callbacks = {"plain": plain, "figure": figure, "labels": labels}
    assert usable(classifier(), callbacks) == [plain, figure]
    assert caplog.messages == []
    assert usable(Sizes(), callbacks) == [plain]
    assert caplog.messages == [
        "callbacks: figure, labels are left out: Sizes has no test_logits, test_values or test_labels"
    ]
