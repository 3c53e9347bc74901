"""The closing table of a sweep: the names and the order are those of report.py."""

from pathlib import Path
from types import SimpleNamespace

import pytest
from run_records import make_run

from sweep.progress import print_table
from table.collect import read_runs


@pytest.mark.parametrize(
    ("monitor", "lower", "first"),
    [
        ("valid_accuracy", ["loss"], "1"),
        ("valid_loss", ["loss"], "0"),
        ("train_loss", ["loss"], "0"),
        ("valid_loss/n=1-64", ["loss"], "0"),
        ("valid_recon", ["loss", "recon"], "0"),
        ("valid_recon", ["loss"], "1"),
    ],
)
def test_the_best_job_comes_first_by_what_was_measured_of_its_best_checkpoint(
    tmp_path, command, capsys, monitor, lower, first
):
    values = {"0": 0.1, "1": 0.9, "2": 0.5}
    for job, value in values.items():
        facts = {"metrics": {monitor: value}, "last_metrics": {monitor: 1 - value}, "best_score": value}
        make_run(tmp_path / "sweep" / job, settings={"hparams.lr": value}, lower_is_better=lower, best_epoch=7, **facts)
    runs = {int(job): read_runs([str(tmp_path / "sweep" / job)])[0] for job in values}
    print_table(SimpleNamespace(runs=runs, monitor=monitor, varied=["hparams.lr"], finished=3, folder=tmp_path))
    header, *rows = (line.split() for line in capsys.readouterr().out.splitlines())
    assert header == ["folder", "status", "hparams.lr", monitor, "best_epoch"]
    order = ["0", "2", "1"] if first == "0" else ["1", "2", "0"]
    assert [row[0] for row in rows] == order
    assert command("report", str(tmp_path / "sweep"), f"sort={monitor}") == 0
    assert [Path(line.split()[0]).name for line in capsys.readouterr().out.splitlines()[1:]] == order
