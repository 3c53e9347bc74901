from run.resume import compare, describe_changes


def test_a_logger_that_comes_or_goes_is_one_line():
    old = {
        "hparams": {"lr": 0.1},
        "loggers": {"tensorboard": {"_target_": "T", "folder": "f"}, "csv": {"_target_": "C"}},
    }
    new = {
        "hparams": {"lr": 0.01},
        "loggers": {"mlflow": {"_target_": "M", "store": "s"}, "csv": {"_target_": "C", "more": 1}},
    }
    assert describe_changes(compare(old, new)) == [
        "hparams.lr: 0.1 -> 0.01",
        "loggers.csv.more: (not set) -> 1",
        "loggers.mlflow: added",
        "loggers.tensorboard: left out",
    ]
