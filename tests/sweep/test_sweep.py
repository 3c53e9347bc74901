"""A sweep from its start to its end, as the user calls it: one process, job after job."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time

import psutil
import pytest
from runs import REPOSITORY, record
from sweeps import TINY, start, statuses, sweep_in

from run.folder import locked


def written(sweep, *names):
    return {path: path.read_bytes() for name in names for path in sweep.glob(f"*/{name}")}


@pytest.mark.processes
def test_one_that_fails_is_said_the_others_go_on_and_only_it_is_run_again(command, tmp_path, capfd):
    assert (
        command("train", *TINY, "hparams.lr=0.01,0.003", "hparams.pool=[mean],[absent]", "model=patch_set", "-m") == 1
    )
    sweep = sweep_in(tmp_path)
    assert statuses(sweep) == ["finished", "failed", "finished", "failed"]
    captured = capfd.readouterr()
    why = "model.network: no such reduction: 'absent'; choose from sum, mean, max, min, std, logsumexp, softmax"
    at_once = captured.out.splitlines()
    failed, later = (
        next(i for i, line in enumerate(at_once) if words in line) for words in (f"#1 failed: {why}", "#2 ")
    )
    assert failed < later
    rows = [line.split()[:2] for line in at_once[-5:]]
    scores = [record(sweep / str(job))["best_score"] for job in (0, 2)]
    best, other = ("0", "2") if scores[0] >= scores[1] else ("2", "0")
    assert rows == [["folder", "status"], [best, "finished"], [other, "finished"], ["1", "failed"], ["3", "failed"]]
    remedy = f"remaining jobs: python src/train.py resume_sweep={sweep.relative_to(tmp_path)}"
    last = [f"#1, #3 failed: {why}", f"error: 2 of 4 jobs did not finish; {remedy}"]
    assert captured.err.splitlines()[-2:] == last
    assert "Traceback" not in captured.err + captured.out

    finished = [path for job in "02" for path in (sweep / job).rglob("*") if path.suffix in (".json", ".csv", ".ckpt")]
    before = {path: path.stat().st_mtime_ns for path in finished}
    shutil.move(sweep / "3", tmp_path / "lost")
    assert command("train", f"resume_sweep={sweep}") == 1
    assert ": 4 jobs, 2 of them finished already" in capfd.readouterr().out
    assert {path: path.stat().st_mtime_ns for path in finished} == before
    assert statuses(sweep) == ["finished", "failed", "finished", "failed"]


@pytest.mark.processes
def test_interrupted_and_resumed_it_is_the_sweep_never_stopped(command, tmp_path, capfd, monkeypatch):
    options = (*TINY, "hparams.max_epochs=2", "hparams.batch_size=8", "hparams.seed=range(3)", "-m")
    assert command("train", *options) == 0
    whole = sweep_in(tmp_path)
    capfd.readouterr()
    other = tmp_path / "other"
    other.mkdir()
    with start(other, *options) as process:
        while "epoch 1/2" not in (line := process.stdout.readline()) or statuses(sweep_in(other)) != [
            "finished",
            "running",
        ]:
            assert line, "it has ended"
        process.send_signal(signal.SIGINT)
        said = process.stdout.read()
        assert process.wait() == 130
    broken = sweep_in(other)
    assert statuses(broken) == ["finished", "interrupted"]
    remedy = f"resume_sweep={broken.relative_to(other)}"
    assert said.splitlines()[-1] == f"interrupted by SIGINT; remaining jobs: python src/train.py {remedy}"
    with start(other, remedy) as process:
        said = process.stdout.read()
        assert process.wait() == 0
    assert statuses(broken) == ["finished"] * 3
    for path, content in written(whole, "metrics.csv").items():
        assert (broken / path.relative_to(whole)).read_bytes() == content
    assert "resumed" in record(broken / "1")
    assert "resumed" not in record(broken / "2")


@pytest.mark.processes
def test_two_at_once_are_interrupted_together_and_resumed_one_by_one(command, tmp_path):
    options = (*TINY, "hparams.max_epochs=200", "hparams.batch_size=64", "hparams.seed=range(3)")
    with start(tmp_path, *options, "hydra/launcher=joblib", "hydra.launcher.n_jobs=2", "-m") as process:
        checkpoints = "multirun/*/*/*/*/checkpoints/last.ckpt"
        while len(list(tmp_path.glob(checkpoints))) < 2:
            assert process.poll() is None
            time.sleep(0.1)
        process.send_signal(signal.SIGTERM)
        said = process.stdout.read()
        assert process.wait() == 143
    sweep = sweep_in(tmp_path)
    assert statuses(sweep) == ["interrupted", "interrupted"]
    assert said.splitlines()[1].startswith("waits for the running jobs to save")
    assert said.splitlines()[-1].startswith("interrupted by SIGTERM; remaining jobs: ")
    assert command("train", f"resume_sweep={sweep}", "hydra/launcher=basic") == 0
    assert statuses(sweep) == ["finished"] * 3
    assert len(record(sweep / "0")["resumed"]) == 1


@pytest.mark.processes
def test_one_at_once_is_interrupted_too(tmp_path):
    options = (*TINY, "hparams.max_epochs=400", "hparams.seed=range(2)", "-m")
    with start(tmp_path, *options, "hydra/launcher=joblib", "hydra.launcher.n_jobs=1") as process:
        while "  1/400" not in process.stdout.readline():
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        process.stdout.read()
        assert process.wait() == 130
    assert statuses(sweep_in(tmp_path)) == ["interrupted"]


@pytest.mark.processes
def test_workers_end_when_the_process_of_the_sweep_is_killed(tmp_path):
    options = (*TINY, "hparams.max_epochs=100000", "hparams.seed=range(3)", "-m")
    with start(tmp_path, *options, "hydra/launcher=joblib", "hydra.launcher.n_jobs=2") as process:
        while len(list(tmp_path.glob("multirun/*/*/*/*/checkpoints/last.ckpt"))) < 2:
            assert process.poll() is None
            time.sleep(0.1)
        workers = [child for child in psutil.Process(process.pid).children() if "LokyProcess" in str(child.cmdline())]
        assert len(workers) == 2
        process.kill()
        assert psutil.wait_procs(workers, timeout=60)[1] == []
    assert statuses(sweep_in(tmp_path)) == ["interrupted", "interrupted"]


@pytest.mark.processes
def test_what_a_job_cannot_go_on_with_is_said_and_left_alone(command, tmp_path, capfd):
    assert command("train", *TINY, "hparams.seed=range(3)", "-m") == 0
    sweep = sweep_in(tmp_path)
    (sweep / "0" / "run.json").write_text("{")
    (sweep / "1" / "run.json").unlink()
    capfd.readouterr()
    assert command("train", "resume_sweep=last") == 1
    said = capfd.readouterr()
    for job in "01":
        file = f"{sweep}/{job}/run.json"
        why = f"#{job} failed: {file} is lost or damaged: restore it, or delete {sweep}/{job} to repeat the job"
        assert why in said.out
        assert why in said.err.splitlines()
    assert (sweep / "0" / "run.json").read_text() == "{"
    assert (sweep / "1" / "checkpoints" / "best.ckpt").exists()
    for job in "01":
        shutil.rmtree(sweep / job)
    assert command("train", "resume_sweep=last") == 0
    assert statuses(sweep) == ["finished"] * 3


@pytest.mark.processes
def test_what_is_edited_meanwhile_changes_nothing(tmp_path):
    repository = tmp_path / "repository"
    for name in ("src", "config"):
        shutil.copytree(REPOSITORY / name, repository / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(REPOSITORY / "requirements.txt", repository)
    with start(tmp_path, *TINY, "model=cnn,lenet", "-m", repository=repository) as process:
        for line in process.stdout:
            if ": 2 jobs" in line:
                (repository / "src" / "network" / "lenet.py").write_text("broken")
                (repository / "src" / "model.py").write_text("broken")
                (repository / "config" / "config.yaml").write_text("broken: [")
        assert process.wait() == 0
    sweep = sweep_in(tmp_path)
    assert statuses(sweep) == ["finished", "finished"]
    assert (sweep / "1" / "source" / "src" / "model.py").read_bytes() == (REPOSITORY / "src" / "model.py").read_bytes()
    (sweep / "1" / "run.json").unlink()
    shutil.rmtree(sweep / "1")
    with start(tmp_path, f"resume_sweep={sweep}") as process:  # by the code of today, which reads sweep.json
        assert process.wait() == 0, process.stdout.read()
    assert statuses(sweep) == ["finished", "finished"]


@pytest.mark.processes
def test_a_job_is_what_it_would_be_alone(command, train, tmp_path):
    options = (*TINY, "+model.network.dropout=0.5")
    alone = train(*options, "hparams.seed=1")
    assert command("train", *options, "hparams.seed=0,1", "trainer.deterministic=true,false", "-m") == 0
    for job in (2, 3):  # seed 1, after jobs of another seed, deterministic and not
        assert (sweep_in(tmp_path) / str(job) / "metrics.csv").read_bytes() == (alone / "metrics.csv").read_bytes()


@pytest.mark.processes
def test_jobs_leave_nothing_behind_in_their_process(tmp_path):
    # a cycle asks for the number of batches, which starts the workers before the census
    options = (*TINY, "scheduler=none", "loggers=[tensorboard]", "hparams.batch_size=8")
    options = (*options, "+callbacks.census._target_=census.Census")
    wrong = "hparams.optimizer=Adam,SGD,Adam,Nonsense,Adam"
    start = [sys.executable, str(REPOSITORY / "src" / "train.py"), *options, wrong, "data.num_workers=0,1", "-m"]
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY / "tests" / "support")}
    assert subprocess.run(start, cwd=tmp_path, env=environment).returncode == 1  # no warm process: that has a history
    census = [json.loads(line) for line in (tmp_path / "census.jsonl").read_text().splitlines()]
    first, *others = census
    assert len(census) == 8
    for name in ("models", "trainers", "children", "random", "threads"):
        assert [each[name] for each in others] == [first[name]] * 7, name
    # what libraries open, set and keep at their first use
    assert all(each["files"] == others[0]["files"] for each in others)
    assert all(each["environment"] == others[0]["environment"] for each in others)
    assert others[-1]["memory"] < 1.05 * others[1]["memory"]


@pytest.mark.processes
def test_the_progress(command, tmp_path, capfd):
    assert command("train", *TINY, "hparams.lr=0.01,0.0001,0.003", "-m") == 0
    lines = [line for line in capfd.readouterr().out.splitlines() if "/3 jobs  " in line]
    scores = [record(sweep_in(tmp_path) / str(job))["best_score"] for job in range(3)]
    rates = ["0.01", "0.0001", "0.003"]
    for job, line in enumerate(lines):
        best = max(range(job + 1), key=scores.__getitem__)
        expected = (
            rf"{job + 1}/3 jobs  #{job} finished: valid_accuracy {scores[job]:.4f}  best #{best} {scores[best]:.4f} "
            rf"hparams.lr={rates[best]}" + (r"  \d:\d\d left" if job < 2 else "")
        )
        assert re.fullmatch(expected, line)
    assert len(lines) == 3


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("hparams.lr=0.1,high", "-m"), "hparams.lr=high: must be a number >= 0"),
        (("hparams.seed=0,1", "hparams.batch_size=0", "-m"), "hparams.batch_size=0: must be a whole number >= 1"),
        (("resume_sweep=nowhere",), "no folder of a sweep"),
        (("resume_sweep=",), "resume_sweep=: name the folder of a sweep, or last"),
        (("resume_sweep=last",), "resume_sweep=last: no sweep below multirun/ here"),
        (("hparams.lr=interval(0,1)", "-m"), "a grid needs values"),
        (("hparams.batch_sise=1,2", "-m"), "did you mean hparams.batch_size?"),
        (("model=cnn,lenett", "-m"), "did you mean model=lenet?"),
        (("--cfg=job", "-m"), "--cfg and --info show the config of one job"),
        (("hydra/launcher=joblib", "hydra.launcher.n_jobs=0", "-m"), "choose 1 or more, or -1"),
        (("hydra.launcher.n_jobs=2", "-m"), "not in this launcher; choose hydra/launcher=joblib"),
        (("hydra.sweep.subdir=x", "-m"), "the jobs of a sweep are numbered"),
        (("hparams_search=tpe", "hydra.sweeper.n_trials=0"), "must be a whole number >= 1"),
    ],
)
def test_refused_before_anything_is_made(command, tmp_path, capfd, arguments, words):
    assert command("train", *TINY, *arguments) == 1
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert words in line
    assert not list(tmp_path.iterdir())


@pytest.mark.processes
def test_a_resumed_sweep_is_the_same_sweep(command, tmp_path, capfd):
    assert command("train", *TINY, "hparams.seed=0,1", "hydra.sweep.dir=mine", "-m") == 0
    capfd.readouterr()
    assert command("train", "resume_sweep=mine", "hparams.lr=1") == 1
    assert "hparams.lr=1: a sweep that is resumed takes only how its jobs are run" in capfd.readouterr().err
    assert command("train", *TINY, "hparams.seed=0,1", "hydra.sweep.dir=mine", "-m") == 1
    assert "holds a sweep already: resume_sweep=" in capfd.readouterr().err
    with locked(tmp_path / "mine"):
        assert command("train", "resume_sweep=mine") == 1
    assert "is still running" in capfd.readouterr().err
    began = time.time_ns()
    assert command("train", "resume_sweep=mine") == 0
    assert all((tmp_path / "mine" / job / "run.json").stat().st_mtime_ns < began for job in "01")
    record = json.loads((tmp_path / "mine" / "sweep.json").read_text())
    assert len(record["resumed"]) == 1
    assert record["arguments"] == ["-m", *TINY, "hparams.seed=0,1", "hydra.sweep.dir='mine'"]
