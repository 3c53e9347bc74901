"""The table on terminals of several widths, and through a pipe."""

import re

import pytest
from rich.cells import cell_len

from table.collect import RunRecord
from table.rows import make_table
from table.terminal import show

RUNS = [
    RunRecord(
        {
            "folder": f"outputs/Default/2026-11-20/09-00-00_a-rather-long-comment/{seed}",
            "status": "finished",
            "comment": "[red]a rather long comment[/red] 一つ目",
        },
        {"hparams.seed": seed, "hparams.batch_size": 2**seed},
        metrics={f"{part}_{name}": 0.5 for part in ("test", "train", "valid") for name in ("accuracy", "loss")},
    )
    for seed in range(3)
]


@pytest.fixture
def terminal(monkeypatch, capsys):
    """Return `terminal(runs, width)`, which returns the texts on stdout and stderr."""

    def shown(runs, width, **options):
        monkeypatch.setenv("TTY_COMPATIBLE", "1")
        monkeypatch.setenv("COLUMNS", str(width))
        show(make_table(runs, **options))
        out, err = capsys.readouterr()
        return re.sub(r"\x1b\[[\d;]*m", "", out), err

    return shown


@pytest.mark.parametrize("width", [50, 80, 100, 120, 160, 200])
def test_no_line_is_wider_than_the_terminal(terminal, width):
    out, err = terminal(RUNS, width)
    lines = out.splitlines()
    assert all(cell_len(line) <= width for line in lines)
    assert "accuracy" in out
    assert out.count(" 0.5000 ") >= len(RUNS)
    assert ("too narrow for" in err) == (width < 200)
    shown = "".join(line[2:].split(" ")[0] for line in lines)  # folded, the path is still whole
    for run in RUNS:
        assert run.facts["folder"] in shown


def test_what_does_not_fit_is_named_and_the_rest_of_the_columns_is_shown(terminal):
    out, err = terminal(RUNS, 90)
    assert "batch_size" in out
    (line,) = [line for line in err.splitlines() if line.startswith("too narrow for")]
    for name in ("comment", "test_loss", "valid_accuracy", "valid_loss", "train_accuracy", "train_loss"):
        assert name in line
    assert "loss" not in out


def test_what_is_sorted_by_is_always_there(terminal):
    out, _ = terminal(RUNS, 60, sort="train_loss")
    assert "train_" in out


def test_a_comment_is_no_markup(terminal):
    out, _ = terminal(RUNS, 250)
    assert "[red]a rather long comment[/red] 一つ目" in out


def test_very_many_rows_are_printed_plainly_and_no_wider(terminal):
    out, _ = terminal(RUNS * 400, 100)
    lines = out.splitlines()
    assert len(lines) == 1 + 3 * 400
    assert all(cell_len(line) <= 100 for line in lines)


def test_a_pipe_gets_all_columns_one_line_per_run(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "60")
    show(make_table(RUNS))
    out, err = capsys.readouterr()
    header, *lines = out.splitlines()
    assert header.split()[:4] == ["folder", "status", "hparams.seed", "hparams.batch_size"]
    assert "train_loss" in header
    assert len(lines) == 3
    assert err == "3 runs: 3 finished\n"


def test_no_runs(capsys):
    show(make_table([]))
    assert capsys.readouterr() == ("", "0 runs\n")
