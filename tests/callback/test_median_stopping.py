"""Which jobs of a sweep go on and which do not, by the files of the others."""

import json
import logging
import math

import pytest
import pytorch_lightning as pl
from small_fit import batches, classifier

from callback.median_stopping import MedianStopping
from logger.metrics_csv import MetricsCSV


def job(sweep, number, values, monitor="valid_accuracy", **record):
    """A folder as a job leaves it: `values` at the end of epoch 0, 1, ..."""
    folder = sweep / str(number)
    folder.mkdir(parents=True)
    logger = MetricsCSV(str(folder))
    for epoch, value in enumerate(values):
        logger.log_metrics({"epoch": epoch, "train_loss_step": 9.0}, step=epoch)
        logger.log_metrics({"epoch": epoch, monitor: value}, step=epoch)
        logger.log_metrics({"epoch": epoch, "train_loss": 9.0}, step=epoch)
    logger.log_metrics({"epoch": len(values), "test_loss": 9.0}, step=9)
    (folder / "run.json").write_text(json.dumps({"status": "finished", **record}))
    return folder


def rule(folder, mode="max", n_startup_trials=3, n_warmup_epochs=0):
    return MedianStopping(str(folder), "valid_accuracy", mode, n_startup_trials, n_warmup_epochs)


@pytest.fixture
def sweep(tmp_path):
    """Three jobs, whose bests after epoch 0, 1, 2 have the medians 0.2, 0.6, 0.7."""
    job(tmp_path, 0, [0.1, 0.6, 0.5])
    job(tmp_path, 1, [0.2, 0.1, 0.8])
    job(tmp_path, 2, [0.3, 0.7, 0.7])
    return tmp_path


@pytest.mark.parametrize(
    ("values", "stops"),
    [
        ([0.2], False),  # no worse than the median
        ([0.19], True),
        ([0.1, 0.6], False),
        ([0.1, 0.59], True),
        ([0.6, 0.1], False),  # by its best so far
        ([0.1, 0.1, 0.69], True),
        ([0.1, 0.1, 0.7], False),
        ([0.1, 0.1, 0.7, 0.0], False),  # longer than any other: with what these had
        ([math.nan], True),
        ([0.3, math.nan], True),
        ([], False),  # nothing is measured yet
    ],
)
def test_stops_what_is_worse_than_the_median_of_the_bests_at_the_same_epoch(sweep, values, stops):
    assert bool(rule(job(sweep, 3, values, status="running")).reason_to_stop()) == stops


@pytest.mark.parametrize(("value", "stops"), [(0.2, False), (0.21, True), (math.nan, True)])
def test_of_a_loss_the_least_is_best(sweep, value, stops):
    assert bool(rule(job(sweep, 3, [value], status="running"), mode="min").reason_to_stop()) == stops


def test_the_reason_in_words(sweep):
    assert rule(job(sweep, 10, [0.1, 0.123456])).reason_to_stop() == (
        "stopped after epoch 2: valid_accuracy is 0.1235 so far; half of the 3 jobs that were not stopped had reached "
        "0.6 by then"
    )


def test_the_first_jobs_and_the_first_epochs_go_on(sweep):
    folder = job(sweep, 3, [0.0, 0.0], status="running")
    assert rule(folder, n_startup_trials=4).reason_to_stop() is None
    assert rule(folder, n_warmup_epochs=2).reason_to_stop() is None
    assert rule(folder, n_warmup_epochs=1).reason_to_stop()


@pytest.mark.parametrize(
    "other",
    [
        {"status": "running"},
        {"status": "failed"},
        {"stopped_early": "stopped after epoch 1: ..."},
    ],
)
def test_only_jobs_that_came_to_their_end_count(sweep, other):
    job(sweep, 4, [0.9, 0.9, 0.9], **other)
    callback = rule(job(sweep, 3, [0.0], status="running"), n_startup_trials=4)
    assert callback.reason_to_stop() is None
    job(sweep, 5, [0.9])
    assert callback.reason_to_stop()


def test_what_cannot_be_read_is_left_out(sweep):
    for number, (record, metrics) in enumerate(
        [
            ("", "epoch,valid_accuracy\n0,0.9\n"),
            ("[1]", "epoch,valid_accuracy\n0,0.9\n"),
            ('{"status": "finished"}', None),
            ('{"status": "finished"}', "epoch,step\n0,1\n"),
            ('{"status": "finished"}', "epoch,valid_accuracy\n0,\x00much\n"),
        ],
        start=10,
    ):
        (sweep / str(number)).mkdir()
        (sweep / str(number) / "run.json").write_text(record)
        if metrics is not None:
            (sweep / str(number) / "metrics.csv").write_text(metrics)
    (sweep / "source").mkdir()
    (sweep / "sweep.json").touch()
    folder = job(sweep, 3, [0.0], status="running")
    assert rule(folder).reason_to_stop()
    assert rule(folder, n_startup_trials=4).reason_to_stop() is None


def test_a_run_beside_others_is_no_job(tmp_path):
    for name in ("09-00-00", "09-00-01"):
        job(tmp_path, name, [0.9])
    assert rule(job(tmp_path, "09-00-02", [0.0]), n_startup_trials=1).reason_to_stop() is None


def test_a_job_that_has_ended_is_read_once(sweep):
    callback = rule(job(sweep, 4, [0.0], status="running"))
    assert callback.reason_to_stop()
    for number in range(3):
        (sweep / str(number) / "metrics.csv").unlink()
        (sweep / str(number) / "run.json").unlink()
    assert callback.reason_to_stop()


def train(folder, callback, epochs=4, **settings):
    """Train a network whose valid_loss is between 0.9 and 2 all the time."""
    trainer = pl.Trainer(
        accelerator="cpu",
        max_epochs=epochs,
        logger=MetricsCSV(str(folder)),
        callbacks=callback,
        default_root_dir=folder,
        log_every_n_steps=1,
        num_sanity_val_steps=0,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
        **settings,
    )
    trainer.fit(classifier(lr=0.01), batches([4, 4]), batches([4]))
    return trainer


@pytest.mark.filterwarnings("ignore:.*does not have many workers", "ignore:It is recommended to use")
class TestTraining:
    def monitored(self, folder, n_warmup_epochs=0):
        folder.mkdir(exist_ok=True)
        return MedianStopping(str(folder), "valid_loss", "min", 2, n_warmup_epochs)

    def test_ends_after_the_epoch_at_which_it_lags(self, tmp_path, caplog):
        for number in range(2):
            job(tmp_path, number, [9.0, 9.0, 0.1, 0.1], monitor="valid_loss")
        callback = self.monitored(tmp_path / "2")
        with caplog.at_level(logging.INFO, "callback.median_stopping"):
            trainer = train(tmp_path / "2", callback)
        assert trainer.current_epoch == 3  # the number of epochs that were trained
        assert callback.stopped_early.startswith("stopped after epoch 3: valid_loss is")
        said = [record.getMessage() for record in caplog.records if record.name == "callback.median_stopping"]
        assert said == [callback.stopped_early]
        later = self.monitored(tmp_path / "2")
        later.load_state_dict(callback.state_dict())
        assert later.stopped_early == callback.stopped_early

    def test_goes_on_where_it_is_no_worse(self, tmp_path):
        for number in range(2):
            job(tmp_path, number, [9.0, 9.0, 9.0, 9.0], monitor="valid_loss")
        callback = self.monitored(tmp_path / "2")
        callback.stopped_early = "of before it was resumed with more patience"
        assert train(tmp_path / "2", callback).current_epoch == 4
        assert callback.stopped_early is None

    def test_the_last_epoch_is_no_early_end(self, tmp_path):
        for number in range(2):
            job(tmp_path, number, [0.1], monitor="valid_loss")
        callback = self.monitored(tmp_path / "2")
        train(tmp_path / "2", callback, epochs=1)
        assert callback.stopped_early is None

    def test_all_ranks_end_together(self, tmp_path):
        for number in range(2):
            job(tmp_path, number, [9.0, 0.1, 0.1, 0.1], monitor="valid_loss")
        said = Said(tmp_path)
        train(tmp_path / "2", [self.monitored(tmp_path / "2"), said], strategy="ddp_fork", devices=2)
        assert {path.name: path.read_text() for path in tmp_path.glob("rank*")} == {"rank0": "2", "rank1": "2"}


class Said(pl.Callback):
    """Callback that writes the number of epochs that each rank has trained to a file."""

    def __init__(self, folder):
        self.folder, self.epochs = folder, 0

    def on_train_epoch_end(self, trainer, pl_module):
        self.epochs += 1
        (self.folder / f"rank{trainer.global_rank}").write_text(str(self.epochs))


@pytest.mark.parametrize("wrong", [{"mode": "up"}, {"n_startup_trials": 0}, {"n_warmup_epochs": -1}])
def test_wrong_arguments(tmp_path, wrong):
    with pytest.raises(ValueError, match=f"{next(iter(wrong))}="):
        rule(tmp_path, **wrong)
