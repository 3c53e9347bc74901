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
SECRET = "# @package _global_\nloggers: {x: {list: [{token: hunter22}]}}\n"


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
    (tmp_path / "mine" / "experiment" / "secret.yaml").write_text(SECRET)

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
    varied = composed(plan.varied, "data=digits", "hparams.lr=0.1,0.2", "model=glob(lenet*)", "hparams.seed=range(2)")
    assert varied == {"hparams.lr": ["0.1", "0.2"], "model": ["lenet", "lenet_bn"], "hparams.seed": ["0", "1"]}


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
        ("data=digits", "hparams.patch_num_min=1,2", "hparams.patch_num_max=2,4"),
        ("+optimizer.weight_decay=0,0.1", "+model.network.own={a: 1}", "model.network.own.a=1,2"),
        ("~callbacks.throughput", "hparams.pool=[mean],[max,std]", "+callbacks=histograms,figures"),
        # a search chooses values that go together
        ("hparams_search=tpe", "hparams.patch_num_min=8,16", "hparams.patch_num_max=8,16"),
        (
            "hparams_search=tpe",
            "hparams.patch_num_min=int(interval(1,16))",
            "hparams.patch_num_max=int(interval(8,16))",
        ),
    ],
)
def test_possible_sweeps(composed, overrides):
    composed(refuse, *overrides)


@pytest.mark.parametrize(
    ("overrides", "error", "words"),
    [
        (
            ("data=digits", "hparams.patch_num_min=2,8", "hparams.patch_num_max=8,4", "hparams.seed=1,2"),
            UserError,
            "hparams.patch_num_min=8 hparams.patch_num_max=4 hparams.seed=1: hparams.patch_num_min=8 exceeds "
            "hparams.patch_num_max=4: ",
        ),
        (
            ("hparams.seed=1,2", "data=digits", "data.fold=9"),
            UserError,
            "hparams.seed=1: data.fold=9: choose 0 to 4",
        ),
        (("data=digits", "data.fold=9"), UserError, "data.fold=9: choose 0 to 4"),  # one job
        (("hparams.seed=range(300)", "data=MNIST,image_folder", "data.root=/absent"), UserError, "/absent: no such "),
        (("hparams.seed=1,2", "init_from=absent"), UserError, "init_from=absent: there is no such file"),
        (("hparams.seed=1,2", "hparams.monitor=speed"), UserError, "hparams.monitor=speed: no such metric"),
        (("hparams.seed=1,2", "callbacks.best=3"), UserError, "callbacks.best=3: must be the settings in its YAML"),
        (("+x={a: 1},{api_key: hunter22}",), UserError, "x.api_key=***: a secret"),
        (("+x=1,2", "+y=[{password: hunter22}]"), UserError, "y.password=***: a secret"),
        (
            ("hparams_search=tpe", "+hydra.sweeper.params={comment: 'choice(https://u:p@h, b)'}"),
            UserError,
            "hydra.sweeper.params.comment=***: a secret",
        ),
        (("experiment=secret,null",), UserError, "loggers.x.list.token=***: a secret"),
        (("hparams_search=tpe", "hparams.lr=interval(-1,1)"), UserError, "hparams.lr=-1.0: must be a number >= 0"),
        (
            ("hparams_search=tpe", "hparams.label_smoothing=interval(0,2)"),
            UserError,
            "hparams.label_smoothing=2.0: must",
        ),
        (
            ("hparams_search=tpe", "hparams.patch_num_min=2,32", "hparams.patch_num_max=4,16"),
            UserError,
            "hparams.patch_num_min=32 exceeds hparams.patch_num_max=4",
        ),
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
def test_impossible_sweeps(composed, tmp_path, overrides, error, words):
    with pytest.raises(error) as raised:
        composed(refuse, *overrides)
    assert words in str(raised.value)
    assert "hunter22" not in str(raised.value)
    assert not (tmp_path / "multirun").exists()
