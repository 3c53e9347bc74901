"""The private names of Hydra and argparse: each test fails by the name that moved."""

import argparse

import pytest
from configs import CONFIG
from hydra import compose, initialize_config_dir
from hydra._internal import config_loader_impl, utils
from hydra.core import utils as core
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException

from adapter import hydra_core


def test_get_args_parser_and_option_string_actions():
    parser = utils.get_args_parser()
    assert isinstance(parser, argparse.ArgumentParser)
    assert {"--multirun", "-m", "--cfg", "-c"} <= set(parser._option_string_actions)
    assert hydra_core.option_names() == list(parser._option_string_actions)


def test_parser_error_is_what_argparse_calls():
    options = hydra_core.parse_options(["-m", "a=1"])
    for name in ("run", "multirun", "cfg", "info", "resolve", "help", "shell_completion", "experimental_rerun"):
        assert name in options
    assert options["multirun"]
    with pytest.raises(ValueError, match="expected one argument"):
        hydra_core.parse_options(["--cfg"])


def test_an_error_of_composition_is_told_from_that_of_a_job():
    with initialize_config_dir(str(CONFIG), version_base="1.3"), pytest.raises(ValueError, match="group") as of_hydra:
        compose("config", ["data=1"])
    assert hydra_core.while_composing(of_hydra.value)
    with pytest.raises(ZeroDivisionError) as of_a_job:
        1 / 0  # noqa: B018
    assert not hydra_core.while_composing(of_a_job.value)


def test_run_job_calls_the_function_of_a_command(monkeypatch):
    assert core.run_job.__name__ == "run_job"

    def fail():
        raise RuntimeError

    def run_job(function):
        function()

    monkeypatch.setattr(hydra_core, "RUN_JOB", run_job.__code__)
    with pytest.raises(RuntimeError) as raised:
        run_job(fail)
    assert hydra_core.inside_job(raised.value).__traceback__.tb_frame.f_code is fail.__code__


def test_parse_overrides_and_create_caching_repo_is_called_for_each_question(monkeypatch):
    kind = config_loader_impl.ConfigLoaderImpl
    made = []
    make = kind._parse_overrides_and_create_caching_repo

    def count(self, config_name, overrides):
        made.append(overrides)
        return make(self, config_name, overrides)

    monkeypatch.setattr(kind, "_parse_overrides_and_create_caching_repo", count)

    def ask():
        with initialize_config_dir(str(CONFIG), version_base="1.3"):
            loader = GlobalHydra.instance().config_loader()
            return [loader.get_group_options(group, config_name="config", overrides=[]) for group in ("data", "model")]

    expected = ask()
    assert len(made) == 2
    with hydra_core.shared_repository():
        assert ask() == expected
    assert len(made) == 3
    assert ask() == expected
    assert len(made) == 5


def test_apply_overrides_to_config():
    with initialize_config_dir(str(CONFIG), version_base="1.3"):
        config = compose("config", ["data=digits"])
        lines = ["hparams.lr=0.5", "+optimizer.nesterov=true", "~hparams.lr"]
        hydra_core.apply_overrides(OverridesParser.create().parse_overrides(lines), config)
        assert config == compose("config", ["data=digits", *lines])
    with pytest.raises(HydraException, match=r"Could not override 'hparams\.absent'"):
        hydra_core.apply_overrides(OverridesParser.create().parse_overrides(["hparams.absent=1"]), config)
