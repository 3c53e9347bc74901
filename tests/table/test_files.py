"""The files of a report are complete and of the format that their ending names, or are refused in one line."""

import pytest

from process.errors import UserError
from table.collect import RunRecord
from table.files import draw, write
from table.rows import make_table
from table.text import comma_separated, markdown


def runs(number=3, **metrics):
    return [
        RunRecord({"folder": f"outputs/${seed}_", "status": "finished"}, {"hparams.seed": seed}, metrics=dict(metrics))
        for seed in range(number)
    ]


def test_text(tmp_path):
    table = make_table(runs(test_accuracy=0.5))
    for name, text in (("a.csv", comma_separated(table)), ("a.md", markdown(table))):
        write(table, tmp_path / name)
        assert (tmp_path / name).read_text(encoding="utf-8") == text
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize(("name", "begin"), [("a.png", b"\x89PNG\r\n\x1a\n"), ("a.svg", b"<?xml"), ("a.pdf", b"%PDF")])
@pytest.mark.parametrize("group", [False, True])
def test_figure(tmp_path, name, begin, group):
    write(make_table(runs(test_accuracy=0.5), group=group), tmp_path / name)
    assert (tmp_path / name).read_bytes().startswith(begin)


def drawn(table, tmp_path, monkeypatch):
    """Return the axis of the figure instead of writing a file."""
    from matplotlib.figure import Figure

    axes = []
    monkeypatch.setattr(Figure, "savefig", lambda figure, *_, **__: axes.extend(figure.axes))
    draw(table, tmp_path / "a.png")
    return axes[0]


def test_a_figure_shows_every_run_of_a_group_its_mean_and_std(tmp_path, monkeypatch):
    several = [run for accuracy in (0.2, 0.6, 0.7) for run in runs(1, test_accuracy=accuracy)]
    axis = drawn(make_table(several, group=True), tmp_path, monkeypatch)
    dots, mean, *_ = axis.lines
    assert list(dots.get_xdata()) == [0.2, 0.6, 0.7]
    assert list(mean.get_xdata()) == [0.5]
    (bar,) = axis.collections[0].get_segments()
    assert bar[:, 0] == pytest.approx([0.5 - 0.07**0.5, 0.5 + 0.07**0.5])


def test_a_figure_draws_what_is_sorted_by_the_best_on_top(tmp_path, monkeypatch):
    several = [
        RunRecord({"folder": f, "status": "finished"}, {"model": f}, metrics={"a": 0, "loss": x})
        for f, x in [("cnn", 0.3), ("$vgg_", 0.1), ("none", float("nan"))]
    ]
    axis = drawn(make_table(several, sort="loss"), tmp_path, monkeypatch)
    assert axis.get_xlabel() == "loss (less is better)"
    assert [label.get_text() for label in axis.get_yticklabels()] == ["model=$vgg_", "model=cnn", "model=none"]
    low, high = axis.get_ylim()
    assert low > high


def test_refused(tmp_path):
    with pytest.raises(UserError, match="none of these runs has a metric"):
        write(make_table(runs()), tmp_path / "a.png")
    with pytest.raises(UserError, match="101 rows cannot be read"):
        write(make_table(runs(101, loss=1.0)), tmp_path / "a.png")
    with pytest.raises(UserError, match=r"cannot write .*nowhere"):
        write(make_table(runs()), tmp_path / "nowhere" / "a.csv")
    assert list(tmp_path.iterdir()) == []
