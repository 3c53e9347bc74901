"""Values of a setting are compared by pairs of runs that differ in nothing else."""

import numpy
import pytest
from scipy import stats

from process.errors import UserError
from table.collect import RunRecord
from table.compare import compare, holm, paired
from table.rows import Interval


def run(pool, seed, accuracy, status="finished", **settings):
    own = {name.replace("__", "."): value for name, value in settings.items()}
    facts = {"folder": f"{pool}{seed}", "status": status}
    known = {"hparams.pool": [pool], "hparams.seed": seed, **own}
    return RunRecord(
        facts, known, {"hparams.lr": 0.1, **known}, metrics={"test_accuracy": accuracy, "test_loss": -accuracy}
    )


def sweep(**values):
    return [run(pool, seed, x) for pool, accuracies in values.items() for seed, x in enumerate(accuracies)]


def by_pool(table):
    return {row["hparams.pool"]: row for row in table.rows}


def test_differences_over_the_seeds_agree_with_scipy():
    values = {"max": [0.90, 0.92, 0.94, 0.93], "mean": [0.85, 0.88, 0.86, 0.87], "std": [0.91, 0.90, 0.93, 0.925]}
    table = compare(sweep(**values), ["hparams.pool"], "test_accuracy")
    assert [row["hparams.pool"] for row in table.rows] == ["[max]", "[std]", "[mean]"]  # the best first
    assert [row["result"] for row in table.rows] == ["reference", "none shown", "worse"]
    tests = {name: stats.ttest_rel(values[name], values["max"]) for name in ("mean", "std")}
    p = dict(zip(("mean", "std"), holm([test.pvalue for test in tests.values()]), strict=True))
    for name, test in tests.items():
        row, interval = by_pool(table)[f"[{name}]"], test.confidence_interval()
        assert row["n"] == 4
        assert row["difference"] == pytest.approx(numpy.mean(values[name]) - numpy.mean(values["max"]))
        assert (row["95% interval"].low, row["95% interval"].high) == pytest.approx((interval.low, interval.high))
        assert row["p (Holm)"] == pytest.approx(p[name])


def test_holms_correction():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])  # as p.adjust of R
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([]) == []


def test_the_correction_decides_what_is_shown():
    """Alone this difference has p = 0.035; among three comparisons it shows nothing."""
    base, better = [0.5, 0.5, 0.5, 0.5], [0.51, 0.53, 0.52, 0.51]
    alone = compare(sweep(max=base, mean=better), ["hparams.pool"], "test_accuracy", "[max]")
    assert 0.02 < by_pool(alone)["[mean]"]["p (Holm)"] < 0.05
    assert by_pool(alone)["[mean]"]["result"] == "better"
    more = sweep(max=base, mean=better, a=[0.5, 0.51, 0.49, 0.5], b=[0.5, 0.52, 0.49, 0.5])
    among = compare(more, ["hparams.pool"], "test_accuracy", "[max]")
    assert by_pool(among)["[mean]"]["p (Holm)"] == pytest.approx(3 * by_pool(alone)["[mean]"]["p (Holm)"])
    assert by_pool(among)["[mean]"]["result"] == "none shown"
    assert "p: paired t test, with Holm's correction for 3 comparisons" in among.notes


def test_seeds_and_folds_form_the_pairs_and_are_not_compared():
    with pytest.raises(UserError, match=r"compare=hparams\.seed: pairs are formed over seeds and folds"):
        compare(sweep(max=[0.5, 0.6], mean=[0.4, 0.5]), ["hparams.seed"], "test_accuracy")


def test_notes_explain_only_what_is_in_the_table():
    def notes(**accuracies):
        return " ".join(compare(sweep(**accuracies), ["hparams.pool"], "test_accuracy", "[max]").notes)

    few = notes(max=[0.5], mean=[0.4])
    assert "n < 3: too few pairs" in few
    assert "Holm" not in few
    assert "none shown" not in few
    assert "n < 3" not in notes(max=[0.5, 0.6, 0.7], mean=[0.5, 0.61, 0.69])
    assert "none shown" in notes(max=[0.5, 0.6, 0.7], mean=[0.5, 0.61, 0.69])


def test_only_seeds_that_both_values_have_make_pairs():
    runs = [*sweep(max=[0.9, 0.8, 0.7, 0.6]), *(run("mean", seed, 0.5 + 0.1 * seed) for seed in (2, 3, 4))]
    runs.append(run("mean", 0, 0.1, status="interrupted"))
    row = by_pool(compare(runs, ["hparams.pool"], "test_accuracy", "[max]"))["[mean]"]
    assert row["n"] == 2
    assert row["difference"] == pytest.approx(((0.7 - 0.7) + (0.8 - 0.6)) / 2)


@pytest.mark.parametrize(
    ("own", "result", "has_interval"),
    [
        ([0.5], "n < 3", False),
        ([0.5, 0.51], "n < 3", True),
        ([0.5, 0.51, 0.495], "worse", True),
        ([0.2, 0.9, 0.9], "none shown", True),
        ([0.8, 0.8, 0.8], "none shown", False),  # no spread: nothing to judge by
        ([0.5, 0.5, float("nan")], "none shown", False),
    ],
)
def test_too_few_pairs_or_too_much_noise_show_no_difference(own, result, has_interval):
    row = by_pool(compare(sweep(max=[0.9, 0.9, 0.9], mean=own), ["hparams.pool"], "test_accuracy", "[max]"))["[mean]"]
    assert row["result"] == result
    assert ("95% interval" in row) == has_interval


def test_values_without_a_common_seed():
    table = compare([run("max", 0, 0.9), run("mean", 1, 0.8)], ["hparams.pool"], "test_accuracy")
    row = by_pool(table)["[mean]"]
    assert (row["n"], row["difference"], row["result"]) == (0, None, "n < 3")


def test_of_a_loss_lower_is_better():
    table = compare(sweep(max=[0.9, 0.91, 0.92], mean=[0.5, 0.52, 0.51]), ["hparams.pool"], "test_loss", "[mean]")
    assert [row["result"] for row in table.rows] == ["better", "reference"]
    assert by_pool(table)["[max]"]["difference"] == pytest.approx(-0.4)


def test_other_settings_are_equal_in_a_pair():
    """Each learning rate is compared in itself, the seeds of the other are no partners."""
    runs = [
        run(pool, seed, lr + (pool == "max") * 0.01 * seed, hparams__lr=lr)
        for pool in ("max", "mean")
        for seed in range(3)
        for lr in (0.1, 0.2)
    ]
    runs += [run("max", seed, 0.9, hparams__lr=0.3) for seed in range(3)]
    table = compare(runs, ["hparams.pool"], "test_accuracy", "[mean]")
    assert [(row["hparams.lr"], row["hparams.pool"], row["n"]) for row in table.rows] == [
        ("0.1", "[max]", 3),
        ("0.1", "[mean]", 3),
        ("0.2", "[max]", 3),
        ("0.2", "[mean]", 3),
    ]
    assert table.rows[0]["difference"] == pytest.approx(0.01)
    assert "3 runs without a partner, as hparams.lr differs too" in table.notes


def test_folds_are_pairs_of_their_own():
    runs = [
        run(pool, seed, x + 0.01 * fold, data__fold=fold)
        for pool, x in (("a", 0.5), ("b", 0.6))
        for seed in (0, 1)
        for fold in (0, 1)
    ]
    assert {row["n"] for row in compare(runs, ["hparams.pool"], "test_accuracy").rows} == {4}


def test_several_settings_are_compared_by_their_combinations():
    runs = [run("max", seed, 0.9 + 0.01 * seed) for seed in range(3)]
    runs += [run("mean", seed, 0.8, optimizer__momentum=0.9) for seed in range(3)]
    with pytest.raises(UserError, match=r"optimizer.momentum too: .*compare=hparams.pool,optimizer.momentum"):
        compare(runs, ["hparams.pool"], "test_accuracy")
    table = compare(runs, ["hparams.pool", "optimizer.momentum"], "test_accuracy")
    assert [(row["optimizer.momentum"], row["n"]) for row in table.rows] == [("null", 3), ("0.9", 3)]


def test_what_does_not_influence_the_result_may_differ():
    runs = [run("max", 0, 0.9, loggers="none", comment="a"), run("mean", 0, 0.8, loggers="mlflow", comment="b")]
    assert [row["n"] for row in compare(runs, ["hparams.pool"], "test_accuracy").rows] == [1, 1]


def test_of_runs_that_are_repeated_the_newest_counts():
    table = compare([run("max", 0, 0.9), run("mean", 0, 0.1), run("mean", 0, 0.8)], ["hparams.pool"], "test_accuracy")
    assert by_pool(table)["[mean]"]["difference"] == pytest.approx(-0.1)
    assert table.notes[-1] == "1 run left out: a newer one has the same settings"


def test_refused():
    with pytest.raises(UserError, match=r"compare=hparams.pool: of the finished runs all have hparams.pool=\[max\]"):
        compare(sweep(max=[0.9, 0.8]), ["hparams.pool"], "test_accuracy")
    with pytest.raises(UserError, match="none has valid_f1"):
        compare(sweep(max=[0.9], mean=[0.8]), ["hparams.pool"], "valid_f1")
    with pytest.raises(
        UserError, match=r"reference=\[sum\]: no such value of hparams.pool; there are \[max\], \[mean\]"
    ):
        compare(sweep(max=[0.9], mean=[0.8]), ["hparams.pool"], "test_accuracy", "[sum]")


def test_no_interval_without_spread():
    assert paired([0.5]) is paired([]) is paired([0.25, 0.25]) is paired([0.5, float("inf")]) is None
    measured = paired([0.0, 1.0])
    assert measured is not None
    assert measured[0] == Interval(pytest.approx(0.5 - 6.3531023), pytest.approx(0.5 + 6.3531023))


def test_differences_that_are_no_float_are_not_judged():
    assert paired([1.7e308, -1.7e308]) is None
    huge = {"a": (1.7e308, 1.6e308, 1.5e308), "b": (-1.7e308, -1.6e308, -1.5e308)}
    table = compare(
        [run(pool, seed, v) for pool, values in huge.items() for seed, v in enumerate(values)],
        ["hparams.pool"],
        "test_accuracy",
    )
    assert {row["result"] for row in table.rows} == {"reference", "none shown"}
