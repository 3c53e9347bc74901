import csv
import os
from datetime import datetime

import pytest
import torch

from logger.metrics_csv import MetricsCSV
from logger.run_logger import read_rows
from process.errors import UserError


def read(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_rows_are_on_disk_at_once_and_new_columns_are_added_to_earlier_rows(tmp_path):
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


def test_metrics_that_depend_on_time_have_a_file_of_their_own(tmp_path):
    logger = MetricsCSV(str(tmp_path))
    logger.log_metrics({"epoch": 0, "lr": 0.1, "system/images_per_second": 90.5}, step=1)
    logger.log_metrics({"epoch": 0, "system/cpu_percent": 50.0}, step=2)
    assert read(tmp_path / "metrics.csv") == [{"epoch": "0", "step": "1", "lr": "0.1"}]
    first, second = read(tmp_path / "system.csv")
    assert datetime.fromisoformat(first.pop("time")) <= datetime.fromisoformat(second.pop("time"))
    assert first == {"epoch": "0", "step": "1", "images_per_second": "90.5", "cpu_percent": ""}
    assert second == {"epoch": "0", "step": "2", "images_per_second": "", "cpu_percent": "50.0"}


def test_a_resumed_run_writes_metrics_again_and_continues_system_csv(tmp_path):
    rows = [{"epoch": 0, "lr": 0.1 * step, "system/speed": float(step)} for step in range(3)]
    logger = MetricsCSV(str(tmp_path))
    for step, row in enumerate(rows[:2]):
        logger.log_metrics(row, step)
    state = logger.state_dict()
    logger.log_metrics({**rows[2], "system/gpu": 1.0}, 2)
    whole = (tmp_path / "metrics.csv").read_bytes()
    again = MetricsCSV(str(tmp_path))
    again.load_state_dict(state)
    again.log_metrics(rows[2], 2)
    assert (tmp_path / "metrics.csv").read_bytes() == whole
    assert [(row["step"], row["gpu"]) for row in read(tmp_path / "system.csv")] == [
        ("0", ""),
        ("1", ""),
        ("2", "1.0"),
        ("2", ""),
    ]


def test_a_damaged_file_keeps_its_whole_rows(tmp_path):
    path = tmp_path / "metrics.csv"
    rows = b"0,1,0.5", b"0,\xff,0.4", b"0,3,0.3,9,9", b"0,4", b"1,x,0.2", b"1,nan,0.1", b"1,6,high", b"1,7,nan"
    path.write_bytes(b"\n".join([b"\xef\xbb\xbfepoch,step,loss", *rows]))
    rows = read_rows(path)
    assert [row["step"] for row in rows] == [1, 4, 6, 7]
    assert rows[0] == {"epoch": 0, "step": 1, "loss": 0.5}
    assert "loss" not in rows[2]
    logger = MetricsCSV(str(tmp_path))
    logger.load_state_dict({"rows": 1})
    logger.log_metrics({"epoch": 1, "loss": 0.25}, 8)
    assert path.read_text() == "epoch,step,loss\n0,1,0.5\n1,8,0.25\n"


def test_a_pipe_in_place_of_the_file_is_refused(tmp_path):
    os.mkfifo(tmp_path / "metrics.csv")
    with pytest.raises(UserError, match=r"metrics\.csv: is no regular file: restore it, or remove it"):
        read_rows(tmp_path / "metrics.csv")


def test_a_header_that_is_no_csv_leaves_no_rows(tmp_path):
    (tmp_path / "metrics.csv").write_text("epoch," + "x" * 200_000 + "\n0,1\n")
    assert read_rows(tmp_path / "metrics.csv") == []


@pytest.mark.parametrize("name", ["metrics.csv", "system.csv"])
def test_no_row_is_written_through_a_link(tmp_path, name):
    """A resumed run writes metrics.csv anew, in the place of the link; system.csv it would only append to."""
    logger = MetricsCSV(str(tmp_path))
    logger.log_metrics({"epoch": 0, "valid_loss": 1.5, "system/cpu": 2.5}, step=1)
    table = (tmp_path / name).rename(tmp_path / "precious").read_text()
    (tmp_path / name).symlink_to("precious")
    with pytest.raises(UserError, match=rf"{name}: it is a link or no regular file; remove it"):
        logger.log_metrics({"epoch": 0, "valid_loss": 1.5, "system/cpu": 2.5}, step=2)
    resumed = MetricsCSV(str(tmp_path))
    resumed.load_state_dict({"rows": 1})
    assert (tmp_path / "precious").read_text() == table
