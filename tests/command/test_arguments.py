"""The command line before Hydra reads it: short options, settings files, free text, the named run."""

import os
from pathlib import Path

import pytest
from configs import CONFIG

from command.arguments import (
    expand_settings_files,
    expand_short_options,
    join_added_options,
    prepare_argv,
    read_settings_file,
    refuse_short_options,
    resumed_sweep,
    short_options,
)
from process.errors import UserError
from settings import quote


@pytest.mark.parametrize(
    "text", ["a b", "lr=0.1, long", "日本語", "it's", 'say "x"', "${oc.env:HOME}", "[a", "back\\slash", "a\\'b"]
)
def test_free_text_arrives_as_it_is(text):
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from omegaconf import OmegaConf

    (override,) = OverridesParser.create().parse_overrides([quote(f"comment={text}")])
    assert OmegaConf.create({"comment": override.value()}).comment == text


def test_other_arguments_stay_as_they_are():
    argv = ["-m", "hparams.pool=[mean,max]", "comment=null", "+comment=x", "data=MNIST"]
    assert prepare_argv(argv) == argv


def test_a_run_brings_its_config_and_overrides(tmp_path):
    (tmp_path / "source" / "config").mkdir(parents=True)
    (tmp_path / ".hydra").mkdir()
    (tmp_path / ".hydra" / "overrides.yaml").write_text("- data=digits\n- verbosity=0\n- hparams.lr=0.1\n")
    prepared = prepare_argv([f"run={tmp_path}", "hparams.lr=0.2"])
    assert prepared[0] == f"--config-path={tmp_path}/source/config"
    assert prepared[1] == f"--config-dir={CONFIG}"  # has the YAML of commands that are younger than the run
    assert prepared[2:5] == ["data=digits", f"run='{tmp_path}'", f"hydra.run.dir='{tmp_path}'"]
    assert prepared[-1] == "hparams.lr=0.2"  # instead of the recorded 0.1: Hydra refuses a group that is chosen twice
    shown = prepare_argv(["--cfg", "job", f"run={tmp_path}", "ckpt=last"])
    assert shown[2:5] == ["--cfg", "job", "data=digits"]  # argparse takes settings in one block
    assert prepare_argv(prepared) == prepared  # the processes of other ranks are started with it


def test_resume_brings_them_as_well(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = tmp_path / "outputs" / "a, b" / "2026-01-02" / "03-04-05"
    for folder in ("source/config", ".hydra", "checkpoints"):
        (run / folder).mkdir(parents=True)
    for file, text in (
        (".hydra/overrides.yaml", "- data=digits\n"),
        ("run.json", '{"status": "failed"}'),
        ("checkpoints/last.ckpt", ""),
    ):
        (run / file).write_text(text)
    prepared = prepare_argv(["resume=last", "hparams.max_epochs=20"])
    assert prepared == prepare_argv([f"resume={run}", "hparams.max_epochs=20"])
    assert prepared[1:3] == ["data=digits", f"resume='{run}'"]
    assert prepare_argv(["resume=null"]) == ["resume=null"]
    with pytest.raises(UserError, match="leave out -m"):
        prepare_argv(["resume=last", "-m"])


def test_a_folder_that_is_no_run(tmp_path):
    with pytest.raises(UserError, match="no run folder"):
        prepare_argv([f"run={tmp_path}"])


def test_a_sweep_and_a_run_are_not_taken_for_each_other(tmp_path):
    sweep, run = tmp_path / "sweep", tmp_path / "run"
    for folder, record in ((sweep, "sweep.json"), (run, "run.json")):
        (folder / "source" / "config").mkdir(parents=True)
        (folder / record).write_text("{}")
    for name in ("run", "resume"):
        with pytest.raises(UserError, match=rf"{sweep}: a sweep: name one of its jobs, such as {sweep}/0$"):
            prepare_argv([f"{name}={sweep}"])
    with pytest.raises(UserError, match=rf"{run}: a run, no sweep: resume={run} continues it"):
        resumed_sweep([f"resume_sweep={run}"])


def test_settings_may_stand_around_options():
    assert prepare_argv(["a=1", "-m", "~b", "c=2"]) == ["-m", "a=1", "~b", "c=2"]
    assert prepare_argv(["-sc", "query=bash"]) == ["-sc", "query=bash"]


@pytest.mark.parametrize(
    ("typed", "settings"),
    [
        (["--lr", "0.1"], ["hparams.lr=0.1"]),
        (
            ["--lr=0.1", "--bs", "64", "--epochs", "3"],
            ["hparams.lr=0.1", "hparams.batch_size=64", "hparams.max_epochs=3"],
        ),
        (["--device", "2,3"], ["trainer=gpu", "trainer.devices=[2,3]"]),
        (["data=digits", "--resume", "outputs/a, b=c", "-m"], ["data=digits", "resume=outputs/a, b=c", "-m"]),
        (["-c", "mine.yaml"], ["settings_file=mine.yaml"]),
        (["-c", "job", "--cfg", "all"], ["-c", "job", "--cfg", "all"]),  # Hydra's
        (["--lr", "-1"], ["hparams.lr=-1"]),  # which the rules then refuse
        (["comment=--lr", "--multi"], ["comment=--lr", "--multi"]),
    ],
)
def test_short_options_are_replaced_by_settings(typed, settings):
    assert expand_short_options(typed) == settings


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        (["--lr"], "the value after --lr is missing"),
        (["--lr", "--bs", "64"], "the value after --lr is missing"),
        (["--lr="], "the value after --lr is missing"),
        (["--epoch5"], "did you mean --epochs"),
        (["--epoch", "3"], "--epoch: no such option; did you mean --epochs?"),
        (["--res=last"], "did you mean --resume?"),  # argparse would take it for --resolve
        (["--e", "3"], "did you mean --epochs?"),
        (["--wrong"], "--hydra-help"),
    ],
)
def test_refuses_options_in_a_line(typed, words):
    with pytest.raises(UserError, match=words):
        expand_short_options(typed)


@pytest.mark.parametrize(("option", "words"), [("--lr=1", "only train.py has"), ("--wrong", "--hydra-help")])
def test_other_commands_refuse_them(option, words):
    refuse_short_options(["-c", "job", "--multirun", "run=x"])
    with pytest.raises(UserError, match=words):
        refuse_short_options(["run=x", option])


def test_help_lists_them(command, capfd):
    command("train", "--help")
    said = capfd.readouterr().out
    for option in short_options().values():
        assert f"{option.name} {option.word} " in said


def test_the_command_line_takes_them(command, capfd):
    assert command("train", "--lr", "0.25", "--bs=7", "-c", "job") == 0
    said = capfd.readouterr().out
    assert "  lr: 0.25" in said
    assert "  batch_size: 7" in said


BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{this}: &{this} [{','.join([f'*{before}'] * 9)}]\n" for before, this in zip("abcdefgh", "bcdefghi", strict=True)
)


def test_a_settings_file_that_never_ends_is_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe.yaml")
    for path in (tmp_path / "pipe.yaml", Path("/dev/zero")):
        with pytest.raises(UserError, match="is no regular file: name a YAML file of settings"):
            read_settings_file(path)


def test_a_number_that_python_cannot_write_is_refused(tmp_path):
    (tmp_path / "s.yaml").write_text(f"hparams: {{pool: [1, 0x{'f' * 6000}]}}")
    with pytest.raises(UserError, match="number of more than 300 digits"):
        read_settings_file(tmp_path / "s.yaml")


def test_aliases_are_read_as_what_they_repeat(tmp_path):
    path = written(tmp_path, "hparams: {pool: &pools [mean, max]}\nmetrics: *pools\n")
    assert read_settings_file(path) == ["hparams.pool=[mean,max]", "metrics=[mean,max]"]


def written(tmp_path, text):
    path = tmp_path / "mine.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_mapping_becomes_settings_as_hydra_reads_them(tmp_path):
    from hydra.core.override_parser.overrides_parser import OverridesParser

    text = """
    data: digits
    model/pool: attention
    hparams: {lr: 1e-3, pool: [mean, "a,b"], patience: null}
    "+optimizer.betas": [0.9, 0.99]
    callbacks.pictures: {}
    debug: true
    comment: "日本語, it's = ${x} \\\\"
    """
    settings = read_settings_file(written(tmp_path, text))
    parsed = OverridesParser.create().parse_overrides(settings)
    assert {override.key_or_group: override.value() for override in parsed} == {
        "data": "digits",
        "model/pool": "attention",
        "hparams.lr": 0.001,
        "hparams.pool": ["mean", "a,b"],
        "hparams.patience": None,
        "optimizer.betas": [0.9, 0.99],
        "callbacks.pictures": {},
        "debug": True,
        "comment": "日本語, it's = ${x} \\",
    }
    assert settings[0] == "data=digits"


def test_a_list_is_a_command_line(tmp_path):
    path = written(tmp_path, "- data=digits\n- +optimizer.momentum=0.9\n- comment=a, b\n")
    assert read_settings_file(path) == ["data=digits", "+optimizer.momentum=0.9", "comment='a, b'"]


def test_what_stands_on_the_command_line_wins(tmp_path):
    path = written(tmp_path, "data: digits\nhparams: {lr: 0.1, seed: 3}\n")
    argv = [f"settings_file={path}", "hparams.lr=0.2", "-m"]
    assert expand_settings_files(argv) == ["data=digits", "hparams.seed=3", "hparams.lr=0.2", "-m"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("- [1]\n", "is no setting"),
        ("17\n", "cannot be read"),
        ("a: [\n", "cannot be read"),
        ("data: {_target_: x}\n", "whole config.*rerun"),
        (None, "No such file"),
        ("a: &a [*a]\n", "stands inside of what it repeats"),
        ("&a {b: *a}\n", "stands inside of what it repeats"),
        (BOMB, "make more than 100,000 values"),
        ("[" * 3000, "nested too deeply"),
        ("a: " + "{b: " * 400 + "1" + "}" * 400, "nested too deeply"),
        ("a: " + "9" * 5000, "Exceeds the limit"),
        ("a: !!timestamp 2026-01-0- x\n", "a date, number or key in it is damaged"),
        ("a: 1\nb: [\n", "cannot be read .line 3: "),
        ("- [1]\n- null\n", "1. is no setting"),
        ("- null\n", "null is no setting"),
    ],
)
def test_refuses_a_file_in_a_line(tmp_path, text, words):
    path = tmp_path / "mine.yaml" if text is None else written(tmp_path, text)
    with pytest.raises(UserError, match=words) as raised:
        read_settings_file(path)
    assert "\n" not in str(raised.value)


def test_trains_by_it(train, tmp_path):
    from run.folder import read_run_json

    path = written(tmp_path, "data: digits\nmodel: cnn\ndebug: true\ncomment: out of a file\nhparams.seed: 5\n")
    folder = train("-c", str(path), "--bs", "32")
    facts = read_run_json(folder)
    assert (facts["seed"], facts["comment"]) == (5, "out of a file")
    assert facts["settings"]["hparams.batch_size"] == 32


@pytest.mark.parametrize(
    ("argv", "joined"),
    [
        (["+callbacks=histograms"], ["+callbacks=histograms"]),
        (
            ["+callbacks=histograms", "x=1", "+callbacks=[figures,histograms]"],
            ["x=1", "+callbacks=[histograms,figures]"],
        ),
        (["callbacks=[basic]", "+callbacks=histograms"], ["callbacks=[basic,histograms]"]),
        (["callbacks=[]", "+callbacks=histograms"], ["callbacks=[histograms]"]),
        (["+loggers=csv", "+callbacks=figures"], ["+loggers=csv", "+callbacks=figures"]),
        (["+callbacks.x._target_=y", "+callbacks=a,b", "-m"], ["+callbacks.x._target_=y", "+callbacks=a,b", "-m"]),
    ],
)
def test_options_that_are_added_are_one_list(argv, joined):
    assert join_added_options(argv) == joined


@pytest.mark.parametrize("word", ["task=[count,count]", "callbacks=[basic,ema,basic,ema]", "+loggers=[mlflow,mlflow]"])
def test_an_option_that_stands_twice_in_a_list_is_refused(word):
    with pytest.raises(UserError, match="stands twice: name each option once") as caught:
        join_added_options([word])
    assert str(caught.value).startswith(f"{word}: ")
