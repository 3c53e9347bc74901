"""Mistakes: one line, exit code 1, and no folder where the config alone shows the mistake."""

import pytest
from runs import record


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["hparams.batch_sise=3"], "hparams.batch_sise: no such setting; did you mean hparams.batch_size?"),
        (["batch_size=3"], "did you mean hparams.batch_size?"),
        (["optimizer.momentum=0.9"], "to add it write +optimizer.momentum=..."),
        (["dta=MNIST"], "did you mean data?"),
        (["data=mnist"], "did you mean data=MNIST?"),
        (["loggers=[tensorbord]"], "did you mean loggers=tensorboard?"),
        (["model/pool=reduced"], "did you mean model/pool=reduce?"),
        (["experiment=mnist_fas"], "did you mean experiment=mnist_fast?"),
        (["hparams.batch_size=many"], "hparams.batch_size=many: must be a whole number >= 1"),
        (["hparams.lr=-1"], "must be a number >= 0"),
        (["data=digits", "hparams.patch_size=9"], "exceeds the 8x8 images"),
        (["data.fold=7"], "data.fold=7: choose 0 to 4"),
        (["data.valid=1.5"], "data.valid=1.5: must be a ratio"),
        (["hparams.monitor=valid_acc"], "valid_accuracy"),
        (["data=image_folder", "data.root=nowhere"], "nowhere: no such folder"),
        (["data=digits", "data.mean=[77.8]", "data.std=[95.9]"], "data.mean=[0.3051] data.std=[0.3761]"),
        (["data=digits", "+loss.weight=[1,2,3]"], "loss.weight has 3 numbers for 10 classes"),
        (["data=digits", "+loss.weight=1,2,3"], "a list is written in brackets"),
        (["hparams.batch_size=16,32"], "-m starts"),
        (["hparams.pool=["], "cannot read"),
        (["nonsense"], "cannot read"),
    ],
)
def test_refused_before_a_folder_exists(command, capsys, tmp_path, arguments, line):
    assert command("train", *arguments) == 1
    captured = capsys.readouterr()
    assert captured.err.startswith("error: ")
    assert captured.err.count("\n") == 1
    assert line in captured.err
    assert captured.out == ""
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["hparams.optimizer=Adamm"], "torch.optim has no Adamm; did you mean Adam?"),
        (["+optimizer.momentum=0.9"], "unexpected keyword argument 'momentum'"),
        (["+trainer.gradient_clip=1"], "unexpected keyword argument 'gradient_clip'"),
        (["model=patch_set", "hparams.pool=[mean,median]"], "median"),
        (["data.valid=100000"], "100000"),
        (["data.valid=0", "scheduler=plateau"], "hparams.monitor=train_loss hparams.monitor_mode=min"),
        (["data.limit_train=100000"], "100000"),
        (["data=MNIST", "data.root={tmp}/nowhere"], "data=digits"),
    ],
)
def test_refused_with_a_record(command, capsys, tmp_path, monkeypatch, arguments, line):
    monkeypatch.setattr("torchvision.datasets.mnist.MNIST.mirrors", [])  # no network
    monkeypatch.setattr("torchvision.datasets.mnist.download_and_extract_archive", refuse)
    overrides = [argument.format(tmp=tmp_path) for argument in arguments]
    assert command("train", "data=digits", "model=cnn", *overrides) == 1
    captured = capsys.readouterr()
    assert captured.err.startswith("error: ")
    assert captured.err.count("\n") == 1
    assert line in captured.err
    assert "Traceback" not in captured.out
    (folder,) = tmp_path.glob("outputs/*/*/*")
    run = record(folder)
    assert run["status"] == "failed"
    assert captured.err == f"error: {run['error'].partition(': ')[2]}\n"


# the words after `python src/train.py`, the line, and the words of the command that it prints
REFLEXES = [
    ("optimizer=sgd", "optimizer=sgd: no such optimizer", "hparams.optimizer=SGD"),
    ("hparams=big", "hparams is a group of settings, each with a value of its own, such as hparams.lr=0.01", None),
    ("pool=attention", "pool: no such setting", "model/pool=attention"),
    ("hparams.pool=attention", "no such hparams.pool", "model/pool=attention"),
    ("model.network.pool=max", "no such model.network.pool", "'hparams.pool=[max]'"),
    ("data.root=/data/図形", "the value needs quotes", "\"data.root='/data/図形'\""),
    ("--resolve data=digits", "--resolve belongs to --cfg", "--cfg job --resolve data=digits"),
    ("--shell-completion", "source hydra/tab_completion_bash src/train.py", None),
    ("-sc install=bash", "source hydra/tab_completion_bash src/train.py", None),
    ("--cfg", "--cfg/-c: expected one argument", None),
    ("--cfg jobs", "invalid choice: 'jobs'", None),
    ("--cfg job --info", "--cfg and --info: choose one of them", None),
    ("--experimental-rerun x", "python src/rerun.py FOLDER repeats a run", None),
    ("trainer=cuda", "did you mean trainer=gpu?", None),
    ("lr=0.1", "did you mean hparams.lr?", None),
    ("seed=1", "did you mean hparams.seed?", None),
    ("epochs=3", "epochs: no such setting", "hparams.max_epochs=3"),
    ("--batch_size 64 data=digits", "settings are written name=value", "hparams.batch_size=64 data=digits"),
    ("data=digits --batch-size=64", "settings are written name=value", "data=digits hparams.batch_size=64"),
    ("--model cnn", "settings are written name=value", "model=cnn"),
    ("--gpus 2", "settings are written name=value", "trainer.devices=2"),
    ("data=digits +hparams.lr=1", "this one is there already", "data=digits hparams.lr=1"),
    ("hparams.lr=", "hparams.lr=: must be a number >= 0", None),
    ("data=mnist", "did you mean data=MNIST?", None),
    ("model=resnet", "model=resnet: no such option", None),
    ("dataset=digits", "dataset: no such setting", "data=digits"),
    ("network=cnn", "network: no such setting", "model=cnn"),
    ("device=cuda", "device: no such setting", "trainer=gpu"),
    ("hydra/launcher=slurm -m", "did you mean hydra/launcher=submitit_slurm?", None),
    ("callbacks=none", "did you mean callbacks=[]?", None),
    ("loggers=tensorboard,mlflow", "a list is written in brackets", "'loggers=[tensorboard,mlflow]'"),
    ("hparams.pool=mean,max", "a list is written in brackets", "'hparams.pool=[mean,max]'"),
    ("hparams.lr=1e-3,1e-2 data=digits", "several values are a sweep", "hparams.lr=1e-3,1e-2 -m data=digits"),
    ("hparams.lr 0.1", "settings are written name=value", "hparams.lr=0.1"),
    ("hparams.lr: 0.1", "settings are written name=value", "hparams.lr=0.1"),
    ("debug", "cannot read 'debug': write debug=", None),
    ("data.root=~/x y", "a value with spaces needs quotes", "\"data.root='~/x y'\""),
    ("~loggers", "a group cannot be removed, but left empty", "loggers=none"),
    ("~callbacks", "a group cannot be removed, but left empty", "'callbacks=[]'"),
    ("resume=", "resume=: name a run folder, or last", None),
    ("verbosity=high", "must be one of 0, 1, 2", None),
    ("trainer=", "trainer=: no such option", None),
    ("init_from=nowhere", "init_from=nowhere: there is no such file or folder: name a run folder", None),
    ("~hparams.lr", "hparams.lr is missing in this config: leave out ~hparams.lr", None),
    ("hparams.lr=[0.1,0.2]", "hparams.lr=[0.1, 0.2]: must be a number >= 0", None),
    ("hparams.seed=-1 -m", "hparams.seed=-1: must be a whole number", None),
    ("experiment=mnist_fast,nothing -m", "experiment=nothing: no such option", None),
    ("hydra.run.dir=", "hydra.run.dir=: name a folder, or leave this setting out", None),
    ("=", "cannot read '=': write name=value", None),
    ("@x", "cannot read '@x': write name=value", None),
    ("hparams.lr==0.1", "one = is enough", "hparams.lr=0.1"),
    ("hparams.lr = 0.1", "settings are written name=value", "hparams.lr=0.1"),
    ("+data=CIFAR10", "this one is there already", "data=CIFAR10"),
    ("++data=CIFAR10", "this one is there already", "data=CIFAR10"),
    ("trainer.gpus=2", "trainer.gpus: no such setting", "trainer.devices=2"),
    ("hparams.epochs=3", "hparams.epochs: no such setting", "hparams.max_epochs=3"),
    ("--config-name=foo", "Cannot find primary config 'foo'", None),
    ("--config-dir=nowhere", "nowhere' not found", None),
    ("--config-path=nowhere", "--config-path: no such folder", None),
    ("data=1e-3", "data=1e-3: no such option (there are CIFAR10", None),
    ("experiment=[[[]]]", "experiment=[[[]]]: no such option", None),
    ("hydra.verbose=1e400", "hydra.verbose=1e400: must be true, false, or loggers", None),
    ("hydra.job_logging.root=1", "cannot be composed (Unable to configure root logger)", None),
    ("hparams.lr=range(1,3)", "several values are a sweep", "'hparams.lr=range(1,3)' -m"),
    ("hparams.lr=${nothing:1}", "there is no resolver nothing; a literal ${ is written", None),
    ("hparams.lr=${now:}", "hparams.lr: a ${...} has no value", None),
    ("+x.y=${nothing}", "x.y: there is no setting nothing", None),
    ("hydra.job.name=${now:}", "has no value", None),
    ("hydra.run.dir=here hparams.lr=x", "hparams.lr=x: must be a number", None),
    (f"hydra.run.dir={'x' * 300}", "File name too long: name a folder", None),
    ("hydra.run.dir=${nothing:1}", "hydra.run.dir=${nothing:1}: no folder is named so: name a folder", None),
    (f"resume={'x' * 300}", "File name too long: name a run folder, or last", None),
    (f"hparams.lr={'9' * 5000}", "cannot be read (Exceeds the limit", None),
    (" data=digits", "cannot read '': an empty word", None),
    ("~hparams.lr=7", "without one, ~hparams.lr removes the setting", None),
    ("hydra.help=0", "hydra.help: cannot have this value", None),
    ("x@y=1", "x: no such group", None),
    ("comment=\x1b[31m hparams.lr=\x1b", "\\x1b", None),
]


@pytest.mark.parametrize(("words", "line", "right"), REFLEXES, ids=[words[:40] for words, *_ in REFLEXES])
def test_first_reflexes_get_the_right_line(command, capfd, tmp_path, words, line, right):
    assert command("train", *words.split(" ")) == 1
    captured = capfd.readouterr()
    assert captured.err.startswith("error: ")
    assert captured.err.count("\n") == 1
    assert line in captured.err
    if right is not None:
        assert captured.err.endswith(f"/train.py {right}\n")
    assert captured.out == ""
    assert list(tmp_path.iterdir()) == []


def refuse(*_: object, **__: object) -> None:
    raise OSError("no route to host")


def test_no_gpu(command, capsys):
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    assert command("train", "data=digits", "model=cnn", "trainer=gpu") == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "trainer=cpu" in error


def test_train_log_says_why_a_run_failed(command, tmp_path):
    assert command("train", "data=digits", "model=cnn", "data.valid=100000") == 1
    (folder,) = tmp_path.glob("outputs/*/*/*")
    assert "data.valid=100000" in (folder / "train.log").read_text()


def test_looking_at_the_config_starts_no_run(command, tmp_path):
    assert command("train", "--cfg", "all", "--resolve", "data=digits") == 0
    assert list(tmp_path.iterdir()) == []


def test_the_whole_traceback_on_request(command, monkeypatch, capsys):
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    assert command("train", "hparams.batch_sise=3") == 1
    assert "Traceback" in capsys.readouterr().err


def test_help_is_worth_reading(command, capsys):
    for name in ("train", "evaluate"):
        assert command(name, "--help") == 0
        text = capsys.readouterr().out
        assert "data: CIFAR10, CIFAR100, FashionMNIST, MNIST, MNIST_bags, cluttered_digits, digit_sum, " in text
        assert text.count(f"python src/{name}.py ") >= 6
