"""The plan of a sweep, in this process: what it varies, and what it refuses before anything is made."""

import pytest
from configs import CONFIG
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import ConfigCompositionException, MissingConfigException
from hydra.types import RunMode

from command import cli, hints
from process.errors import UserError
from sweep import plan

JOBLIB = "# @package _global_\ndefaults:\n  - override /hydra/launcher: joblib\n"


@pytest.fixture(autouse=True)
def typed(monkeypatch):
    monkeypatch.setattr(hints, "script", "src/train.py")
    monkeypatch.setattr(hints, "typed", ["-m"])


@pytest.fixture
def composed(tmp_path, monkeypatch):
    """Run `act` with the config of a sweep over these overrides, as Hydra gives it to the callback."""
    monkeypatch.chdir(tmp_path)
    cli.register_resolvers()
    (tmp_path / "mine" / "experiment").mkdir(parents=True)
    (tmp_path / "mine" / "experiment" / "parallel.yaml").write_text(JOBLIB)

    def build(act, *overrides):
        overrides = [*overrides, f"hydra.searchpath=[file://{tmp_path}/mine]"]
        with initialize_config_dir(str(CONFIG), version_base="1.3"):
            hydra = GlobalHydra.instance().hydra
            config = hydra.compose_config("config", overrides, RunMode.MULTIRUN, with_log_configuration=False)
            return act(config)

    return build


def refuse(config):
    plan.refuse_impossible(config, "config")


def test_what_a_sweep_varies(composed):
    varied = composed(plan.varied, "data=digits", "hparams.lr=0.1,0.2", "model=glob(*mil*)", "hparams.seed=range(2)")
    assert varied == {"hparams.lr": ["0.1", "0.2"], "model": ["attention_mil"], "hparams.seed": ["0", "1"]}


def test_a_search_varies_its_space_less_what_is_named(composed):
    varied = composed(plan.varied, "hparams_search=tpe", "hparams.lr=0.1", "hparams.batch_size=16,32")
    assert varied == {
        "hparams.optimizer": ["Adam", "AdamW"],
        "hparams.batch_size": ["16", "32"],
        "hparams.label_smoothing": None,
    }


@pytest.mark.parametrize(
    "overrides",
    [
        ("hparams.lr=0.1,0.2", "model=cnn,lenet"),
        ("model=glob(vgg*)",),
        ("experiment=mnist_cnn,mnist_fast",),
        ("experiment=parallel", "hparams.seed=0,1"),  # one recipe for all jobs
        ("experiment=parallel,mnist_cnn", "hydra/launcher=joblib"),
        ("hparams_search=random",),
    ],
)
def test_possible_sweeps(composed, overrides):
    composed(refuse, *overrides)


@pytest.mark.parametrize(
    ("overrides", "error", "words"),
    [
        (("hparams.lr=0.1,high",), UserError, "hparams.lr=high: must be a number >= 0"),
        (("hparams.lr=0.1,0.2", "hparams.batch_size=0"), UserError, "hparams.batch_size=0: must be a whole number"),
        (("hparams.lr=interval(0,1)",), UserError, "a grid needs values, a,b,c"),
        (("hydra.sweep.subdir=x",), UserError, "the jobs of a sweep are numbered"),
        (("hparams_search=tpe", "hydra.sweeper.n_trials=0"), UserError, "must be a whole number >= 1"),
        (("hydra/launcher=joblib", "hydra.launcher.n_jobs=0"), UserError, "choose 1 or more, or -1"),
        (("hydra/sweeper=optuna",), UserError, "there is nothing to search"),
        (("model=cnn,lenett",), MissingConfigException, "lenett"),
        (("hparams.batch_sise=1,2",), ConfigCompositionException, "batch_sise"),
        (
            ("experiment=mnist_cnn,parallel",),
            UserError,
            "experiment=parallel would choose hydra/launcher=joblib, but all jobs of a sweep have the same: "
            "choose it yourself; type: python src/train.py -m hydra/launcher=joblib",
        ),
    ],
)
def test_impossible_sweeps(composed, overrides, error, words):
    with pytest.raises(error) as raised:
        composed(refuse, *overrides)
    assert words in str(raised.value)
