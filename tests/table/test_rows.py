"""Means, standard deviations and ranks are those of the runs that count."""

import math

import pytest

from table.collect import RunRecord, known_as
from table.rows import Spread, make_table, row_labels, sizes_of


def run(accuracy=None, status="finished", comment=None, composed=(), **settings):
    settings = {name.replace("__", "."): value for name, value in settings.items()}
    if comment is not None:
        settings["comment"] = comment
    facts = {"folder": f"outputs/{sorted(settings.items(), key=str)}", "status": status, "comment": comment}
    metrics = {} if accuracy is None else {"test_accuracy": accuracy, "test_loss": 1 - accuracy}
    return RunRecord(facts, settings, dict(composed), metrics)


DAMAGED = RunRecord({"folder": "outputs/x", "status": "damaged", "error": "no run.json"})


def names(table, kind):
    return [column.name for column in table.columns if column.kind == kind]


def column(table, name):
    return [row.get(name) for row in table.rows]


def test_settings_that_differ_are_columns_the_others_are_said_once():
    table = make_table(
        [
            run(0.9, data="digits", hparams__lr=0.1),
            run(0.8, data="digits", hparams__lr=0.2),
            run(0.7, data="digits", hparams__lr=0.1, model="cnn"),
            DAMAGED,
        ]
    )
    assert names(table, "setting") == ["hparams.lr", "model"]
    assert table.shared == {"data": "digits"}
    assert column(table, "hparams.lr") == [0.1, 0.2, 0.1, None]
    assert column(table, "model") == [None, None, "cnn", None]
    assert table.statuses == {"finished": 3, "damaged": 1}
    assert column(table, "error") == [None, None, None, "no run.json"]


def test_a_default_that_is_known_is_shown_and_is_the_same_as_the_value_set():
    default = {"hparams.lr": 0.001, "hparams.seed": 0}
    same = [run(0.9, composed=default), run(0.8, composed=default | {"hparams.seed": 1}, hparams__lr=0.001)]
    assert column(make_table(same, group=True), "n") == [2]
    table = make_table([*same, run(0.7, composed=default | {"hparams.lr": 0.1}, hparams__lr=0.1)])
    assert column(table, "hparams.lr") == [0.001, 0.001, 0.1]


def test_mean_std_and_n_over_all_kinds_of_seeds():
    table = make_table(
        [
            run(0.90, hparams__lr=0.1, hparams__seed=0),
            run(0.94, hparams__lr=0.1, hparams__seed=1, data__split_seed=3),
            run(0.95, hparams__lr=0.1, hparams__seed=0, data__seed=7),
            run(0.50, hparams__lr=0.2, hparams__seed=0),
        ],
        group=True,
    )
    assert names(table, "setting") == ["hparams.lr"]
    assert column(table, "n") == [3, 1]
    first, second = column(table, "test_accuracy")
    assert first.mean == pytest.approx(0.93)
    assert first.std == pytest.approx(((0.03**2 + 0.01**2 + 0.02**2) / 2) ** 0.5)
    assert (second.mean, second.std) == (0.5, None)


def test_a_repeated_run_is_no_further_seed():
    runs = [run(accuracy, hparams__seed=seed) for seed, accuracy in ((0, 0.5), (1, 0.7), (0, 0.6))]  # the newest last
    (row,) = make_table(runs, group=True).rows
    assert (row["n"], row["not counted"]) == (2, "1 repeated")
    assert sorted(row["test_accuracy"].values) == [0.6, 0.7]


def test_folds_are_taken_together_as_seeds_are():
    folds = [run(k / 10, data__fold=k, data__num_folds=5, model=model) for k in range(5) for model in ("cnn", "lenet")]
    table = make_table(folds, group=True)
    assert names(table, "setting") == ["model"]
    assert column(table, "n") == [5, 5]
    assert column(table, "over") == ["5 folds", "5 folds"]
    assert column(table, "test_accuracy")[0].mean == pytest.approx(0.2)
    assert column(table, "test_accuracy")[0].std == pytest.approx((0.1 / 4) ** 0.5)


def test_folds_and_seeds_make_one_group():
    runs = [run(0.5, data__fold=k, hparams__seed=seed) for k in range(5) for seed in range(3)]
    table = make_table([*runs, run(None, "failed", data__fold=5, hparams__seed=3)], group=True)
    (row,) = table.rows
    assert (row["n"], row["over"], row["not counted"]) == (15, "5 folds, 3 seeds", "1 failed")


def test_a_run_on_no_fold_is_not_one_of_the_folds():
    table = make_table(
        [run(0.5, data__fold=0), run(0.6, data__fold=1), run(0.9), run(0.9, data__fold=None)], group=True
    )
    assert column(table, "n") == [2, 2]
    assert column(table, "over") == ["2 folds", ""]


def test_seeds_alone_need_no_column_beside_n():
    table = make_table([run(0.5, hparams__seed=0), run(0.6, hparams__seed=1)], group=True)
    assert names(table, "fact") == ["n"]


def test_only_finished_runs_count():
    runs = [run(0.9, hparams__seed=0), run(0.1, "running", hparams__seed=1), run(None, "failed", hparams__seed=2)]
    table = make_table([*runs, DAMAGED], group=True)
    (row,) = table.rows
    assert row["n"] == 1
    assert row["test_accuracy"] == Spread((0.9,))
    assert row["not counted"] == "1 running, 1 failed"


def test_a_group_in_which_no_run_has_finished_has_no_mean_and_comes_last():
    runs = [run(0.9, "interrupted", model="cnn"), run(0.1, model="lenet"), run(0.2, model="lenet", hparams__seed=1)]
    table = make_table(runs, group=True, sort="test_accuracy")
    assert column(table, "n") == [2, 0]
    assert table.rows[1].get("test_accuracy") is None


def test_other_comments_and_other_settings_are_other_groups():
    runs = [
        run(0.9),
        run(0.8, comment="new code"),
        run(0.7, comment="new code", hparams__seed=1),
        run(0.6, model="cnn"),
    ]
    table = make_table(runs, group=True)
    assert column(table, "n") == [1, 2, 1]
    assert column(table, "comment") == [None, "new code", None]


def test_a_diverged_seed_is_not_hidden_in_the_mean():
    (row,) = make_table([run(0.9), run(float("nan"), hparams__seed=1)], group=True).rows
    assert str(row["test_accuracy"].mean) == str(row["test_accuracy"].std) == "nan"


@pytest.mark.parametrize(
    ("sort", "reverse", "order"),
    [
        ("test_accuracy", False, [0.9, 0.5, 0.1]),
        ("test_accuracy", True, [0.1, 0.5, 0.9]),
        ("test_loss", False, [0.9, 0.5, 0.1]),
        ("test_loss", True, [0.1, 0.5, 0.9]),
        ("hparams.lr", False, [0.5, 0.1, 0.9]),
    ],
)
def test_the_best_comes_first_and_what_has_no_number_last(sort, reverse, order):
    runs = [
        run(None, "failed"),
        run(float("nan")),
        run(0.5, hparams__lr=1e-5),
        run(0.9, hparams__lr=10),
        run(0.1, hparams__lr=0.2),
    ]
    table = make_table(runs, sort=sort, reverse=reverse)
    assert column(table, "test_accuracy")[:3] == order
    assert len(table.rows) == 5
    assert names(table, "metric")[0] == (sort if sort.startswith("test") else "test_accuracy")


def test_groups_are_ranked_by_their_means():
    runs = [run(0.6), run(0.6, hparams__seed=1), run(0.9, model="cnn"), run(0.1, model="cnn", hparams__seed=1)]
    means = [cell.mean for cell in column(make_table(runs, group=True, sort="test_accuracy"), "test_accuracy")]
    assert means == [0.6, 0.5]


def test_what_is_sorted_by_is_shown_and_averaged():
    runs = [run(0.6, hparams__seed=seed) for seed in (0, 1)]
    for seconds, each in zip((10.0, 20.0), runs, strict=True):
        each.facts["seconds"] = seconds
    assert column(make_table(runs, sort="seconds"), "seconds") == [10.0, 20.0]
    (cell,) = column(make_table(runs, group=True, sort="seconds"), "seconds")
    assert cell.mean == 15.0


def test_top():
    table = make_table([run(0.1), run(0.9, model="cnn"), run(0.5)], sort="test_accuracy", top=2)
    assert column(table, "test_accuracy") == [0.9, 0.5]


def test_nothing_at_all():
    assert make_table([]).columns == make_table([], group=True, sort="test_accuracy").columns == []


@pytest.mark.parametrize(("lower", "best"), [(["loss", "hamming_distance"], 0.1), (["loss"], 0.9)])
def test_the_best_first_by_the_direction_that_the_records_hold(lower, best):
    metric = "test_hamming_distance"
    runs = [
        RunRecord({"folder": str(v), "status": "finished"}, {}, {}, {metric: v}, frozenset(lower)) for v in (0.9, 0.1)
    ]
    table = make_table(runs, sort=metric)
    assert column(table, metric)[0] == best
    assert table.lower_is_better == ({metric} if best == 0.1 else set())


def measured(**metrics):
    names = {name.replace("__", "/").replace("_is_", "="): value for name, value in metrics.items()}
    return RunRecord({"folder": "x", "status": "finished", "seconds": 3.0}, {}, metrics=names)


MANY = measured(
    test_accuracy=0.9,
    test_loss=0.1,
    last_valid_accuracy=0.8,
    test_accuracy__n_is_16=0.7,
    test_accuracy__n_is_4=0.6,
    test_accuracy__class_is_cat=0.5,
)


def test_metrics_of_sizes_classes_and_the_last_epoch_are_shown_only_if_they_are_asked_for():
    assert names(make_table([MANY]), "metric") == ["test_accuracy", "test_loss"]
    asked = make_table([MANY], sort="test_accuracy/n=4", asked=["last_valid_accuracy", "data"])
    assert names(asked, "metric") == ["test_accuracy", "test_loss", "test_accuracy/n=4", "last_valid_accuracy"]
    assert asked.ranking == "test_accuracy/n=4"


def test_columns_are_those_that_match_in_the_order_asked_for():
    table = make_table([MANY], columns=["test_loss", "seconds", "test_accuracy/n=*", "test_*"])
    sizes = ["test_accuracy/n=4", "test_accuracy/n=16"]
    assert names(table, "metric") == ["test_loss", *sizes, "test_accuracy", "test_accuracy/class=cat"]
    assert names(table, "fact") == ["folder", "status", "seconds"]
    assert names(make_table([MANY], group=True, columns=["seconds"]), "metric") == []
    assert column(make_table([MANY], group=True, columns=["seconds"]), "seconds") == [Spread((3.0,))]


@pytest.mark.parametrize(
    ("metric", "best"),
    [
        ("test_accuracy/n=16", 0.9),
        ("test_loss/n=16", 0.1),
        ("test_error/n=16", 0.1),
        ("test_accuracy/class=loss", 0.9),
        ("last_valid_loss", 0.1),
        ("train_mean_squared_error", 0.1),
        ("valid_calibration_error", 0.1),
        ("test_lossless", 0.9),
    ],
)
def test_the_best_comes_first_whatever_the_metric(metric, best):
    runs = [RunRecord({"folder": str(v), "status": "finished"}, {}, metrics={metric: v}) for v in (0.5, 0.9, 0.1)]
    assert column(make_table(runs, sort=metric), metric)[0] == best


def test_the_sizes_of_a_metric():
    assert sizes_of("test_accuracy", [MANY]) == ["test_accuracy/n=4", "test_accuracy/n=16"]
    assert sizes_of("test", [MANY]) == sizes_of("test_loss", [MANY]) == []


def test_labels_say_only_what_differs():
    def labels(*settings, **options):
        return row_labels(
            make_table([RunRecord({"folder": "a/b/c", "status": "finished"}, each) for each in settings], **options)
        )

    pools = [{"data": "digits", "hparams.pool": ["max"]}, {"data": "digits", "hparams.pool": ["mean", "std"]}]
    assert labels(*pools) == ("pool", ["[max]", "[mean,std]"])
    assert labels({"model": "cnn"}, {}) == ("model", ["cnn", "default"])
    assert labels({"model": "cnn", "hparams.lr": 1}, {"hparams.lr": 2}) == ("", ["lr=1 model=cnn", "lr=2"])
    alike = ({"a.size": 1, "b.size": 1}, {"a.size": 2, "b.size": 2})
    assert labels(*alike) == ("", ["a.size=1 b.size=1", "a.size=2 b.size=2"])
    assert labels({}, {}) == ("", ["b c", "b c"])
    assert labels({}, {}, group=True) == ("", ["all runs"])
    two = labels(*pools, pools[1], group=True, top=1)
    assert two == ("", ["all runs"])


def test_a_metric_of_sets_of_mixed_sizes_is_shown_and_found_by_its_plain_name():
    runs = [RunRecord({"folder": f, "status": "finished"}, metrics=m) for f, m in (
        ("a", {"test_accuracy/n=1-64": 0.8, "test_accuracy/n=16": 0.7}),
        ("b", {"test_accuracy/n=1-64": 0.9, "test_accuracy/n=16": 0.6}),
    )]  # fmt: skip
    table = make_table(runs, sort="test_accuracy")
    assert names(table, "metric") == ["test_accuracy/n=1-64"]
    assert column(table, "folder") == ["b", "a"], "the best first"
    assert known_as("test_accuracy", {"test_accuracy", "test_accuracy/n=1-64"}) == "test_accuracy"
    assert known_as("test_loss", {"test_accuracy/n=1-64"}) == "test_loss"


@pytest.mark.parametrize(
    ("values", "mean", "std"),
    [
        ((1.5e308, 1.7e308), 1.6e308, math.inf),
        ((1e200, 3e200), 2e200, math.inf),
        ((math.inf, -math.inf), math.nan, math.nan),
        ((math.inf, 1.0), math.inf, math.nan),
        ((0.25, 0.75), 0.5, math.sqrt(0.125)),
    ],
)
def test_numbers_whose_sum_or_square_is_no_float_have_a_mean(values, mean, std):
    spread = Spread(values)
    assert spread.mean == pytest.approx(mean, nan_ok=True)
    assert spread.std == pytest.approx(std, nan_ok=True)


def test_a_number_of_patches_has_nine_digits_at_most():
    names = ["test_accuracy/n=0", "test_accuracy/n=16", "test_accuracy/n=" + "9" * 5000, "test_accuracy/n=04"]
    record = RunRecord({"folder": "a", "status": "finished"}, metrics=dict.fromkeys(names, 0.5))
    assert sizes_of("test_accuracy", [record]) == ["test_accuracy/n=16"]
    assert make_table([record], columns=["*"]).rows[0]["test_accuracy/n=16"] == 0.5
