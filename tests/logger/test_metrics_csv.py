import csv

import torch

from logger.metrics_csv import MetricsCSV


def read(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_rows_are_on_disk_at_once_and_new_columns_reach_back(tmp_path):
    logger = MetricsCSV(str(tmp_path))
    logger.log_metrics({"epoch": 0, "train_loss_step": 1.5}, step=49)
    assert read(tmp_path / "metrics.csv") == [{"epoch": "0", "step": "49", "train_loss_step": "1.5"}]
    logger.log_metrics({"epoch": 0, "valid_loss": 0.5}, step=99)
    logger.log_metrics({"epoch": 1, "train_loss_step": 0.25}, step=149)
    assert read(tmp_path / "metrics.csv") == [
        {"epoch": "0", "step": "49", "train_loss_step": "1.5", "valid_loss": ""},
        {"epoch": "0", "step": "99", "train_loss_step": "", "valid_loss": "0.5"},
        {"epoch": "1", "step": "149", "train_loss_step": "0.25", "valid_loss": ""},
    ]


def test_values_keep_every_digit_of_a_float32(tmp_path):
    value = torch.tensor(1 / 3).item()
    MetricsCSV(str(tmp_path)).log_metrics({"valid_loss": value}, step=0)
    assert float(read(tmp_path / "metrics.csv")[0]["valid_loss"]) == value
