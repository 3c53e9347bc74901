"""Searches by Optuna: what its study knows of the jobs, and what a sweep does that goes on."""

import fcntl
import os
import signal
import sqlite3
import threading
import time
from contextlib import closing
from pathlib import Path

import joblib
import pytest
from configs import CONFIG
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.types import RunMode
from omegaconf import OmegaConf
from runs import record
from sweeps import TINY, start, statuses, sweep_in

from command import cli
from process.errors import UserError
from sweep import study as search
from sweep import workers
from table.query import as_text

optuna = pytest.importorskip("optuna")
pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")  # of Hydra's sweeper

COMPLETE, FAIL, RUNNING, WAITING = (
    optuna.trial.TrialState[name] for name in ("COMPLETE", "FAIL", "RUNNING", "WAITING")
)
SPACE = {"lr": optuna.distributions.FloatDistribution(0, 1)}


def only_study(folder):
    storage = f"sqlite:///{folder}/multirun/optuna.db"
    (name,) = optuna.get_all_study_names(storage)
    return optuna.load_study(study_name=name, storage=storage)


def same_settings(trial, facts):
    return all(as_text(facts["settings"][name]) == str(value) for name, value in trial.params.items())


@pytest.mark.processes
class TestSweep:
    def test_a_second_command_goes_on_with_the_study(self, command, tmp_path, capfd):
        options = (*TINY, "hparams_search=patches", "hydra/sweeper/sampler=random", "hydra.sweeper.n_trials=2")
        assert command("train", *options, "-m") == 0
        captured = capfd.readouterr()
        for chatter in ("Warning", "Study name", "Directions", "[I "):
            assert chatter not in captured.out + captured.err
        assert command("train", *options, "comment=again", "-m") == 0
        study = only_study(tmp_path)
        assert f"study {study.study_name!r} in sqlite:///multirun/optuna.db: 2 trials so far" in capfd.readouterr().out
        assert study.direction == optuna.study.StudyDirection.MAXIMIZE
        assert [trial.state for trial in study.trials] == 4 * [COMPLETE]
        assert len({str(trial.params) for trial in study.trials}) == 4
        for trial in study.trials:
            facts = record(tmp_path / "multirun" / trial.user_attrs["folder"])
            assert trial.value == facts["best_score"]
            assert same_settings(trial, facts)
            assert len(trial.params) == 7

    def test_killed_and_resumed_each_trial_stays_in_its_folder(self, command, tmp_path):
        options = ("hparams_search=tpe", "hydra.sweeper.n_trials=3", "hparams.max_epochs=3", "hparams.batch_size=4")
        with start(tmp_path, *TINY, *options, "verbosity=0") as process:
            while not list(tmp_path.glob("multirun/*/*/*/1/checkpoints/last.ckpt")):
                assert process.poll() is None, process.stdout.read()
                time.sleep(0.02)
            process.send_signal(signal.SIGKILL)
        sweep = sweep_in(tmp_path)
        assert statuses(sweep) == ["finished", "running"]
        first, broken = (record(sweep / str(job)) for job in (0, 1))
        assert command("train", f"resume_sweep={sweep}", "hydra.sweeper.n_trials=4") == 0
        assert statuses(sweep) == 4 * ["finished"]
        resumed = record(sweep / "1")
        assert record(sweep / "0") == first
        assert resumed["settings"] == broken["settings"]
        assert len(resumed["resumed"]) == 1
        study = only_study(tmp_path)
        assert [trial.state for trial in study.trials] == [COMPLETE, FAIL, COMPLETE, COMPLETE, COMPLETE]
        assert [trial.user_attrs["folder"][-2:] for trial in study.trials] == ["/0", "/1", "/1", "/2", "/3"]
        for trial in study.get_trials(states=[COMPLETE]):
            facts = record(tmp_path / "multirun" / trial.user_attrs["folder"])
            assert trial.value == facts["best_score"]
            assert same_settings(trial, facts)

    def test_all_trials_fail(self, command, tmp_path, capfd):
        fault = "+callbacks.fault={_target_: faults.Crash, batch: 0}"
        options = (*TINY, "hparams_search=random", "hydra.sweeper.n_trials=2", "verbosity=0", fault, "-m")
        assert command("train", *options) == 1
        assert statuses(sweep_in(tmp_path)) == ["failed", "failed"]
        assert [trial.state for trial in only_study(tmp_path).trials] == [FAIL, FAIL]
        captured = capfd.readouterr()
        assert "Traceback" not in captured.out + captured.err
        assert captured.err.splitlines()[-1].startswith("error: 2 of 2 jobs did not finish; ")

    def test_a_hopeless_job_of_any_sweep_ends_early_as_a_finished_one(self, command, tmp_path):
        rule = ("callbacks=[basic,median_stopping]", "callbacks.median_stopping.n_startup_trials=1", "-m")
        assert command("train", *TINY, "hparams.max_epochs=4", "hparams.lr=0.01,1e-9", *rule) == 0
        good, hopeless = (record(sweep_in(tmp_path) / str(job)) for job in (0, 1))
        assert good["stopped_early"] is None
        assert hopeless["stopped_early"].startswith("stopped after epoch 2: valid_accuracy")
        assert hopeless["status"] == "finished"
        assert hopeless["best_score"] < good["best_score"]
        assert "test_accuracy" in hopeless["metrics"]


@pytest.fixture
def composed(tmp_path, monkeypatch):
    """`composed("hparams_search=tpe", ...)`: the config of a sweep as its callback gets it."""
    monkeypatch.chdir(tmp_path)
    cli.register_resolvers()

    def build(*overrides):
        hydra = GlobalHydra.instance().hydra
        return hydra.compose_config("config", list(overrides), RunMode.MULTIRUN, with_log_configuration=False)

    with initialize_config_dir(str(CONFIG), version_base="1.3"):
        yield build


@pytest.fixture
def prepared(composed, tmp_path):
    """The part of the sweeper, prepared for a sweep in an empty folder or the one that is given."""
    empty = tmp_path / "Default" / "day" / "empty"
    empty.mkdir(parents=True)

    def build(*overrides, folder=empty):
        config = composed(*overrides)
        search.prepare(config, folder)
        return config.hydra.sweeper

    return build


class TestPrepare:
    def test_the_direction_is_that_of_the_metric(self, prepared):
        assert prepared("hparams_search=tpe").direction == "maximize"
        loss = ("hparams.monitor=valid_loss", "hparams.monitor_mode=min")
        assert prepared("hparams_search=tpe", *loss).direction == "minimize"
        assert prepared("hydra/sweeper=optuna", "hydra.sweeper.direction=maximize", *loss).direction == "minimize"

    def test_a_study_that_is_named_must_have_the_same_direction(self, prepared):
        prepared("hparams_search=tpe", "hydra.sweeper.study_name=mine")
        with pytest.raises(UserError, match="study_name=mine: that study is to maximize: name another"):
            prepared(
                *("hparams_search=tpe", "hydra.sweeper.study_name=mine"),
                *("hparams.monitor=valid_loss", "hparams.monitor_mode=min"),
            )

    @pytest.mark.parametrize(
        "other",
        [
            ("comment=again", "tags=[x]", "verbosity=0", "loggers=none"),
            ("trainer=cpu", "data.num_workers=1", "callbacks.median_stopping=null"),
            ("hydra.sweeper.n_trials=7", "hydra/sweeper/sampler=random"),
            ("hparams.lr=tag(log,interval(1e-5,1e-1))",),  # other bounds
        ],
    )
    def test_the_same_study(self, prepared, other):
        assert prepared("hparams_search=tpe", *other).study_name == prepared("hparams_search=tpe").study_name

    @pytest.mark.parametrize(
        "other",
        [
            ("data=digits",),
            ("model=cnn",),
            ("hparams.max_epochs=20",),
            ("hparams.monitor=valid_loss", "hparams.monitor_mode=min"),
            ("hparams.batch_size=64",),
            ("hparams.batch_size=64,128",),
            ("experiment_name=other",),
            ("trainer.gradient_clip_val=1",),
        ],
    )
    def test_another_study(self, prepared, other):
        assert prepared("hparams_search=tpe", *other).study_name != prepared("hparams_search=tpe").study_name

    def test_its_name_says_what_is_searched(self, prepared):
        name = prepared("hparams_search=tpe", "data=digits", "model=cnn,lenet").study_name
        assert name.startswith("Default digits several valid_accuracy ")

    def test_a_study_that_goes_on_draws_other_random_numbers(self, prepared):
        assert prepared("hparams_search=random", "hparams.seed=7").sampler.seed == 7
        sweeper = prepared("hparams_search=random", "hparams.seed=7")
        optuna.load_study(study_name=sweeper.study_name, storage=sweeper.storage).ask()
        assert prepared("hparams_search=random", "hparams.seed=7").sampler.seed == 8

    def test_as_many_trials_at_once_as_jobs(self, prepared):
        assert prepared("hparams_search=tpe").n_jobs == 1
        assert prepared("hparams_search=tpe", "hydra.sweeper.n_jobs=5").n_jobs == 5
        launchers = {name: OmegaConf.create({"_target_": f"x.{name}Launcher"}) for name in ("Joblib", "Local", "Slurm")}
        assert search.at_once(launchers["Slurm"]) == 8
        assert search.at_once(OmegaConf.merge(launchers["Joblib"], {"n_jobs": 3})) == 3
        assert search.at_once(OmegaConf.merge(launchers["Joblib"], {"n_jobs": -1})) == joblib.cpu_count()
        assert search.at_once(OmegaConf.merge(launchers["Local"], {"cpus_per_task": 1})) == workers.at_once()

    def test_other_sweepers_are_left_as_they_are(self, composed, tmp_path):
        config = composed("hparams.seed=0,1")
        before = OmegaConf.to_yaml(config)
        search.prepare(config, tmp_path)
        assert OmegaConf.to_yaml(config) == before

    @pytest.mark.parametrize(
        "storage", ["sqlite:////dev/null/x/optuna.db", "nonsense", "postgresql://nobody@localhost:1/x"]
    )
    def test_a_storage_that_cannot_be_opened(self, prepared, storage):
        with pytest.raises(UserError, match=r"hydra.sweeper.storage=.*: "):
            prepared("hparams_search=tpe", f"hydra.sweeper.storage='{storage}'")

    def test_two_first_studies_do_not_make_the_tables_at_the_same_time(self, tmp_path):
        handle = os.open(tmp_path, os.O_RDONLY)
        fcntl.flock(handle, fcntl.LOCK_EX)  # as another sweep does that has just begun
        opening = threading.Thread(target=search.open_study, args=(f"sqlite:///{tmp_path}/new.db", "name", "maximize"))
        opening.start()
        opening.join(1)
        assert opening.is_alive()
        assert not (tmp_path / "new.db").exists()
        os.close(handle)
        opening.join()
        assert optuna.get_all_study_names(f"sqlite:///{tmp_path}/new.db") == ["name"]

    def test_a_locked_study_is_waited_for_and_then_one_line(self, tmp_path):
        assert search.waiting("sqlite:///a/b.db") == f"sqlite:///a/b.db?timeout={search.LOCKED_FOR}"
        for storage in ("sqlite:///a/b.db?timeout=1", "postgresql://me:secret@host/db", "nonsense"):
            assert search.waiting(storage) == storage
        storage = f"sqlite:///{tmp_path}/locked.db?timeout=0.1"
        search.open_study(storage, "name", "maximize")
        with closing(sqlite3.connect(tmp_path / "locked.db", isolation_level=None)) as other:
            other.execute("BEGIN EXCLUSIVE")
            with pytest.raises(UserError, match="database is locked by another process") as raised:
                search.open_study(storage, "name", "maximize")
        assert "\n" not in str(raised.value)

    def test_a_sweep_whose_study_is_gone(self, prepared, tmp_path):
        sweep = tmp_path / "Default" / "day" / "time"
        (sweep / "0").mkdir(parents=True)
        with pytest.raises(UserError, match="holds no trial of this sweep: restore it"):
            prepared("hparams_search=tpe", folder=sweep)
        with pytest.raises(UserError, match="was kept in memory"):
            prepared("hparams_search=tpe", "hydra.sweeper.storage=null", folder=sweep)


class TestLeft:
    """Which jobs are missing, and that Optuna asks for them in that order."""

    @pytest.fixture
    def study(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        return optuna.create_study(direction="maximize", sampler=optuna.samplers.RandomSampler(0))

    def trial(self, study, number, state, sweep="a/b/c"):
        trial = study.ask(SPACE)
        trial.set_user_attr("folder", f"{sweep}/{number}")
        if state != RUNNING:
            study.tell(trial, 1.0 if state == COMPLETE else None, state=state)
        if state == COMPLETE:
            folder = Path(sweep, str(number))
            folder.mkdir(parents=True)
            (folder / "run.json").touch()
        return trial.params["lr"]

    def asked(self, study, composed, count):
        """The folders and rates of the next trials, as Hydra's sweeper asks for them."""
        config = composed("hparams_search=tpe", "hydra.sweep.dir=a/b/c")
        trials = [study.ask(SPACE) for _ in range(count)]
        for trial in trials:
            search.note_folder(config, trial)
        return [(trial.user_attrs["folder"].removeprefix("a/b/c/"), trial.params["lr"]) for trial in trials]

    def test_of_a_new_sweep_all(self, study, composed):
        assert search.remaining_jobs(study, Path("a/b/c"), 3) == [0, 1, 2]
        assert [number for number, _ in self.asked(study, composed, 3)] == ["0", "1", "2"]

    def test_failed_and_broken_off_ones_come_again_before_new_ones(self, study, composed):
        self.trial(study, 0, COMPLETE)
        rates = [self.trial(study, 1, FAIL), self.trial(study, 2, RUNNING)]
        self.trial(study, 3, COMPLETE)
        self.trial(study, 0, RUNNING, sweep="a/b/other")  # that goes on at the same time
        assert search.remaining_jobs(study, Path("a/b/c"), 6) == [1, 2, 4, 5]
        asked = self.asked(study, composed, 4)
        assert [number for number, _ in asked] == ["1", "2", "4", "5"]
        assert [rate for _, rate in asked[:2]] == rates
        assert study.trials[2].state == FAIL
        assert study.trials[4].state == RUNNING

    def test_resumed_again_before_all_of_them_came(self, study, composed):
        rates = [self.trial(study, number, RUNNING) for number in range(3)]
        assert search.remaining_jobs(study, Path("a/b/c"), 3) == [0, 1, 2]
        ((number, _),) = self.asked(study, composed, 1)
        assert number == "0"
        numbers = search.remaining_jobs(study, Path("a/b/c"), 4)
        assert sorted(numbers) == [0, 1, 2, 3]
        asked = self.asked(study, composed, 4)
        assert [int(number) for number, _ in asked] == numbers
        assert {number: rate for number, rate in asked if number != "3"} == {str(n): r for n, r in enumerate(rates)}

    def test_what_somebody_else_has_queued_is_a_new_job(self, study, composed):
        self.trial(study, 0, FAIL)
        study.enqueue_trial({"lr": 0.5})
        numbers = search.remaining_jobs(study, Path("a/b/c"), 3)
        asked = self.asked(study, composed, 3)
        assert [int(number) for number, _ in asked] == numbers == [1, 0, 2]
        assert asked[0] == ("1", 0.5)

    def test_nothing_is_left(self, study):
        for number in range(2):
            self.trial(study, number, COMPLETE)
        assert search.remaining_jobs(study, Path("a/b/c"), 2) == search.remaining_jobs(study, Path("a/b/c"), 1) == []

    def test_a_job_that_was_deleted_comes_again(self, study, composed):
        rates = [self.trial(study, number, COMPLETE) for number in range(2)]
        Path("a/b/c/1/run.json").unlink()
        assert search.remaining_jobs(study, Path("a/b/c"), 2) == [1]
        assert self.asked(study, composed, 1) == [("1", rates[1])]
