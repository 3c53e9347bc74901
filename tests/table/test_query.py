"""Filters accept the right runs, and words without a meaning are refused in one line."""

import re

import pytest

from process.errors import UserError
from table.collect import RunRecord
from table.query import as_text, needs_errors, parse, select, why_none

RUN = RunRecord(
    facts={"folder": "outputs/a", "status": "finished", "comment": "warm up, 5%", "started": "2026-11-20T09:00:00"},
    settings={
        "data": "MNIST",
        "hparams.lr": 0.1,
        "hparams.pool": ["mean", "max"],
        "debug": True,
        "hparams.patience": None,
    },
    composed={"model": "cnn", "hparams.lr": 0.1, "hparams.batch_size": 128},
    metrics={"test_accuracy": 0.95, "test_loss": float("nan")},
)
OTHER = RunRecord({"folder": "outputs/b", "status": "failed"}, {"data": "digits", "optimizer.momentum": 0.9})


@pytest.mark.parametrize(
    ("word", "accepted"),
    [
        ("data=MNIST", True),
        ("data=mnist", False),
        ("data=M*", True),
        ("data=M?IST", True),
        ("data!=MNIST", False),
        ("data!=digits", True),
        ("hparams.lr=0.1", True),
        ("hparams.lr=1e-1", True),
        ("hparams.lr=0.10000001", False),
        ("hparams.lr>0.01", True),
        ("hparams.lr<0.1", False),
        ("hparams.lr<=0.1", True),
        ("hparams.lr>=0.2", False),
        ("hparams.pool=[mean,max]", True),
        ("hparams.pool=[mean*]", True),
        ("hparams.pool=m", False),  # [mean,max] is no set of letters
        ("hparams.pool>1", False),
        ("debug=true", True),
        ("debug=True", True),
        ("debug=1", False),
        ("hparams.patience=null", True),
        ("model=cnn", True),  # a default, which nobody set
        ("hparams.batch_size=128", True),
        ("comment=warm*5%", True),
        ("optimizer.momentum=0.9", False),
        ("optimizer.momentum!=0.9", True),
        ("optimizer.momentum=null", True),
        ("optimizer.momentum<1", False),
        ("test_accuracy>0.9", True),
        ("test_accuracy>0.95", False),
        ("test_loss<1", False),
        ("test_loss=nan", True),
        ("status=finished", True),
        ("started>2026-11-19", True),
        ("started<2026-11-20", False),
    ],
)
def test_filters(word, accepted):
    assert (RUN in select([RUN, OTHER], parse([word]))) == accepted


@pytest.mark.parametrize(
    ("word", "accepted"),
    [
        ("test_accuracy/n=16>0.8", True),
        ("test_accuracy/n=16=0.8", False),
        ("test_accuracy/n=16!=0.9", False),
        ("test_accuracy/class=cat<=0.3", True),
        ("folder=outputs/n=16*", True),
    ],
)
def test_a_metric_with_an_equal_sign_in_its_name(word, accepted):
    metrics = {"test_accuracy/n=16": 0.9, "test_accuracy/class=cat": 0.3}
    run = RunRecord({"folder": "outputs/n=16", "status": "finished"}, metrics=metrics)
    assert select([run], parse([word])) == [run] * accepted


def test_a_comparison_of_groups_or_as_a_picture_is_refused():
    for words, line in (
        (["compare=model", "group=true"], "leave out group=true"),
        (["compare=model", "curve=n"], "leave out curve=n"),
        (["compare=model", "output=a.pdf"], "compare= makes a table: choose .csv, .md, .tex"),
    ):
        with pytest.raises(UserError, match=re.escape(line)):
            parse(words)


def test_lists_of_columns():
    query = parse(["columns=test_loss,seconds", "columns=test_accuracy/n=*", "compare=model,hparams.lr"])
    assert query.columns == ["test_loss", "seconds", "test_accuracy/n=*"]
    assert query.compare == ["model", "hparams.lr"]
    assert not needs_errors(query)
    assert needs_errors(parse(["sort=test_error/n=4"]))


def test_a_run_must_pass_all_filters():
    assert select([RUN, OTHER], parse(["data=*", "status=failed"])) == [OTHER]


def test_words(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "09-00-00_lr=0.1").mkdir()
    words = ["09-00-00_lr=0.1", "group=True", "sort=-test_loss", "top=3", "output=a.md", "output=b.png", "data=MNIST"]
    query = parse(words)
    assert query.folders == ["09-00-00_lr=0.1"]
    assert (query.group, query.sort, query.reverse, query.top) == (True, "test_loss", True, 3)
    assert [str(path) for path in query.outputs] == ["a.md", "b.png"]
    assert [str(each) for each in query.filters] == ["data=MNIST"]


@pytest.mark.parametrize(
    ("word", "line"),
    [
        ("hparams.batch_sise=3", "did you mean hparams.batch_size?"),
        ("lr=0.1", "did you mean hparams.lr?"),
        ("grup=true", "did you mean group?"),
        ("outptu=runs.md", "did you mean output?"),
        ("sort=test_acuracy", "did you mean test_accuracy?"),
        ("qqqqqqqq=1", "there are best_epoch, best_score, comment, data,"),
        ("nowhere", "nowhere: no such folder; a comparison needs quotes"),
        ("outputs/nowhere", "outputs/nowhere: no such folder"),
        ("--group", "--group: no such option"),
        ("group=yes", "group=yes: must be true or false"),
        ("top=0", "top=0: must be a whole number >= 1"),
        ("top=many", "top=many: must be a whole number >= 1"),
        ("output=table.xlsx", "must be one of .csv, .md,"),
        ("output=csv", "must be one of .csv, .md,"),
        ("curve=patches", "curve=patches: must be n"),
        ("reference=[max]", "compare=SETTING, which is missing"),
        (
            "columns=test_loss,tset_accuracy",
            "tset_accuracy: no run has such a setting or metric; did you mean test_acc",
        ),
        ("columns=f1_*", "f1_*: no run has such a setting or metric"),
        ("compare=hparams.pol", "did you mean hparams.pool?"),
        ("", "one of the words is empty"),
        ("x" * 300, "no such folder"),
        ("test_accuracy>high", "test_accuracy is a number, and 'high' is none"),
    ],
)
def test_refused(word, line):
    with pytest.raises(UserError) as error:
        select([RUN, OTHER], parse([word]))
    assert line in str(error.value)
    assert "\n" not in str(error.value)


def test_a_value_that_no_run_has_gets_the_list_of_those_that_are():
    query = parse(["status=*", "data=mnist"])
    assert select([RUN, OTHER], query) == []
    assert why_none([RUN, OTHER], query) == "no run has data=mnist: there are MNIST, digits"


def test_values_are_written_as_on_the_command_line():
    values = ["text", 3, 1e-05, True, False, None, ["mean", "max"], {"a": [1, None]}]
    texts = ["text", "3", "1e-05", "true", "false", "null", "[mean,max]", "{a:[1,null]}"]
    assert [as_text(value) for value in values] == texts
