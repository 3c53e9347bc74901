import pytest
from configs import CONFIG

from command.arguments import join_added_options, prepare_argv, quote, resumed_sweep
from process.errors import UserError


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
    with pytest.raises(UserError, match="without -m"):
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
        with pytest.raises(UserError, match=rf"{sweep}: a sweep: name one of its jobs, {sweep}/0 "):
            prepare_argv([f"{name}={sweep}"])
    with pytest.raises(UserError, match=rf"{run}: a run, no sweep: resume={run} continues it"):
        resumed_sweep([f"resume_sweep={run}"])


def test_settings_may_stand_around_options():
    assert prepare_argv(["a=1", "-m", "~b", "c=2"]) == ["-m", "a=1", "~b", "c=2"]
    assert prepare_argv(["-sc", "query=bash"]) == ["-sc", "query=bash"]


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
