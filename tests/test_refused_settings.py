"""Settings that a single run refuses: a sweep refuses them too, with the same words, and neither leaves a file."""

import os

import pytest

KEY = "hunter22"
NAMED = ("hydra.run.dir=there", "hydra.sweep.dir=there")
WRONG = {
    "type": ["hparams.lr=high"],
    "fold, in a named folder": ["data.fold=9", *NAMED],
    "unknown setting": ["hparams.batch_sise=3"],
    "unknown option": ["model=lenett"],
    "fold": ["data.fold=9"],
    "metric": ["metrics=[speed]"],
    "monitor": ["hparams.monitor_mode=min"],
    "monitor of one's own metrics": [
        "~task.classification.metrics",
        "+task.classification.metrics={hit: {_target_: torchmetrics.classification.MulticlassRecall, num_classes: 10}}",
        "hparams.monitor=valid_hti",
    ],
    "patches": ["hparams.patch_num_min=8", "hparams.patch_num_max=4"],
    "rate of no embedding": ["model=cnn", "hparams.embed_lr=0.1x"],
    "trainer": ["+trainer.overfit_batches=3"],
    "callback": ["callbacks.best=3"],
    "weights": ["+loss.weight=[1,2]"],
    "missing data": ["data=image_folder", "data.root=absent"],
    "weights of nothing": ["init_from=absent"],
    "secret in braces": [f"+x={{api_key: {KEY}}}"],
    "secret in a list": [f"+model.foo=[[{{token: {KEY}}}]]"],
    "secret in a URL in a list": [f"+logger=[[http://me:{KEY}@host]]"],
    "secret from the environment": ["+x=[[${oc.env:'A_TOKEN'}]]"],
    "secret in a named folder": [f"+model.foo=[[{{token: {KEY}}}]]", *NAMED],
    "secret in a YAML": ["+experiment=secret"],
}


@pytest.mark.long
@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
def test_refused_by_both_with_nothing_written(command, capfd, tmp_path, monkeypatch, wrong):
    monkeypatch.setenv("A_TOKEN", KEY)
    monkeypatch.setattr(os, "execv", lambda *_: pytest.fail("the sweep starts"))
    own = tmp_path / "config" / "experiment"
    own.mkdir(parents=True)
    (own / "secret.yaml").write_text(f"# @package _global_\nloggers: {{x: {{list: [{{token: {KEY}}}]}}}}\n")
    before = sorted(tmp_path.rglob("*"))
    if wrong == ["+experiment=secret"]:
        wrong = ["--config-dir", str(tmp_path / "config"), "experiment=secret"]
    said = []
    for more in ([], ["hparams.seed=1,2", "-m"]):
        assert command("train", *wrong, *([] if "data=image_folder" in wrong else ["data=digits"]), *more) == 1
        out, err = capfd.readouterr()
        assert (out, err.count("\n")) == ("", 1)
        assert KEY not in err
        said.append(err.removeprefix("error: ").removeprefix("hparams.seed=1: "))
    assert said[0] == said[1]
    assert sorted(tmp_path.rglob("*")) == before


def test_a_sweep_leaves_a_run_alone(command, capfd, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "run.json").write_text("{}")
    assert command("train", "data=digits", "hparams.seed=1,2", "-m", "hydra.sweep.dir=run") == 1
    assert capfd.readouterr().err.startswith("error: hydra.sweep.dir=run holds a run: ")
    assert [path.name for path in tmp_path.rglob("*")] == ["run", "run.json"]


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["hydra.run.dir=file/run"], "cannot make the folder file/run: Not a directory; choose another one by hydra"),
        (["hydra.run.dir=file"], "cannot make the folder file: File exists; choose another one"),
        (["--config-path=x.yaml"], "--config-path=x.yaml: name its folder, and the file by --config-name=x"),
        (["--config-dir=" + "x/" * 3000], "x/x' not found"),
    ],
)
def test_a_folder_that_cannot_be_is_one_line(command, capfd, tmp_path, words, line):
    (tmp_path / "file").touch()
    assert command("train", "data=digits", *words) == 1
    err = capfd.readouterr().err
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert line in err
    assert [path.name for path in tmp_path.rglob("*")] == ["file"]


def test_a_resumed_sweep_records_no_secret(command, capfd, tmp_path):
    assert command("train", "resume_sweep=absent", f"+hydra.launcher.x={{password: {KEY}}}") == 1
    assert capfd.readouterr().err.startswith("error: hydra.launcher.x.password=***: a secret")
