"""Hyperparameters become flat plain values, and a resumed run's missing points come from metrics.csv."""

import pytest
from torch import nn

from logger.run_logger import RunLogger, flatten, read_rows


@pytest.mark.parametrize("value", [None, True, 1, 0.5, "a", ["a", 1], ("a", None)])
def test_plain_values_stay_as_they_are(value):
    assert flatten({"name": value}) == {"name": value}


def test_nested_values_get_a_path_and_objects_become_text():
    params = {"a": {"b": {1: 2}}, "layer": nn.ReLU(), "layers": [nn.ReLU()], "empty": {}}
    assert flatten(params) == {"a/b/1": 2, "layer": "ReLU()", "layers": "[ReLU()]", "empty": "{}"}


class Points(RunLogger):
    def __init__(self, folder):
        super().__init__(str(folder))
        self.points = []

    def log_metrics(self, metrics, step, seconds):
        self.points.append((step, metrics))


def test_points_that_are_missing_before_the_checkpoint_are_logged_on_resume(tmp_path):
    (tmp_path / "metrics.csv").write_text("epoch,step,valid_recon,lr\n0,1,3,0.1\n0,2,,0.1\n1,3,1,0.1\n1,4,0.5,0.1\n")
    logger = Points(tmp_path)
    logger.recorded = {"epoch": 2, "lr": 2}
    logger.resume_at(3)
    assert logger.points == [(1, {"valid_recon": 3.0}), (3, {"epoch": 1.0, "valid_recon": 1.0, "lr": 0.1})]


def test_no_metrics_csv_has_no_rows(tmp_path):
    assert read_rows(tmp_path / "metrics.csv") == []
