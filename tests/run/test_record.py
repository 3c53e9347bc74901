import math
import signal

import pytest
import yaml
from omegaconf import OmegaConf
from runs import record

from process.errors import UserError
from process.interruption import Interrupted
from run.folder import RecordError
from run.record import Run, describe_error, is_recorded, used_hparams

CONFIG = """
hparams: {seed: 3, lr: 0.1, patch_size: 5, size: '${hparams.base}', base: 2, pool: [mean]}
data: {size: '${hparams.size}', root: '${oc.env:HOME}'}
model: {width: '${data.size}'}
experiment_name: x
comment: null
tags: [a, 1]
resume: null
debug: false
"""
CHOSEN = {"settings": {"hparams.lr": 0.1}, "composed": {"data": "digits", "model": "cnn", "hparams.lr": 0.1}}


@pytest.fixture(autouse=True)
def no_copy_of_the_code(monkeypatch, tmp_path):
    (tmp_path / "repository").mkdir()
    monkeypatch.setattr("run.folder.REPOSITORY", tmp_path / "repository")


@pytest.fixture
def start(tmp_path):
    """Return a function that makes a Run in the folder `run`; settings replace those of CONFIG."""

    def start(check=lambda _: None, **settings):
        (tmp_path / "run").mkdir(exist_ok=True)
        config = OmegaConf.create(yaml.safe_load(CONFIG) | settings)
        return Run(tmp_path / "run", config, ["hparams.lr=0.1"], CHOSEN, ([], ""), check)

    return start


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "run"


def fail_with(error):
    raise error


def test_a_run_records_its_settings_and_its_end(start, folder):
    told = []
    with start() as run:
        run.at_end.append(lambda facts: told.append(facts["status"]))
        facts = record(folder)
        assert (facts["status"], facts["ended"], facts["seed"], facts["tags"]) == ("running", None, 3, ["a", "1"])
        run.update(metrics={"test_loss": math.nan})
    facts = record(folder)
    assert (facts["status"], facts["metrics"], told) == ("finished", {"test_loss": "nan"}, ["finished"])
    assert {name: facts[name] for name in CHOSEN} == CHOSEN
    assert yaml.safe_load((folder / "config.yaml").read_text())["model"] == {"width": 2}
    assert yaml.safe_load((folder / ".hydra" / "config.yaml").read_text())["model"] == {"width": "${data.size}"}
    assert (folder / "source").is_dir()


@pytest.mark.parametrize(
    ("error", "status", "line"),
    [
        (UserError("too large"), "failed", "UserError: too large"),
        (ValueError("a bug"), "failed", "ValueError: a bug"),
        (Interrupted(signal.SIGTERM), "interrupted", None),
    ],
)
def test_an_error_is_recorded_and_raised(start, folder, error, status, line):
    with pytest.raises(type(error)), start():
        raise error
    assert (record(folder)["status"], record(folder).get("error")) == (status, line)
    assert is_recorded(folder, error) == (line is not None)


def test_a_config_that_is_refused_is_recorded_and_leaves_no_copy_of_the_code(start, folder):
    with pytest.raises(UserError, match="refused"), start(lambda _: fail_with(UserError("refused"))):
        pytest.fail("must not begin")
    assert record(folder)["error"] == "UserError: refused"
    assert not (folder / "source").exists()


def test_all_actions_at_the_end_run_though_one_of_them_fails(start):
    told = []
    with pytest.raises(ZeroDivisionError), start() as run:
        run.at_end += [told.append, lambda _: 1 // 0]
    assert len(told) == 1


def test_a_resumed_run_is_untouched_until_it_begins_its_record(start, folder):
    with pytest.raises(ValueError, match="first"), start():
        raise ValueError("first")
    before = (folder / "run.json").read_bytes()
    with pytest.raises(UserError, match="no checkpoint"), start(resume="x"):
        raise UserError("no checkpoint")
    assert (folder / "run.json").read_bytes() == before
    with start(resume="x", tags=["again"]) as run:
        assert [str(change) for change in run.changes] == ["tags: ['a', 1] -> ['again']"]
        run.begin_record()
    facts = record(folder)
    assert (facts["status"], facts["tags"], "error" in facts) == ("finished", ["again"], False)
    assert [part["changes"] for part in facts["resumed"]] == [{"tags": [["a", 1], ["again"]]}]


def test_an_error_is_not_recorded_where_there_is_no_record(tmp_path):
    assert not is_recorded(tmp_path, RecordError(tmp_path, "x"))


def test_an_error_is_described_by_the_user_error_that_caused_it():
    error = RuntimeError("from a library")
    error.__cause__ = UserError("too large")
    assert describe_error(error) == "UserError: too large"


def test_used_hparams_are_those_that_the_rest_of_the_config_refers_to():
    config = OmegaConf.create(yaml.safe_load(CONFIG))
    assert used_hparams(config) == {"seed": 3, "lr": 0.1, "size": 2, "base": 2}
    config.model.parts = [{"pool": "${hparams.pool}", "call": "${call:f,${data.size},${hparams.patch_size}}"}]
    assert used_hparams(config) == OmegaConf.to_container(config.hparams, resolve=True)
