from functools import partial

import pytest
import pytorch_lightning as pl
import torch
from configs import composed
from hydra.utils import instantiate
from tasks import classification
from torch import nn
from torch.utils.data import DataLoader
from torchmetrics import MeanAbsoluteError
from torchmetrics.classification import MulticlassAccuracy, MulticlassAUROC

from model import TaskModule
from network.mlp_embed import MLPEmbed
from network.patch_set import PatchSet
from process.errors import UserError
from set_module.reduce_pool import ReducePool
from task.regression import Regression


class Linear(nn.Module):
    """A network that records the epochs that it is told."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 3)
        self.epochs = []

    def set_epoch(self, epoch):
        self.epochs.append(epoch)

    def forward(self, images, index=None):
        return self.layer(images.flatten(1).to(self.layer.weight.dtype) / 255)


def batches(sizes, seed):
    generator = torch.Generator().manual_seed(seed)
    images = [torch.randint(256, (n, 1, 2, 2), generator=generator, dtype=torch.uint8) for n in sizes]
    labels = [torch.randint(3, (n,), generator=generator) for n in sizes]
    return [(x, y, torch.arange(len(y))) for x, y in zip(images, labels, strict=True)]


class Recorder(pl.loggers.logger.DummyLogger):
    def __init__(self):
        super().__init__()
        self.rows = []

    def log_metrics(self, metrics, step=None):
        self.rows.append((step, metrics))


def fit(model, train, valid, tmp_path, epochs=1, **settings):
    recorder = Recorder()
    trainer = pl.Trainer(
        accelerator="cpu",
        max_epochs=epochs,
        logger=recorder,
        default_root_dir=tmp_path,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
        num_sanity_val_steps=0,
        **settings,
    )
    loaders = [DataLoader(part, batch_size=None) for part in (train, valid)]
    trainer.fit(model, *loaders)
    return trainer, recorder


def build(lr=0.1, optimizer=torch.optim.SGD, scheduler=None, **arguments):
    torch.manual_seed(0)
    metrics = {"accuracy": MulticlassAccuracy(3, average="micro")}
    return TaskModule(Linear(), classification(metrics), lr, partial(optimizer, **arguments), scheduler)


pytestmark = pytest.mark.filterwarnings("ignore:.*does not have many workers", "ignore:The number of training batches")


def test_training_equals_a_plain_loop(tmp_path):
    train, valid = batches([5, 5, 3], 1), batches([4, 2], 2)
    model, plain = build(), build()
    trainer, _ = fit(model, train, valid, tmp_path, epochs=2)
    sgd = torch.optim.SGD(plain.parameters(), lr=0.1)
    for _ in range(2):
        total, hits, count = 0.0, 0, 0
        for images, labels, _ in train:
            logits = plain.network(images)
            loss = plain.task.loss(logits, labels)
            total += loss.item() * len(labels)
            hits += (logits.argmax(1) == labels).sum().item()
            count += len(labels)
            sgd.zero_grad()
            loss.backward()
            sgd.step()
    torch.testing.assert_close(model.network.layer.weight, plain.network.layer.weight)
    images, labels = torch.cat([x for x, _, _ in valid]), torch.cat([y for _, y, _ in valid])
    logits = plain.network(images)
    expected = {
        "train_loss": total / count,
        "train_accuracy": hits / count,
        "valid_loss": plain.task.loss(logits, labels).item(),  # the mean over images, not over batches of unequal size
        "valid_accuracy": (logits.argmax(1) == labels).float().mean().item(),
    }
    for name, value in expected.items():
        assert float(trainer.callback_metrics[name]) == pytest.approx(value, rel=1e-5), name


def test_the_step_loss_is_the_mean_since_the_last_one(tmp_path):
    train = batches([4] * 6, 1)
    model, plain = build(lr=0.0), build()
    _, recorder = fit(model, train, [], tmp_path, log_every_n_steps=3, limit_val_batches=0)
    losses = [plain.task.loss(plain.network(x), y).item() for x, y, _ in train]
    logged = {step: m["train_loss_step"] for step, m in recorder.rows if "train_loss_step" in m}
    assert logged == {2: pytest.approx(sum(losses[:3]) / 3), 5: pytest.approx(sum(losses[3:]) / 3)}


def test_what_callbacks_measure_stands_in_the_same_row(tmp_path):
    class Measures(pl.Callback):
        def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
            if pl_module.logs_now:
                pl_module.step_metrics["early"] = torch.tensor(batch_idx / 2)

        def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
            if pl_module.logs_now:
                pl_module.step_metrics["late"] = batch_idx

    train = batches([4] * 4, 1)
    model, plain = build(lr=0.0), build()
    options = {"log_every_n_steps": 2, "limit_val_batches": 0, "callbacks": [Measures()]}
    _, recorder = fit(model, train, [], tmp_path, **options)
    hits = [(plain.network(x).argmax(1) == y).float().mean().item() for x, y, _ in train]
    rows = [(step, row) for step, row in recorder.rows if "train_loss_step" in row]
    names = ["epoch", "train_loss_step", "train_accuracy_step", "early", "late"]
    assert [(step, list(row)) for step, row in rows] == [(1, names), (3, names)]
    assert [row["train_accuracy_step"] for _, row in rows] == [sum(hits[:2]) / 2, sum(hits[2:]) / 2]
    assert [(row["early"], row["late"]) for _, row in rows] == [(0.5, 1), (1.5, 3)]
    assert all(type(value) in (int, float) for _, row in rows for value in row.values())


@pytest.mark.filterwarnings("ignore:`training_step` returned `None`")
def test_a_batch_that_is_left_out_has_a_row_without_a_loss(tmp_path):
    train = batches([4] * 2, 1)
    model = build()
    model.skip_nonfinite = True
    torch.nn.init.constant_(model.network.layer.bias, torch.nan)
    _, recorder = fit(model, train, [], tmp_path, log_every_n_steps=1, limit_val_batches=0)
    assert [row for _, row in recorder.rows][:2] == [{"epoch": 0}] * 2


def test_the_axis_of_steps_runs_forward_with_accumulated_gradients(tmp_path):
    _, recorder = fit(
        build(), batches([4] * 6, 1), batches([4], 2), tmp_path, log_every_n_steps=1, accumulate_grad_batches=2
    )
    steps = [step for step, _ in recorder.rows]
    assert steps == sorted(steps)


def test_networks_are_told_the_epoch(tmp_path):
    model = build()
    fit(model, batches([4], 1), batches([4], 1), tmp_path, epochs=3)
    assert model.network.epochs == [0, 0, 1, 2]  # once before all: a resumed epoch has no start


def test_one_cycle_knows_its_steps_and_its_peak(tmp_path):
    scheduler = {"scheduler": partial(torch.optim.lr_scheduler.OneCycleLR), "interval": "step"}
    model = build(scheduler=scheduler, lr=0.5)
    trainer, _ = fit(model, batches([4] * 5, 1), [], tmp_path, epochs=2, limit_val_batches=0)
    (config,) = trainer.lr_scheduler_configs
    assert config.scheduler.total_steps == 10
    assert config.scheduler.optimizer.param_groups[0]["max_lr"] == 0.5


@pytest.mark.parametrize(
    ("optimizer", "arguments", "key", "expected"),
    [
        (torch.optim.SGD, {"momentum": 0.9}, "momentum", 0.9),
        (torch.optim.SGD, {}, "momentum", 0),
        (torch.optim.Adagrad, {}, "eps", 1e-10),
        (torch.optim.Adam, {}, "betas", (0.95, 0.999)),  # beta1 is lowest at the peak of the rate, highest at the end
    ],
)
def test_one_cycle_leaves_the_momentum_of_all_but_adam(tmp_path, optimizer, arguments, key, expected):
    scheduler = {"scheduler": partial(torch.optim.lr_scheduler.OneCycleLR), "interval": "step"}
    model = build(optimizer=optimizer, scheduler=scheduler, **arguments)
    trainer, _ = fit(model, batches([4] * 5, 1), [], tmp_path, epochs=2, limit_val_batches=0)
    (group,) = trainer.optimizers[0].param_groups
    assert group[key] == pytest.approx(expected, abs=0.01)
    assert group["lr"] < group["max_lr"] / 10


@pytest.mark.parametrize(("limits", "steps"), [({"max_steps": 3}, 3), ({"limit_train_batches": 0}, 1)])
def test_one_cycle_is_as_long_as_the_training(tmp_path, limits, steps):
    scheduler = {"scheduler": partial(torch.optim.lr_scheduler.OneCycleLR), "interval": "step"}
    trainer, _ = fit(build(scheduler=scheduler), batches([4] * 5, 1), [], tmp_path, limit_val_batches=0, **limits)
    assert trainer.lr_scheduler_configs[0].scheduler.total_steps == steps


def test_one_cycle_of_no_end_is_refused(tmp_path):
    scheduler = {"scheduler": partial(torch.optim.lr_scheduler.OneCycleLR), "interval": "step"}
    with pytest.raises(UserError, match=r"max_epochs or \+trainer.max_steps, or choose scheduler=none"):
        fit(build(scheduler=scheduler), batches([4], 1), [], tmp_path, epochs=-1, max_time="01:00:00:00")


@pytest.mark.parametrize(
    ("clip", "precision", "fused"), [(None, "32-true", True), (1.0, "32-true", True), (1.0, "bf16-mixed", None)]
)
def test_fused_where_lightning_allows_it(tmp_path, clip, precision, fused):
    model = build(optimizer=torch.optim.Adam)
    trainer, _ = fit(
        model, batches([4], 1), [], tmp_path, limit_val_batches=0, gradient_clip_val=clip, precision=precision
    )
    assert trainer.optimizers[0].defaults["fused"] is fused


def test_an_optimizer_without_fused_and_one_s_own_choice(tmp_path):
    for optimizer, arguments, expected in ((torch.optim.Rprop, {}, None), (torch.optim.SGD, {"fused": False}, False)):
        trainer, _ = fit(build(optimizer=optimizer, **arguments), batches([4], 1), [], tmp_path, limit_val_batches=0)
        assert trainer.optimizers[0].defaults.get("fused") is expected


class Embedding(nn.Module):
    """A network with an embedding and a last layer; the embedding may have no weights."""

    def __init__(self, embed=None):
        super().__init__()
        self.embed, self.last = nn.Linear(4, 5) if embed is None else embed, nn.Linear(5, 3)

    def forward(self, images, index=None):
        return self.last(self.embed(images.flatten(1).float() / 255))


def embedding_model(embed_lr, network=None, scheduler=None, lr=0.1):
    torch.manual_seed(0)
    network = network or Embedding()
    return TaskModule(network, classification(), lr, partial(torch.optim.SGD), scheduler, embed_lr=embed_lr)


@pytest.mark.parametrize(("embed_lr", "rate"), [("0.5x", 0.05), (0.3, 0.3)])
def test_the_embedding_learns_at_its_own_rate(tmp_path, embed_lr, rate):
    train = batches([5, 5, 3], 1)
    model, plain = embedding_model(embed_lr), embedding_model(None)
    fit(model, train, [], tmp_path, limit_val_batches=0)
    rest, embed = plain.network.last.parameters(), plain.network.embed.parameters()
    steps = torch.optim.SGD(rest, lr=0.1), torch.optim.SGD(embed, lr=rate)
    for images, labels, _ in train:
        plain.zero_grad()
        plain.task.loss(plain.network(images), labels).backward()
        for sgd in steps:
            sgd.step()
    for name, value in plain.network.named_parameters():
        torch.testing.assert_close(model.network.get_parameter(name), value)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [("OneCycleLR", {}), ("CosineAnnealingLR", {}), ("StepLR", {"step_size": 1})],
)
def test_schedulers_keep_the_ratio_of_both_rates(tmp_path, name, arguments):
    scheduler = {"scheduler": partial(getattr(torch.optim.lr_scheduler, name), **arguments), "interval": "step"}
    rates = []

    class Rates(pl.Callback):
        def on_train_batch_start(self, trainer, *_):
            rates.append([group["lr"] for group in trainer.optimizers[0].param_groups])

    model = embedding_model("0.1x", scheduler=scheduler)
    fit(model, batches([4] * 6, 1), [], tmp_path, limit_val_batches=0, callbacks=[Rates()])
    assert len({rest for rest, _ in rates}) > 3, "it changes"
    assert [embed / rest for rest, embed in rates] == pytest.approx([0.1] * 6)


def frozen():
    return nn.Linear(4, 5).requires_grad_(False)


@pytest.mark.parametrize(
    ("network", "words"),
    [
        (
            Linear,
            "0.1x: Linear has no embedding with a rate of its own: set hparams.embed_lr=null, or choose a network",
        ),
        (lambda: Embedding(frozen()), "0.1x: the embedding is frozen: train it, model.network.embed.frozen=false, or"),
        (lambda: Embedding(nn.Flatten()), "0.1x: the embedding has no weights: set hparams.embed_lr=null"),
    ],
)
def test_a_rate_of_no_embedding_is_refused(network, words):
    with pytest.raises(UserError, match=words):
        embedding_model("0.1x", network())


def test_what_the_optimizer_refuses_is_said_at_construction():
    with pytest.raises(ValueError, match="momentum"):
        build(momentum=-1)
    with pytest.raises(TypeError, match="betas"):
        build(betas=(0.9, 0.99))


@pytest.mark.parametrize("scale", [0.1, 3.0])
def test_the_area_under_the_curve_is_the_share_of_pairs_in_order(scale):
    # a spread of 0.1 around 0.5: whole batches of logits lie in 0..1, as probabilities do
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(200, 2, generator=generator, dtype=torch.float64) * scale + 0.5
    margin = logits[:, 1] - logits[:, 0]
    labels = (margin + torch.randn(200, generator=generator) * scale > 0).long()
    results = classification({"auroc": MulticlassAUROC(2)}).results("valid")
    for x, y in zip(logits.split(32), labels.split(32), strict=True):
        results.update(x.float(), y, torch.tensor(0.0))
    in_order = margin[labels == 1][:, None] > margin[labels == 0]
    assert float(results.compute()["valid_auroc"]) == pytest.approx(float(in_order.double().mean()), abs=1e-6)


def test_metrics_are_not_rounded_under_mixed_precision():
    logits = torch.linspace(5, 6, 200)[:, None] * torch.tensor([-1.0, 1.0])  # bf16 makes ties
    labels = (torch.arange(200) >= 100).long()
    results = classification({"auroc": MulticlassAUROC(2)}).results("valid")
    with torch.autocast("cpu", torch.bfloat16):
        results.update(logits, labels, torch.tensor(0.0))
    assert float(results.compute()["valid_auroc"]) == 1


def test_half_precision_does_not_round_sums(tmp_path):
    images = batches([1] * 300, 1)
    model, plain = build(lr=0.0), build().network.to(torch.bfloat16)
    trainer, _ = fit(model, images, images, tmp_path, precision="bf16-true")
    losses = [nn.functional.cross_entropy(plain(x).float(), y).item() for x, y, _ in images]
    for stage in ("train", "valid"):
        assert float(trainer.callback_metrics[f"{stage}_loss"]) == pytest.approx(sum(losses) / 300, rel=1e-5), stage


@pytest.mark.parametrize(("precision", "target"), [("bf16-true", 93.23), ("16-true", 70000.0)])
def test_half_precision_does_not_round_targets(precision, target, tmp_path):
    items = [(x, torch.full((len(x),), target), index) for x, _, index in batches([4, 3], 1)]
    network = nn.Sequential(Linear(), nn.Linear(3, 1))
    network.forward = lambda images, index=None: network[1](network[0](images)) * 0
    task = Regression(num_outputs=1, loss=nn.L1Loss(), metrics={"mae": MeanAbsoluteError()})
    model = TaskModule(network, task, 0.0, partial(torch.optim.SGD))
    trainer, _ = fit(model, items, items, tmp_path, precision=precision)
    for name in ("train_loss", "valid_loss", "train_mae", "valid_mae"):
        assert float(trainer.callback_metrics[name]) == pytest.approx(target, rel=1e-6), name


def weighted(**settings):
    config = composed("data.num_classes=3", "+loss.weight=[0.5,1,3]", "hparams.label_smoothing=0.1")
    return TaskModule(Linear(), instantiate(config.model.task), lr=0.0, optimizer=partial(torch.optim.SGD), **settings)


def test_a_list_of_class_weights_is_the_tensor_that_the_loss_takes(tmp_path):
    train, valid = batches([8], 0), batches([5, 5, 2], 1)
    model = weighted()
    trainer, _ = fit(model, train, valid, tmp_path)
    labels = torch.cat([y for _, y, _ in valid])
    logits = torch.cat([model.network(x) for x, _, _ in valid])
    expected = nn.functional.cross_entropy(logits, labels, torch.tensor([0.5, 1.0, 3.0]), label_smoothing=0.1)
    # over the data set, as if it were one batch
    assert float(trainer.callback_metrics["valid_loss"]) == pytest.approx(expected.item(), rel=1e-6)


def test_weights_of_labels_are_tensors_that_no_checkpoint_holds():
    config = composed("data=digits_in_bag", f"+loss.pos_weight={[1.5] * 10}".replace(" ", ""))
    task = instantiate(config.task.multilabel)
    assert task.loss.pos_weight.tolist() == [1.5] * 10
    assert not task.state_dict()


def test_class_weights_are_settings_that_no_checkpoint_holds():
    model, other = weighted(), build()
    assert not [name for name in model.state_dict() if "loss" in name]
    other.load_state_dict(model.state_dict())
    model.load_state_dict(other.state_dict())
    assert model.task.loss.weight.tolist() == [0.5, 1, 3]
    assert model.to(torch.bfloat16).task.loss.weight.dtype == torch.float32
    assert model.to("meta").task.loss.weight.device.type == "meta"


def test_half_precision_is_that_of_the_network_alone():
    model = build()
    model.task.loss.weight = torch.tensor([0.1, 1.0, 3.0])
    model.add_step(1, loss=torch.tensor(1000.1))  # as in the middle of an epoch
    model.to(torch.bfloat16)
    assert model.sums["train"]["loss"][0].item() == pytest.approx(1000.1, rel=1e-6)
    (batch,) = batches([8], 1)
    logits = model.network(batch[0])
    assert logits.dtype == torch.bfloat16
    loss = model.training_step(batch, 0)
    expected = nn.functional.cross_entropy(logits.float(), batch[1], torch.tensor([0.1, 1.0, 3.0]))
    torch.testing.assert_close(loss, expected)
    assert model.double().training_step(batch, 0).dtype == torch.float64


def results_of(model, data):
    trainer = pl.Trainer(accelerator="cpu", logger=False, enable_progress_bar=False, enable_checkpointing=False)
    (results,) = trainer.test(model, DataLoader(data, batch_size=None), verbose=False)
    return results


def test_the_test_measures_the_accuracy_at_smaller_numbers_of_patches_too(tmp_path):
    """The accuracies equal those of a loop over the test set for each number."""
    parts = {"embed": partial(MLPEmbed, widths=[8]), "pool": partial(ReducePool, reductions=["mean"])}
    cut = {"patch_size": 1, "patch_num_min": 1, "patch_num_max": 8, "test_patch_num": 6, "seed": 0}
    torch.manual_seed(0)
    network = PatchSet(channels=1, image_size=[2, 2], num_outputs=3, mean=[0.5], std=[0.25], **parts, **cut)
    metrics = {"accuracy": MulticlassAccuracy(3, average="micro")}
    sizes = {"sizes": [1, 4, 8], "name_suffix": ""}
    model = TaskModule(network, classification(metrics), 0.1, partial(torch.optim.SGD), **sizes)
    data = batches([40, 30], 1)
    results = results_of(model, data)
    assert set(results) == {"test_loss", "test_accuracy", "test_accuracy/n=1", "test_accuracy/n=4"}
    network.eval()
    for number, name in ((1, "test_accuracy/n=1"), (4, "test_accuracy/n=4"), (6, "test_accuracy")):
        network.patch_num = number
        correct = sum(int((network(images, index).argmax(1) == labels).sum()) for images, labels, index in data)
        assert results[name] == pytest.approx(correct / 70), name
    assert len(set(results.values())) == 4


class FirstPixels(nn.Module):
    """A network of somebody's own, which knows neither `logits_at` nor `max_patch_num`."""

    def __init__(self, patch_num):
        super().__init__()
        self.patch_num, self.layer = patch_num, nn.Linear(4, 3)

    def forward(self, images, index=None):
        seen = torch.arange(4) < (self.patch_num if isinstance(self.patch_num, int) else self.patch_num[1])
        return self.layer(images.flatten(1) / 255 * seen)


@pytest.mark.parametrize(("patch_num", "sizes"), [(3, [1, 2]), ((1, 4), [1, 2, 4]), ((3, 3), [1, 2])])
def test_a_network_of_one_s_own_is_tested_at_each_number_of_patches(patch_num, sizes):
    torch.manual_seed(0)
    network = FirstPixels(patch_num)
    metrics = {"accuracy": MulticlassAccuracy(3, average="micro")}
    arguments = {"sizes": [1, 2, 4], "name_suffix": ""}
    model = TaskModule(network, classification(metrics), 0.1, partial(torch.optim.SGD), **arguments)
    data = batches([40, 30], 1)
    results = results_of(model, data)
    assert network.patch_num == patch_num
    expected = {f"test_accuracy/n={n}": FirstPixels(n) for n in sizes} | {"test_accuracy": FirstPixels(patch_num)}
    assert set(results) == {*expected, "test_loss"}
    for name, each in expected.items():
        each.load_state_dict(network.state_dict())
        correct = sum(int((each(images).argmax(1) == labels).sum()) for images, labels, _ in data)
        assert results[name] == pytest.approx(correct / 70), name
