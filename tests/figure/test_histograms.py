from pathlib import Path

import numpy
import pytest
import torch
from pytorch_lightning import LightningModule, Trainer
from recorder import Recorder
from torch import nn

from adapter import lightning
from figure.histograms import BINS, Histograms, histogram

pytestmark = pytest.mark.filterwarnings("ignore:.*does not have many workers")
GENERATOR = torch.Generator().manual_seed(0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_counts_as_numpy_does(dtype):
    values = (torch.randn(50, 40, generator=GENERATOR) * 3).to(dtype)
    counts, edges = histogram(values)
    expected_counts, expected_edges = numpy.histogram(values.double().numpy(), BINS)
    assert counts.sum() == 2000
    assert abs(counts - expected_counts).sum() <= 4  # values on an edge, in fp32
    numpy.testing.assert_allclose(edges, expected_edges, rtol=1e-6)


def test_takes_the_finite_values_times_a_factor():
    counts, edges = histogram(torch.tensor([torch.nan, -1.0, torch.inf, 3.0, -torch.inf, 3.0]), factor=0.5)
    assert (edges[0], edges[-1]) == (-0.5, 1.5)
    assert (counts[0], counts[-1], counts.sum()) == (1, 2, 3)
    assert histogram(torch.full((3,), torch.nan)) is None
    assert histogram(torch.zeros(0)) is None


@pytest.mark.parametrize("values", [[0.0, 0.0], [7.0], [1e-44, 0.0, 1e-45], [1e30], [-3.4e38, 0.0, 3.4e38]])
def test_any_range_has_edges_that_rise(values):
    counts, edges = histogram(torch.tensor(values))
    assert counts.sum() == len(values)
    assert len(edges) == BINS + 1
    assert (numpy.diff(edges) > 0).all()


class Line(LightningModule):
    """loss = mean of w x over a batch of ones, so that the gradient is 1; `unused` has none."""

    def __init__(self) -> None:
        super().__init__()
        self.weight, self.unused = nn.Parameter(torch.tensor([5.0])), nn.Parameter(torch.tensor([1.0]))

    def training_step(self, batch, batch_idx):
        return (self.weight * batch).mean()

    def configure_optimizers(self):
        return torch.optim.SGD([self.weight], lr=1.0)


def fit(folder: Path, every_n_steps: int, **settings) -> dict[str, float]:
    """Train and return {name_at_step: the middle of its bin with a value}."""
    trainer = Trainer(
        accelerator="cpu",
        max_epochs=1,
        log_every_n_steps=1,
        logger=[Recorder(folder)],
        callbacks=[Histograms(every_n_steps)],
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
        **settings,
    )
    trainer.fit(Line(), torch.utils.data.DataLoader(torch.ones(8), 1))
    shown = {}
    for path in folder.rglob("*.npz"):
        with numpy.load(path) as file:
            (filled,) = file["counts"].nonzero()[0]
            shown[f"{path.parent.name}/{path.stem}"] = (file["edges"][filled] + file["edges"][filled + 1]) / 2
    return shown


def test_at_every_nth_step_before_it(tmp_path):
    near = pytest.approx
    assert fit(tmp_path, 3) == {
        "parameters/weight_at_0": near(5, abs=0.02),
        "gradients/weight_at_0": near(1, abs=0.02),
        "parameters/weight_at_3": near(2, abs=0.02),
        "gradients/weight_at_3": near(1, abs=0.02),
        "parameters/weight_at_6": near(-1, abs=0.02),
        "gradients/weight_at_6": near(1, abs=0.02),
        "parameters/unused_at_0": near(1, abs=0.02),
        "parameters/unused_at_3": near(1, abs=0.02),
        "parameters/unused_at_6": near(1, abs=0.02),
    }


def test_accumulated_gradients_are_shown_at_the_steps_of_the_optimizer_before_clipping(tmp_path):
    shown = fit(tmp_path, 1, accumulate_grad_batches=4, gradient_clip_val=0.1)
    assert {name.split("_at_")[1] for name in shown} == {"0", "1"}
    assert shown["gradients/weight_at_1"] == pytest.approx(1, abs=0.02)
    assert shown["parameters/weight_at_1"] == pytest.approx(4.9, abs=0.02)


def test_a_fused_optimizer_leaves_gradients_scaled():
    class Plugin:
        scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)

    class Scaling:
        precision_plugin = Plugin()

    parameter = nn.Parameter(torch.ones(1))
    Plugin.scaler.scale(parameter.sum())
    assert lightning.loss_scale(Scaling(), torch.optim.Adam([parameter], fused=True)) == 1024
    assert lightning.loss_scale(Scaling(), torch.optim.Adam([parameter])) == 1
    plain = Trainer(accelerator="cpu", logger=False, enable_checkpointing=False)
    assert lightning.loss_scale(plain, torch.optim.Adam([parameter], fused=True)) == 1


def test_gradients_are_unscaled(tmp_path, monkeypatch):
    monkeypatch.setattr("figure.histograms.lightning.loss_scale", lambda *_: 4.0)
    shown = fit(tmp_path, 100)
    assert shown["gradients/weight_at_0"] == pytest.approx(0.25, abs=0.02)
    assert shown["parameters/weight_at_0"] == pytest.approx(5, abs=0.02)


def test_a_number_below_one_is_refused():
    with pytest.raises(ValueError, match="every_n_steps=0"):
        Histograms(0)
