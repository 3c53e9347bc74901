"""The search for a learning rate: its bar in a terminal, and what it leaves behind."""

import io
import re

import pytest
import rich
from rich.progress import Progress
from small_fit import classifier, fit
from torch import nn

from callback.lr_finder import LRFinder
from callback.progress import EpochLines, ProgressBar
from process.errors import UserError


@pytest.fixture
def terminal(monkeypatch):
    """Return the text that a terminal of 80 columns gets."""
    screen = io.StringIO()
    before = rich.get_console().__dict__.copy()
    rich.reconfigure(file=screen, force_terminal=True, width=80, color_system=None, legacy_windows=False)
    yield lambda: re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", screen.getvalue())
    rich.get_console().__dict__.update(before)


def search(bar, folder):
    model = classifier(lr=0.0)
    trainer, _ = fit([bar, LRFinder()], [4] * 3, folder, model, enable_progress_bar=True, valid=[4], max_steps=1)
    return model, trainer


def test_a_bar_counts_its_steps(terminal, tmp_path, monkeypatch):
    advanced = []
    monkeypatch.setattr(Progress, "advance", lambda self, task: advanced.append(task))
    model, _ = search(ProgressBar(), tmp_path)
    assert model.lr > 0
    assert "learning-rate search" in terminal()
    assert len(advanced) == 100


def test_without_a_bar_nothing_is_drawn(terminal, tmp_path, capsys):
    search(EpochLines(), tmp_path)
    assert "learning-rate search" not in terminal()
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(("embed_lr", "rate"), [("0.1x", lambda lr: 0.1 * lr), (0.02, lambda lr: 0.02)])
def test_an_embedding_has_its_own_rate_in_the_search_too(tmp_path, monkeypatch, embed_lr, rate):
    rates = []
    model = classifier(lr=0.0)
    model.network.embed, model.embed_lr = nn.Linear(1, 1), embed_lr
    step = model.training_step

    def recording(batch, batch_idx):  # the search calls no callback
        rates.append([group["lr"] for group in model.trainer.optimizers[0].param_groups])
        return step(batch, batch_idx)

    monkeypatch.setattr(model, "training_step", recording)
    fit([LRFinder()], [4] * 3, tmp_path, model, valid=[4], max_steps=1)
    *search, trained = rates
    assert len(search) >= 100
    assert search[0][0] == pytest.approx(1e-8)
    assert search[98][0] > 0.5
    assert trained[0] == model.lr > 0
    assert [embed for _, embed in rates] == pytest.approx([rate(rest) for rest, _ in rates])


def test_a_search_that_measures_nothing_is_refused(tmp_path):
    """Lightning's search has no point if gradients are accumulated over more batches than an epoch has."""
    with pytest.raises(UserError, match=r"no loss that is finite, with trainer.accumulate_grad_batches=4: set hparams"):
        fit([LRFinder()], [4] * 3, tmp_path, classifier(lr=0.0), valid=[4], accumulate_grad_batches=4)


def test_it_validates_nothing_and_leaves_no_metrics(tmp_path, monkeypatch):
    validated = []
    model = classifier(lr=0.0)
    monkeypatch.setattr(model, "validation_step", lambda *_: validated.append(1))
    trainer, _ = fit(
        [EpochLines(), LRFinder()], [4] * 3, tmp_path, model, enable_progress_bar=True, valid=[4], max_steps=1
    )
    assert not validated
    assert "valid_loss" not in trainer.callback_metrics
