import io
import re

import pytest
import pytorch_lightning as pl
import rich
from small_fit import batches, classifier, fit

from callback.epoch_lines import EpochLines
from callback.progress_bar import ProgressBar, for_terminal


@pytest.fixture
def terminal(monkeypatch):
    """What a terminal of 80 columns is told."""
    screen = io.StringIO()
    before = rich.get_console().__dict__.copy()
    rich.reconfigure(file=screen, force_terminal=True, width=80, color_system=None, legacy_windows=False)
    monkeypatch.delenv("TERM", raising=False)
    yield lambda: re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", screen.getvalue())
    rich.get_console().__dict__.update(before)


@pytest.mark.parametrize(
    ("is_terminal", "term", "verbosity", "kind"),
    [
        (True, "xterm", 1, ProgressBar),
        (True, "xterm", 2, ProgressBar),
        (True, "xterm", 0, EpochLines),
        (True, "dumb", 1, EpochLines),
        (False, "xterm", 1, EpochLines),
    ],
)
def test_a_bar_where_it_can_be_drawn_and_is_wanted(terminal, monkeypatch, is_terminal, term, verbosity, kind):
    rich.reconfigure(file=io.StringIO(), force_terminal=is_terminal)
    monkeypatch.setattr(rich.get_console(), "_environ", {"TERM": term})
    assert type(for_terminal(verbosity)) is kind


def run(callback, folder, **settings):
    return fit([callback], [4] * 3, folder, enable_progress_bar=True, valid=[4] * 2, **settings)


def test_shows_the_epoch_and_what_is_measured(terminal, tmp_path):
    run(ProgressBar(interval=0), tmp_path, max_epochs=2)
    shown = terminal()
    assert re.search(r"epoch 1/2 ━+[━╸╺ ]* +[\d,]+ images/s +0:00 left", shown)
    assert re.search(r"epoch 2/2 validation ━+", shown)
    assert re.search(r"loss \d\.\d{4}  accuracy \d\.\d{4}  valid_loss \d\.\d{4}", shown)
    assert max(map(len, shown.splitlines())) <= 80


@pytest.mark.parametrize(("interval", "drawn"), [(0, [0, 1, 2, 3, 4]), (3, [0, 3, 4])])
def test_draws_after_the_interval_and_at_the_end(terminal, monkeypatch, interval, drawn):
    seen, clock = [], iter(range(100, 200))
    bar = ProgressBar(interval)
    bar._start()
    monkeypatch.setattr("callback.progress_bar.time.monotonic", lambda: next(clock))
    monkeypatch.setattr(bar, "_show", lambda words, batch_idx, *_: seen.append(batch_idx))
    for step in range(5):
        bar._draw("test", step, 5)
    bar._stop()
    assert seen == drawn


@pytest.mark.filterwarnings("ignore:.*does not have many workers")
def test_testing_and_predicting_are_shown_too(terminal, tmp_path):
    bar = ProgressBar(interval=0)
    trainer = pl.Trainer(accelerator="cpu", logger=False, callbacks=[bar], enable_checkpointing=False)
    trainer.test(classifier(), batches([4] * 2), verbose=False)
    trainer.predict(classifier(), batches([4] * 2))
    assert terminal().count("test ━") >= 4
    assert re.search(r"test ━+ +0:00 left", terminal())
    assert bar.live is None


def test_leaves_the_terminal_as_it_was_after_a_crash(terminal, tmp_path):
    class Crash(pl.Callback):
        def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
            raise RuntimeError("crashed on purpose")

    bar = ProgressBar()
    with pytest.raises(RuntimeError):
        fit([bar, Crash()], [4], tmp_path, enable_progress_bar=True)
    assert bar.live is None


def test_disabled_it_draws_nothing(terminal, tmp_path):
    bar = ProgressBar(interval=0)
    bar.disable()
    run(bar, tmp_path)
    assert terminal() == ""
