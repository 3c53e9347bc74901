"""Printed and written tables are aligned and exact, and contain no control characters."""

import csv

from table.collect import RunRecord
from table.rows import Column, Spread, make_table
from table.text import cell_text, comma_separated, markdown, plain


def table(group=False):
    runs = [
        RunRecord(
            {"folder": f"outputs/{seed}", "status": "finished", "comment": comment},
            {"hparams.pool": ["mean", "max"], "hparams.seed": seed, **({"comment": comment} if comment else {})},
            metrics={"test_accuracy": accuracy},
        )
        for seed, accuracy, comment in [(0, 0.123456789, None), (1, 0.5, None), (2, 0.25, "一つ目 a|b")]
    ]
    return make_table(runs, group=group)


def test_plain_columns_are_aligned_by_the_cells_of_a_terminal():
    lines = plain(table()).splitlines()
    assert lines == [
        "folder     status    hparams.seed  comment     test_accuracy",
        "outputs/0  finished             0                     0.1235",
        "outputs/1  finished             1                     0.5000",
        "outputs/2  finished             2  一つ目 a|b         0.2500",  # a letter of Japanese is two cells wide
    ]


def test_markdown():
    assert markdown(table(group=True)).splitlines() == [
        "| n | comment | test_accuracy |",
        "| ---: | --- | ---: |",
        "| 2 |  | 0.3117 ± 0.2663 |",
        "| 1 | 一つ目 a\\|b | 0.2500 |",
    ]


def test_csv_has_all_digits():
    rows = list(csv.DictReader(comma_separated(table()).splitlines()))
    assert float(rows[0]["test_accuracy"]) == 0.123456789
    assert rows[2]["comment"] == "一つ目 a|b"


def test_csv_of_groups():
    first, second = csv.DictReader(comma_separated(table(group=True)).splitlines())
    assert float(first["test_accuracy"]) == (0.123456789 + 0.5) / 2
    assert abs(float(first["test_accuracy_std"]) - 0.26625) < 1e-4
    assert first["test_accuracy_n"] == first["n"] == "2"
    assert second["test_accuracy_std"] == ""


def text(value, kind="metric", **row):
    return cell_text({"x": value, **row}, Column("x", kind))


def test_digits():
    assert text(0.97283) == "0.9728"
    assert text(0.0) == "0.0000"
    assert text(1.5e-7) == "1.5e-07"
    assert text(3.2e20) == "3.2e+20"
    assert text(float("nan")) == "nan"
    assert text(1e-5, kind="setting") == "1e-05"
    assert text(Spread((0.1, 0.3)), n=2) == "0.2000 ± 0.1414"
    assert text(Spread((0.1, 0.3)), n=3) == "0.2000 ± 0.1414 (n=2)"
    assert text(Spread((0.1,)), n=1) == "0.1000"


def test_no_comment_breaks_a_line_or_steers_the_terminal():
    assert text("two\nlines\t\x1b[31mred \ud800", kind="fact") == "two lines \ufffd[31mred \ufffd"
