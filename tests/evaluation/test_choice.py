"""The runs that `run=` stands for."""

import pytest
from run_records import make_run

from evaluation.choice import chosen_runs
from process.errors import UserError


@pytest.fixture(autouse=True)
def folders(tmp_path, monkeypatch):
    """A sweep of two finished jobs and one that failed; a run, a debug run, an interrupted one; a folder of no runs."""
    monkeypatch.chdir(tmp_path)
    sweep = tmp_path / "multirun" / "Default" / "2026-11-20" / "09-00-00"
    for job, status in enumerate(("finished", "failed", "finished")):
        make_run(sweep / str(job), status=status, settings={"data": "digits", "hparams.seed": job}, parameters=1)
    (sweep / "source" / "config").mkdir(parents=True)
    (sweep / "sweep.json").write_text("{}")
    day = tmp_path / "outputs" / "Default" / "2026-11-21"
    make_run(day / "10-00-00", settings={"data": "MNIST"}, parameters=1)
    make_run(day / "11-00-00", settings={"data": "MNIST"}, parameters=1, debug=True)
    make_run(day / "12-00-00_a=b", status="interrupted", settings={"data": "MNIST"}, parameters=1)
    (tmp_path / "empty").mkdir()


SWEEP, DAY = "multirun/Default/2026-11-20/09-00-00", "outputs/Default/2026-11-21"


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([SWEEP], [f"{SWEEP}/0", f"{SWEEP}/2"]),
        (["multirun"], [f"{SWEEP}/0", f"{SWEEP}/2"]),
        (["outputs"], [f"{DAY}/10-00-00"]),
        ([f"[{SWEEP}/2,{DAY}/10-00-00]"], [f"{DAY}/10-00-00", f"{SWEEP}/2"]),
        ([f"[ '{SWEEP}' , {DAY} ]"], [f"{DAY}/10-00-00", f"{SWEEP}/0", f"{SWEEP}/2"]),
        ([f"[{SWEEP}/1,{DAY}/12-00-00_a=b]"], [f"{DAY}/12-00-00_a=b", f"{SWEEP}/1"]),  # named: whatever their status
        ([f"{SWEEP}/0", f"{SWEEP}/2"], [f"{SWEEP}/0", f"{SWEEP}/2"]),  # of the shell's run={a,b}
        (["data=digits"], [f"{SWEEP}/0", f"{SWEEP}/2"]),
        (["data=MNIST status=interrupted"], [f"{DAY}/12-00-00_a=b"]),
        ([f"{SWEEP} 'hparams.seed>=1'"], [f"{SWEEP}/2"]),
        (["hparams.seed!=0"], [f"{DAY}/10-00-00", f"{SWEEP}/2"]),
    ],
)
def test_sweeps_lists_and_filters(values, expected):
    runs = chosen_runs(["trainer=cpu", *(f"run={value}" for value in values)])
    assert sorted(run.facts["folder"] for run in runs) == sorted(expected)


@pytest.mark.parametrize("value", [f"{SWEEP}/0", f"{DAY}/12-00-00_a=b", "nowhere", "outputs/nowhere", ""])
def test_one_run_or_nothing_is_left_to_the_command_line(value):
    assert chosen_runs([f"run={value}"]) is None
    assert chosen_runs(["trainer=cpu"]) is None


@pytest.mark.parametrize(
    ("value", "line"),
    [
        ("empty", "run=empty: it holds no run; name run folders, sweeps"),
        (f"{SWEEP} status!=finished hparams.seed=0", "; name run folders"),
        (f"[{SWEEP},nowhere]", "nowhere: no such folder"),
        ("data=mnist", "no run has data=mnist: there are MNIST, digits"),
        ("dat=MNIST", "dat: no run has such a setting or metric; did you mean data?"),
        ("data=MNIST top=1", "options of report.py have no effect here"),
        ("comment='a", "No closing quotation"),
    ],
)
def test_no_run_is_one_line(value, line):
    with pytest.raises(UserError) as error:
        chosen_runs([f"run={value}"])
    assert line in str(error.value)
    assert "\n" not in str(error.value)


def test_a_sweep_without_a_finished_job_says_what_there_is(tmp_path):
    sweep = tmp_path / "multirun" / "Default" / "2026-11-22" / "09-00-00"
    for job in range(2):
        make_run(sweep / str(job), status="failed", parameters=1)
    make_run(sweep / "2", status="running")
    with pytest.raises(UserError, match=r"none of its runs has finished \(2 failed, 1 running\)"):
        chosen_runs([f"run={sweep}"])
