"""All loggers record a plain LightningModule: no network, other names than train_loss, hyperparameters of its own."""

import csv
import json

import pytest
import pytorch_lightning as pl
import torch
from mlflow import MlflowClient
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData
from torch import nn

from logger.guarded import guard
from logger.metrics_csv import MetricsCSV
from logger.mlflow import MLflow
from logger.tensorboard import TensorBoard
from logger.wandb import WandB

FACTS = {
    "id": "abcd1234",
    "status": "running",
    "sweep": None,
    "experiment_name": "E",
    "comment": None,
    "tags": [],
    "host": "h",
}
FACTS |= {"command": "c", "git": None, "settings": {}, "started": "2026-11-20T09:00:00+00:00"}

pytestmark = pytest.mark.usefixtures("nobody_is_logged_in")


class Reconstruction(pl.LightningModule):
    """Autoencoder of four numbers."""

    def __init__(self, width, activations, sizes):
        super().__init__()
        self.save_hyperparameters()
        self.encoder, self.decoder = nn.Linear(4, width), nn.Linear(width, 4)

    def loss(self, x_B4):
        return (self.decoder(self.encoder(x_B4).relu()) - x_B4).square().mean()

    def training_step(self, x_B4, batch_idx):
        self.log("train_recon", loss := self.loss(x_B4), on_step=True, on_epoch=True)
        return loss

    def validation_step(self, x_B4, batch_idx):
        self.log("valid_recon@1", self.loss(x_B4))

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


class Watching(WandB):
    """WandB that notes the names of its histograms."""

    def log_histogram(self, name, counts, edges, step):
        self.watched = getattr(self, "watched", set()) | {name}
        super().log_histogram(name, counts, edges, step)


@pytest.fixture
def batches():
    return torch.utils.data.DataLoader(torch.rand(6, 4), batch_size=2)


@pytest.mark.filterwarnings("ignore:.*does not have many workers")
def test_a_module_of_ones_own_is_recorded_whole(tmp_path, batches):
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "run.json").write_text(json.dumps(FACTS))
    watching = Watching(str(folder), "P", "offline", "step", "all", 1, 10)
    mlflow = MLflow(str(folder), "own", str(tmp_path / "mlruns"))
    loggers = [MetricsCSV(str(folder)), TensorBoard(str(folder)), mlflow, watching]
    names = ["csv", "tensorboard", "mlflow", "wandb"]
    guards = guard(loggers, names, 120.0, 120.0, str(folder), {"start": [], "end": []})
    for logger in guards:
        logger.log_hyperparams({"lr": 0.1, "width": 3})
    model = Reconstruction(3, 1000 * [nn.ReLU()], {"a": {"b": 2}})
    trainer = pl.Trainer(
        accelerator="cpu",
        logger=guards,
        max_epochs=2,
        log_every_n_steps=1,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(model, batches, batches)
    metrics = {name: float(value) for name, value in trainer.callback_metrics.items() if not name.endswith("_step")}
    for logger in guards[1:]:
        logger.close({**FACTS, "status": "finished", "ended": "2026-11-20T09:01:00+00:00", "metrics": metrics})
        assert not logger.disabled

    with (folder / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {"epoch", "step", "train_recon_step", "train_recon_epoch", "valid_recon@1"} == rows[0].keys()
    assert [row["step"] for row in rows if row["train_recon_step"]] == list("012345")

    events = EventAccumulator(str(folder / "tensorboard")).Reload()
    columns, values = (
        HParamsPluginData.FromString(events.summary_metadata[f"_hparams_/{tag}"].plugin_data.content)
        for tag in ("experiment", "session_start_info")
    )
    assert {info.name.tag for info in columns.experiment.metric_infos} == {f"final/{name}" for name in metrics}
    assert values.session_start_info.hparams["sizes/a/b"].number_value == 2
    assert values.session_start_info.hparams["activations"].string_value.startswith("[ReLU()")

    client = MlflowClient()
    (run,) = client.search_runs([client.get_experiment_by_name("own").experiment_id])
    assert run.data.metrics["valid_recon_1"] == pytest.approx(metrics["valid_recon@1"])
    assert (run.data.params["width"], run.data.params["sizes/a/b"]) == ("3", "2")
    assert run.data.params["activations"].startswith("[ReLU()")  # all of it is longer than MLflow takes

    parameters = {f"{part}.{kind}" for part in ("encoder", "decoder") for kind in ("weight", "bias")}
    assert watching.watched == {f"{kind}/{name}" for kind in ("gradients", "parameters") for name in parameters}
