"""A run that has ended gets pictures, and nothing else."""

import json

import numpy
import pytest
from recorder import Recorder

from logger.ended_run import guard_ended
from logger.metrics_csv import MetricsCSV

PICTURE = numpy.zeros((2, 4, 3), dtype=numpy.uint8)
RECORD = {"status": "finished", "sweep": None, "metrics": {"test_accuracy": 1.0}}


class Watched(Recorder):
    """Also writes down the names of all calls."""

    def __init__(self, folder):
        super().__init__(folder)
        self.called = []

    def __getattribute__(self, name):
        if name in ("open", "log_metrics", "log_hyperparams", "log_image", "log_artifact", "end", "close"):
            self.called.append(name)
        return super().__getattribute__(name)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "run.json").write_text(json.dumps(RECORD))
    (tmp_path / "config.yaml").write_text("a: 1")
    (tmp_path / "metrics.csv").write_text("epoch,step,train_loss\n0,10,2\n1,20,1\n")
    return tmp_path


def test_pictures_come_at_the_last_step_and_nothing_else_comes(folder):
    watched = Watched(folder)
    (only,) = guard_ended(
        [MetricsCSV(str(folder)), watched], ["csv", "watched"], 5.0, str(folder), {"start": [], "end": []}
    )
    only.log_hyperparams({"lr": 1})
    only.log_metrics({"test_loss": 2.0}, 0)
    only.log_image("pictures/one", PICTURE, 0)
    only.close(RECORD)
    assert sorted(watched.called) == ["close", "log_image", "open"]
    assert [path.name for path in folder.rglob("*.png")] == ["one_at_20.png"]
    assert (folder / "figures" / "one_at_20.png").exists()


def test_one_that_fails_is_said_and_left_out(folder, caplog):
    watched = Watched(folder)
    watched.open = lambda: 1 / 0
    (only,) = guard_ended([watched], ["watched"], 5.0, str(folder), {"start": [], "end": []})
    only.log_image("pictures/one", PICTURE, 0)
    only.close(RECORD)
    assert (
        "watched: ZeroDivisionError: division by zero; the pictures are in the run folder all the same" in caplog.text
    )
