"""Figures show each run or group under a short label, in letters that its font has."""

import warnings
from pathlib import Path

import matplotlib
import pytest

import fonts
from process.errors import UserError
from table.collect import RunRecord
from table.plot import _drawable, draw
from table.rows import make_table, sizes_of
from table.text import write

DEJAVU = Path(matplotlib.get_data_path(), "fonts", "ttf")


def run(folder="x", settings=None, comment=None, **metrics):
    return RunRecord({"folder": folder, "status": "finished", "comment": comment}, settings or {}, metrics=metrics)


def curve(pool, seed, *accuracies):
    metrics = {f"test_accuracy/n={4**k}": accuracy for k, accuracy in enumerate(accuracies)}
    return run(f"{pool}{seed}", {"hparams.pool": [pool], "hparams.seed": seed}, **metrics)


def curves(runs, **options):
    return make_table(runs, group=True, columns=sizes_of("test_accuracy", runs), **options)


@pytest.fixture
def axis_of(tmp_path, monkeypatch):
    """Return `axis_of(table, metric)`, the axis of the figure that would be written."""
    from matplotlib.figure import Figure

    axes = []

    def drawn(table, metric=None):
        monkeypatch.setattr(Figure, "savefig", lambda figure, *_, **__: axes.extend(figure.axes))
        draw(table, tmp_path / "a.png", metric)
        return axes[-1]

    return drawn


@pytest.mark.parametrize(("name", "begin"), [("a.png", b"\x89PNG\r\n\x1a\n"), ("a.svg", b"<?xml"), ("a.pdf", b"%PDF")])
@pytest.mark.parametrize("kind", ["runs", "groups", "curves"])
def test_formats(tmp_path, name, begin, kind):
    runs = [curve("max", seed, 0.1 * seed, 0.5) for seed in range(3)]
    table = curves(runs) if kind == "curves" else make_table(runs, group=kind == "groups", sort="test_accuracy/n=4")
    assert write(table, tmp_path / name, "test_accuracy" if kind == "curves" else None) == []
    assert (tmp_path / name).read_bytes().startswith(begin)


def test_a_pdf_has_the_fonts_that_publishers_accept(tmp_path):
    write(make_table([run(test_accuracy=0.5)]), tmp_path / "a.pdf")
    content = (tmp_path / "a.pdf").read_bytes()
    assert b"/Subtype /Type3" not in content
    assert b"/CIDFontType2" in content


def test_the_first_and_the_last_row_do_not_lie_on_the_frame(axis_of):
    axis = axis_of(make_table([run("a", test_accuracy=0.1), run("b", test_accuracy=0.2)]))
    assert axis.get_ylim() == (1.5, -0.5)
    assert [float(line.get_ydata()[0]) for line in axis.lines] == [0, 1]


def test_a_figure_shows_every_run_of_a_group_its_mean_and_std(axis_of):
    axis = axis_of(make_table([run(test_accuracy=accuracy) for accuracy in (0.2, 0.6, 0.7)], group=True))
    dots, mean, *_ = axis.lines
    assert list(dots.get_xdata()) == [0.2, 0.6, 0.7]
    assert list(mean.get_xdata()) == [0.5]
    (bar,) = axis.collections[0].get_segments()
    assert bar[:, 0] == pytest.approx([0.5 - 0.07**0.5, 0.5 + 0.07**0.5])


def test_a_figure_draws_what_is_sorted_by_the_best_on_top(axis_of):
    several = [run(m, {"model": m}, a=0.0, loss=x) for m, x in [("cnn", 0.3), ("$vgg_", 0.1), ("none", float("nan"))]]
    axis = axis_of(make_table(several, sort="loss"))
    assert axis.get_xlabel() == "loss (less is better)"
    assert [label.get_text() for label in axis.get_yticklabels()] == ["$vgg_", "cnn", "none"]
    assert axis.get_ylabel() == "model"
    low, high = axis.get_ylim()
    assert low > high


def test_labels_of_single_runs_say_what_differs_and_not_the_whole_path(axis_of):
    def labels(runs):
        return [label.get_text() for label in axis_of(make_table(runs)).get_yticklabels()]

    shared = {"data": "digits", "hparams.lr": 0.1}
    place = "multirun/Default/2026-11-29/15-40-55"
    two = [run(f"{place}/{k}", {**shared, "hparams.seed": k}, comment="x" * k, loss=1.0) for k in range(2)]
    assert labels(two) == ["seed=0", "seed=1 comment=x"]
    assert labels([run(f"{place}/{k}", shared, loss=1.0) for k in (8, 9)]) == [
        f"2026-11-29 15-40-55 {k}" for k in (8, 9)
    ]
    (long,) = [text for text in labels([run("a", comment="b" * 500, loss=1.0), run("c", loss=1.0)]) if "b" in text]
    assert len(long) < 60


def test_a_curve_per_group_with_the_sizes_as_ticks(axis_of):
    runs = [curve("max", 0, 0.5, 0.8), curve("max", 1, 0.7, 0.9), curve("mean", 0, 0.4, 0.6, 0.7)]
    axis = axis_of(curves(runs, sort="test_accuracy/n=4"), "test_accuracy")
    assert axis.get_xscale() == "log"
    assert [label.get_text() for label in axis.get_xticklabels()] == ["1", "4", "16"]
    (first, *_), (second, *_) = (container.lines for container in axis.containers)
    assert list(first.get_xdata()) == [1, 4]
    assert list(first.get_ydata()) == pytest.approx([0.6, 0.85])
    assert list(second.get_xdata()) == [1, 4, 16]
    bars = axis.containers[0].lines[2][0].get_segments()
    assert bars[0][:, 1] == pytest.approx([0.6 - 0.02**0.5, 0.6 + 0.02**0.5])
    assert [text.get_text() for text in axis.get_legend().get_texts()] == ["[max]", "[mean]"]
    assert axis.get_legend().get_title().get_text() == "pool"


def test_letters_of_any_script_are_drawn_or_numbered_and_nothing_warns(tmp_path, monkeypatch):
    monkeypatch.setattr(fonts, "find", lambda letters: None)
    table = make_table([run("a", comment="Café", loss=1.0), run("b", comment="猫", loss=2.0)])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert write(table, tmp_path / "a.png") == ["#1 in the figure: 猫 (no font of this system has its letters)"]


def test_a_font_of_the_system_that_has_the_letters_is_used(tmp_path, monkeypatch):
    """The font of Matplotlib is made to lack a letter, as no font with Japanese comes with a library."""
    real = fonts.lacking
    monkeypatch.setattr(fonts, "lacking", lambda font, text: "Ж" if "Ж" in text else real(font, text))
    monkeypatch.setattr(fonts, "find", {"Ж": DEJAVU / "DejaVuSerif.ttf"}.get)
    assert _drawable(["Ж", "x"]) == (["Ж", "x"], ["DejaVu Sans", "DejaVu Serif"], [])
    table = make_table([run("a", comment="Ж", loss=1.0), run("b", comment="x", loss=2.0)])
    assert write(table, tmp_path / "a.pdf") == []


def test_refused(tmp_path):
    with pytest.raises(UserError, match="none of these runs has a metric"):
        write(make_table([run()]), tmp_path / "a.png")
    with pytest.raises(UserError, match="101 rows cannot be read"):
        write(make_table([run(loss=1.0)] * 101), tmp_path / "a.png")
    with pytest.raises(UserError, match="31 curves cannot be read"):
        write(curves([curve(f"p{k}", 0, 0.1, 0.2) for k in range(31)]), tmp_path / "a.png", "test_accuracy")
    with pytest.raises(UserError, match=r"cannot write .*nowhere"):
        write(make_table([run(loss=1.0)]), tmp_path / "nowhere" / "a.png")
    assert list(tmp_path.iterdir()) == []
