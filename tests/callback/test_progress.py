import io
import logging
import re
from types import SimpleNamespace

import pytest
import pytorch_lightning as pl
import rich
import torch
from pytorch_lightning import callbacks as lightning_callbacks
from small_fit import batches, classifier, fit

from callback.progress import EpochLines, Pace, ProgressBar, count_items, for_terminal, in_columns, items_of
from set_module.set_batch import SetBatch

NUMBER = r"\d+\.\d{4}"
SPEED = r"[\d,]+ images/s"


@pytest.fixture
def lines(caplog):
    caplog.set_level(logging.INFO, "callback.progress")
    return lambda: [record.getMessage() for record in caplog.records if record.name == "callback.progress"]


def matches(lines, patterns):
    assert len(lines) == len(patterns), lines
    for line, pattern in zip(lines, patterns, strict=True):
        assert re.fullmatch(pattern, line), line


def lines_of(callback, folder, **settings):
    return fit([callback], [4] * 3, folder, enable_progress_bar=True, **settings)


def test_a_line_for_each_epoch_with_what_it_measured(lines, tmp_path):
    trainer, _ = lines_of(EpochLines(), tmp_path, valid=[4], max_epochs=2)
    means = rf"loss {NUMBER} valid {NUMBER}  accuracy {NUMBER}"
    matches(lines(), [rf"epoch 1/2  {means}  {SPEED}  \d:\d\d left", rf"epoch 2/2  {means}  {SPEED}"])
    train, valid = (f"{float(trainer.callback_metrics[name]):.4f}" for name in ("train_loss", "valid_loss"))
    assert f"loss {train} valid {valid}" in lines()[1]


def test_no_validation_of_another_epoch(lines, tmp_path):
    lines_of(EpochLines(), tmp_path, valid=[4], max_epochs=3, check_val_every_n_epoch=2)
    assert ["valid" in line for line in lines()] == [False, True, False]


def test_a_line_now_and_then_in_a_long_epoch(lines, tmp_path, monkeypatch):
    monkeypatch.setattr("callback.progress.INTERVAL", 0)
    lines_of(EpochLines(), tmp_path)
    now = rf"loss {NUMBER}  accuracy {NUMBER}"
    matches(
        lines(),
        [
            rf"epoch 1/1  33 %  {SPEED}  0:00 left",  # nothing is logged yet
            rf"epoch 1/1  67 %  {now}  {SPEED}  0:00 left",
            rf"epoch 1/1  100 %  {now}  {SPEED}",
            rf"epoch 1/1  loss {NUMBER}  accuracy {NUMBER}  {SPEED}",
        ],
    )


def test_a_line_of_any_run_fits_100_columns():
    usual = [
        "epoch  10/100",
        "loss 0.1234 valid 0.1123",
        "accuracy 0.9712 valid 0.9801",
        "12,300 images/s",
        "1:20 left",
    ]
    assert "\n" not in in_columns(usual)
    many = [*usual[:3], *(f"metric_{n} valid 0.1234" for n in range(9)), *usual[3:]]
    lines = in_columns(many).split("\n")
    assert max(map(len, lines)) <= 100
    assert "  ".join(line.removeprefix("  ") for line in lines) == "  ".join(many)


def test_without_a_last_epoch(lines, tmp_path):
    lines_of(EpochLines(), tmp_path, max_epochs=-1, max_steps=4)
    assert [line.split("  ")[0] for line in lines()] == ["epoch 1", "epoch 2"]


def test_lightning_takes_it_for_its_bar_and_can_silence_it(lines, tmp_path):
    callback = EpochLines()
    callback.disable()
    trainer, _ = lines_of(callback, tmp_path)
    assert trainer.progress_bar_callback is callback
    assert [each for each in trainer.callbacks if isinstance(each, lightning_callbacks.ProgressBar)] == [callback]
    assert lines() == []


def test_a_crash_says_no_epoch(lines, tmp_path):
    class Crash(pl.Callback):
        def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
            raise RuntimeError("crashed on purpose")

    with pytest.raises(RuntimeError):
        fit([EpochLines(), Crash()], [4], tmp_path, classifier(), enable_progress_bar=True)
    assert lines() == []


@pytest.fixture
def terminal(monkeypatch):
    """Return the text that a terminal of 80 columns gets."""
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
    monkeypatch.setattr("callback.progress.time.monotonic", lambda: next(clock))
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


@pytest.fixture
def clock_hand(monkeypatch):
    hand = SimpleNamespace(now=100.0)
    monkeypatch.setattr("callback.progress.time.monotonic", lambda: hand.now)
    return hand


def test_speed_is_that_of_the_lap_without_pauses(clock_hand):
    pace = Pace(SimpleNamespace(estimated_stepping_batches=100, global_step=0))
    pace.images = 500
    clock_hand.now += 5
    pace.pause()
    clock_hand.now += 20
    assert pace.images_per_second == 100
    pace.resume()
    clock_hand.now += 5
    assert pace.images_per_second == 50
    pace.lap()
    pace.images = 30
    clock_hand.now += 1
    assert pace.images_per_second == 30


@pytest.mark.parametrize(("seconds", "text"), [(0.25, "8 images/s"), (1, "2 images/s"), (7.54, "7.5 s/step")])
def test_a_step_of_more_than_a_second_is_shown_in_seconds(clock_hand, seconds, text):
    pace = Pace(SimpleNamespace(estimated_stepping_batches=100, global_step=0))
    assert pace.speed == ""
    pace.images, pace.steps = 2, 1
    clock_hand.now += seconds
    assert pace.speed == text


@pytest.mark.parametrize(
    ("batch", "items"),
    [
        ((torch.zeros(2, 1, 4, 4), torch.zeros(2), torch.arange(2)), "images"),
        ((SetBatch(torch.zeros(3, 2), [1, 2]), torch.zeros(2), torch.arange(2)), "sets"),
        ({"image": torch.zeros(2, 3)}, "images"),
    ],
)
def test_sets_are_not_called_images(batch, items):
    assert items_of(batch) == items


def test_the_rest_goes_on_at_the_pace_of_this_part_pauses_and_all(clock_hand):
    pace = Pace(SimpleNamespace(estimated_stepping_batches=100, global_step=40))  # resumed
    assert pace.left(40) is None
    clock_hand.now += 10
    pace.pause()
    clock_hand.now += 10
    pace.resume()
    assert pace.left(50) == 100
    assert pace.left(100) == 0


def test_a_training_without_an_end_has_no_rest(clock_hand):
    pace = Pace(SimpleNamespace(estimated_stepping_batches=float("inf"), global_step=0))
    assert pace.left(50) is None


@pytest.mark.parametrize(
    ("batch", "count"),
    [
        ((torch.zeros(5, 1), torch.zeros(5), torch.arange(5)), 5),
        ((SetBatch(torch.zeros(7, 2), torch.tensor([3, 4])), torch.zeros(2), torch.arange(2)), 2),
        ((torch.zeros(5, 1), {"max": torch.zeros(5), "sum": torch.zeros(5)}, torch.arange(5)), 5),
        ([torch.zeros(5, 1)], 5),
        ({"inputs": torch.zeros(5, 1), "targets": torch.zeros(5)}, 5),
        (torch.zeros(5, 1), 5),
        (3, 0),
        ((), 0),
    ],
)
def test_items_of_a_batch_are_counted(batch, count):
    assert count_items(batch) == count
