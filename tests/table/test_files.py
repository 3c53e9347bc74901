"""The files of a report are complete and of the format that their ending names, or are refused in one line."""

import pytest

from process.errors import UserError
from table.collect import RunRecord
from table.files import write
from table.rows import make_table
from table.text import comma_separated, latex, markdown


def runs(number=3, **metrics):
    return [
        RunRecord({"folder": f"outputs/${seed}_", "status": "finished"}, {"hparams.seed": seed}, metrics=dict(metrics))
        for seed in range(number)
    ]


def test_text(tmp_path):
    table = make_table(runs(test_accuracy=0.5))
    for name, text in (("a.csv", comma_separated(table)), ("a.md", markdown(table)), ("a.tex", latex(table))):
        assert write(table, tmp_path / name) == []
        assert (tmp_path / name).read_text(encoding="utf-8") == text
    assert len(list(tmp_path.iterdir())) == 3


def test_refused(tmp_path):
    with pytest.raises(UserError, match="none of these runs has a metric"):
        write(make_table(runs()), tmp_path / "a.png")
    with pytest.raises(UserError, match="101 rows cannot be read"):
        write(make_table(runs(101, loss=1.0)), tmp_path / "a.png")
    with pytest.raises(UserError, match=r"cannot write .*nowhere"):
        write(make_table(runs()), tmp_path / "nowhere" / "a.csv")
    assert list(tmp_path.iterdir()) == []
