"""Printed and written tables are aligned and exact, and contain no control characters."""

import csv
import shutil
import subprocess
from collections import Counter

import pytest
from markdown_it import MarkdownIt

from process.errors import UserError
from table.collect import RunRecord
from table.rows import Column, Interval, Spread, Table, make_table
from table.text import cell_text, comma_separated, latex, markdown, plain, write


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
        "| 1 | 一つ目 a&#124;b | 0.2500 |",
    ]


HOSTILE = r"<img src=x onerror=alert(1)> **b** [x](javascript:1) "
HOSTILE += r"$a$ `c` a|b ~s~ &lt; &amp; _i_ __b__ a_b \_ \| ![y](z) \\ <!-- a"


def test_text_of_people_is_text_in_markdown_and_in_the_html_out_of_it():
    metric = f"test_{HOSTILE}"
    runs = [
        RunRecord(
            {"folder": f"outputs/{HOSTILE}/{number}", "status": "finished", "comment": HOSTILE},
            {f"hparams.{HOSTILE}": number, "hparams.x": [HOSTILE, number]},
            metrics={metric: 0.5},
        )
        for number in range(2)
    ]
    table = make_table(runs)
    table.notes.append(HOSTILE)
    reader = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
    tokens = reader.parse(markdown(table))
    assert {child.type for token in tokens for child in token.children or []} <= {"text", "text_special"}
    found = ["".join(child.content for child in token.children) for token in tokens if token.type == "inline"]
    cells = [column.name for column in table.columns]
    cells += [cell_text(row, column) for row in table.rows for column in table.columns]
    assert found == [*cells, HOSTILE]
    assert "$" not in markdown(table)  # of formulas, which not all readers know


def test_a_name_in_a_record_breaks_no_line():
    table = make_table([RunRecord({"folder": "x", "status": "finished"}, metrics={"test_a\n\x1b[31mb": 0.5})])
    assert markdown(table).splitlines()[0] == r"| folder | status | test_a \x1b&#91;31mb |"


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
    assert text("two\nlines\t\x1b[31mred \ud800", kind="fact") == r"two lines \x1b[31mred \ud800"


def test_differences_have_a_sign_and_intervals_two_ends():
    assert text(0.01, kind="difference") == "+0.0100"
    assert text(-0.01, kind="difference") == "-0.0100"
    assert text(-0.000162, kind="difference") == "-0.0002"  # of accuracies, which have four digits
    assert text(1.5e-7, kind="difference") == "+1.5e-07"
    assert text(Interval(-1e-4, 2e-4), kind="difference") == "-0.0001 to 0.0002"
    assert text(Interval(-0.01, 1.5e-7), kind="difference") == "-0.0100 to 0.0000"


def test_latex():
    runs = [
        RunRecord(
            {"folder": "x", "status": "finished", "comment": comment},
            {"data": "di_gits", "hparams.pool": pool, "hparams.seed": seed},
            metrics={"test_accuracy": accuracy, "test_loss": -accuracy, "test_accuracy/n=16": accuracy},
        )
        for pool, comment, seed, accuracy in [
            (["max"], "5% & #1_a^b~c\\d{e}$", 0, 0.5),
            (["max"], "5% & #1_a^b~c\\d{e}$", 1, 0.7),
            (["mean"], "<b>", 0, 0.9),
        ]
    ]
    table = make_table(runs, group=True, columns=["test_accuracy", "test_loss", "test_accuracy/n=*"])
    table.columns.sort(key=lambda column: column.name == "n")  # the first cell of a row begins with a bracket
    assert latex(table).splitlines() == [
        r"% \usepackage{booktabs}",
        "% in all of them: data=di_gits",
        r"\begin{tabular}{llrrrr}",
        r"\toprule",
        r"pool & comment & test accuracy & test loss & test accuracy, $n=16$ & n \\",
        r"\midrule",
        r"{[}max{]} & 5\% \& \#1\_a\textasciicircum{}b\textasciitilde{}c\textbackslash{}d\{e\}\$ & "
        r"0.6000 $\pm$ 0.1414 & $-$0.6000 $\pm$ 0.1414 & 0.6000 $\pm$ 0.1414 & 2 \\",
        r"{[}mean{]} & $<$b$>$ & \textbf{0.9000} & \textbf{$-$0.9000} & \textbf{0.9000} & 1 \\",
        r"\bottomrule",
        r"\end{tabular}",
    ]


def test_latex_of_a_curve_names_the_metric_above_the_numbers_and_prints_equal_means_equally_bold():
    runs = [
        RunRecord(
            {"folder": "x", "status": "finished"},
            {"model": model, "hparams.seed": seed},
            metrics={"test_error/n=4": error, "test_error/n=16": error + offset},
        )
        for model, offset, errors in [("cnn", 0.1, (0.2, 0.4)), ("vgg", 0.2, (0.2, 0.40006))]
        for seed, error in enumerate(errors)
    ]
    table = make_table(runs, group=True, columns=["test_error/n=*"])
    assert latex(table).splitlines()[3:] == [
        r" &  & \multicolumn{2}{c}{test error by the number of patches} \\",
        r"\cmidrule(lr){3-4}",
        r"n & model & 4 & 16 \\",
        r"\midrule",
        r"2 & cnn & \textbf{0.3000 $\pm$ 0.1414} & \textbf{0.4000 $\pm$ 0.1414} \\",
        r"2 & vgg & \textbf{0.3000 $\pm$ 0.1415} & 0.5000 $\pm$ 0.1415 \\",
        r"\bottomrule",
        r"\end{tabular}",
    ]


def test_the_best_that_is_bold_is_the_lowest_loss():
    runs = [
        RunRecord({"folder": x, "status": "finished"}, metrics={"test_loss": v}) for x, v in (("a", 0.2), ("b", 0.1))
    ]
    assert r"a & finished & 0.2000" in latex(make_table(runs))
    assert r"b & finished & \textbf{0.1000}" in latex(make_table(runs))
    assert "textbf" not in latex(make_table(runs[:1]))  # the best of one


def test_csv_and_markdown_of_a_comparison():
    columns = [Column("model", "setting"), Column("95% interval", "difference")]
    rows = [{"model": "cnn"}, {"model": "vgg", "95% interval": Interval(-0.125, 0.25)}]
    compared = Table(columns, rows, {}, Counter(), notes=["one note"])
    assert comma_separated(compared).splitlines() == [
        "model,95% interval_low,95% interval_high",
        "cnn,,",
        "vgg,-0.125,0.25",
    ]
    assert markdown(compared).splitlines()[-3:] == ["| vgg | -0.1250 to 0.2500 |", "", "one note"]


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="needs pdflatex")
@pytest.mark.processes
def test_latex_compiles(tmp_path):
    comment = "5% & #1_a^b~c\\d{e}$ <b> [x]"
    runs = [RunRecord({"folder": "x", "status": "finished", "comment": comment}, metrics={"test_loss": -0.1})]
    page = (
        rf"\documentclass{{article}}\usepackage{{booktabs}}\begin{{document}}{latex(make_table(runs))}\end{{document}}"
    )
    (tmp_path / "a.tex").write_text(page)
    subprocess.run(["pdflatex", "-halt-on-error", "a.tex"], cwd=tmp_path, check=True, capture_output=True)


def runs(number=3, **metrics):
    return [
        RunRecord({"folder": f"outputs/${seed}_", "status": "finished"}, {"hparams.seed": seed}, metrics=dict(metrics))
        for seed in range(number)
    ]


def test_a_file_holds_the_text_of_the_format_that_its_ending_names(tmp_path):
    table = make_table(runs(test_accuracy=0.5))
    for name, text in (("a.csv", comma_separated(table)), ("a.md", markdown(table)), ("a.tex", latex(table))):
        assert write(table, tmp_path / name) == []
        assert (tmp_path / name).read_text(encoding="utf-8") == text
    assert len(list(tmp_path.iterdir())) == 3


def test_what_cannot_be_written_is_refused_in_one_line_and_leaves_no_file(tmp_path):
    with pytest.raises(UserError, match="none of these runs has a metric"):
        write(make_table(runs()), tmp_path / "a.png")
    with pytest.raises(UserError, match="101 rows cannot be read"):
        write(make_table(runs(101, loss=1.0)), tmp_path / "a.png")
    with pytest.raises(UserError, match=r"cannot write .*nowhere"):
        write(make_table(runs()), tmp_path / "nowhere" / "a.csv")
    assert list(tmp_path.iterdir()) == []
