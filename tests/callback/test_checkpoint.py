import pytest
import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader

from callback.checkpoint import AtomicCheckpointIO, BestCheckpoint, LastCheckpoint, random_state, set_random_state


class Unwritable:
    def __reduce__(self):
        raise RuntimeError("in the middle of writing")


def test_a_failure_in_the_middle_leaves_the_previous_checkpoint(tmp_path):
    path = tmp_path / "checkpoints" / "last.ckpt"
    AtomicCheckpointIO().save_checkpoint({"epoch": 1, "weights": torch.ones(1000)}, path)
    with pytest.raises(RuntimeError, match="in the middle"):
        AtomicCheckpointIO().save_checkpoint({"weights": torch.zeros(1000), "last": Unwritable()}, path)
    assert torch.load(path, weights_only=True)["epoch"] == 1
    assert list(path.parent.iterdir()) == [path]


@pytest.fixture
def gpus(monkeypatch):
    """Two faked GPUs with random states of their own, of which this process uses the second."""
    states = [torch.tensor([10]), torch.tensor([20])]
    fakes = {
        "is_initialized": lambda: True,
        "is_available": lambda: True,
        "device_count": lambda: 2,
        "current_device": lambda: 1,
        "get_rng_state": lambda: states[1].clone(),
        "set_rng_state": states[1].copy_,
    }
    for name, fake in fakes.items():
        monkeypatch.setattr(torch.cuda, name, fake)
    return states


@pytest.mark.parametrize("older", [False, True])
def test_the_random_state_of_the_gpu_goes_on_also_with_another_number_of_gpus(gpus, monkeypatch, older):
    state = random_state()
    assert state["cuda"] == [torch.tensor([20])]
    if older:
        state["cuda"] = [torch.tensor([10]), torch.tensor([20])]  # of all GPUs
    else:
        monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
        monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    gpus[1].fill_(99)
    set_random_state(state)
    assert gpus == [torch.tensor([10]), torch.tensor([20])]


class Scripted(pl.LightningModule):
    """Module whose validations log the given values, and whose training logs the number of the epoch."""

    def __init__(self, values):
        super().__init__()
        self.layer, self.values = torch.nn.Linear(1, 1), iter(values)

    def training_step(self, batch, batch_idx):
        self.log("train_epoch", float(self.current_epoch), on_step=False, on_epoch=True)
        return self.layer(batch).sum()

    def validation_step(self, batch, batch_idx):
        self.log("valid_x", next(self.values))

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


def scripted_fit(folder, values, resume=None, **settings):
    """Train on two batches an epoch; each validation takes the next value. Return the callback."""
    best = BestCheckpoint(dirpath=folder, filename="best", monitor="valid_x", mode="max", enable_version_counter=False)
    trainer = pl.Trainer(
        accelerator="cpu",
        callbacks=[best, LastCheckpoint(str(folder))],
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        **settings,
    )
    batches = [DataLoader(torch.ones(n, 1), batch_size=1) for n in (2, 1)]
    trainer.fit(Scripted(values), *batches, ckpt_path=resume, weights_only=True)
    return best


quiet = pytest.mark.filterwarnings("ignore:.*does not have many workers", "ignore:The number of training batches")


@quiet
@pytest.mark.parametrize(
    ("values", "settings", "epoch", "metrics"),
    [
        ([1, 3, 2], {"max_epochs": 3}, 1, {"valid_x": 3, "train_epoch": 1}),
        ([1, 2, 3], {"max_epochs": 3}, 2, {"valid_x": 3, "train_epoch": 2}),
        ([3, 3, 3], {"max_epochs": 3}, 0, {"valid_x": 3, "train_epoch": 0}),
        # two validations in an epoch: the value of the better one, the training of the whole epoch
        ([1, 2, 4, 3], {"max_epochs": 2, "val_check_interval": 0.5}, 1, {"valid_x": 4, "train_epoch": 1}),
        ([2, 1], {"max_epochs": 4, "check_val_every_n_epoch": 2}, 1, {"valid_x": 2, "train_epoch": 1}),
    ],
)
def test_the_best_checkpoint_keeps_its_epoch_and_what_was_measured_of_it(tmp_path, values, settings, epoch, metrics):
    best = scripted_fit(tmp_path, values, **settings)
    assert (best.best_epoch, best.best_metrics) == (epoch, metrics)


@quiet
def test_a_resumed_run_keeps_what_was_measured_of_the_best_checkpoint_before(tmp_path):
    scripted_fit(tmp_path, [1, 3, 2], max_epochs=3)
    for values, epoch, metrics in (
        ([2, 2], 1, {"valid_x": 3, "train_epoch": 1}),
        ([2, 5], 4, {"valid_x": 5, "train_epoch": 4}),
    ):
        resumed = scripted_fit(tmp_path / str(epoch), values, tmp_path / "last.ckpt", max_epochs=5)
        assert (resumed.best_epoch, resumed.best_metrics) == (epoch, metrics)


@quiet
def test_a_checkpoint_of_an_older_version_knows_the_score_alone(tmp_path):
    scripted_fit(tmp_path, [1, 3], max_epochs=2)
    checkpoint = torch.load(tmp_path / "last.ckpt", weights_only=True)
    (state,) = (state for state in checkpoint["callbacks"].values() if "best_epoch" in state)
    del state["best_epoch"], state["best_metrics"]
    torch.save(checkpoint, tmp_path / "old.ckpt")
    resumed = scripted_fit(tmp_path / "again", [2], tmp_path / "old.ckpt", max_epochs=3)
    assert (float(resumed.best_model_score), resumed.best_epoch, resumed.best_metrics) == (3, None, {})
