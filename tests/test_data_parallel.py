"""Several ranks on the processor, started by Lightning, torchrun and srun: they train as one process would."""

import csv
import os
import signal
import socket
import sys
from pathlib import Path

import pytest
import torch
import warm
from resumed import LAST, assert_same
from runs import REPOSITORY, record

pytestmark = pytest.mark.processes

TRAIN = str(REPOSITORY / "src" / "train.py")
SHORT = ("data=digits", "data.limit_train=320", "hparams.max_epochs=2", "loggers=none", "+trainer.log_every_n_steps=5")
SGD = (
    "hparams.optimizer=SGD",
    "hparams.lr=0.05",
    "+optimizer.momentum=0.9",
)  # Adam would enlarge what rounding differs
TWO = ("trainer=ddp_cpu", "hparams.batch_size=8", "+callbacks.same={_target_: rank_faults.SameWeights}")
LENET = (*SHORT, *SGD, *TWO, "model=lenet")
# BatchNorm has sums on each rank, and dropout random states
CNN = (*SHORT, *SGD, *TWO, "model=cnn", "+model.network.dropout=0.3")
PROCESSOR = ("OMP_NUM_THREADS", "ATEN_CPU_CAPABILITY", "ONEDNN_MAX_CPU_ISA", "MKL_CBWR")  # `make test-processors`
ENVIRONMENT = {
    **{name: os.environ[name] for name in PROCESSOR if name in os.environ},
    "PYTHONPATH": str(REPOSITORY / "tests" / "support"),
    "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin",
}


def ended(*processes):
    """Return [(exit code, stderr)]; no process outlives the test, nor do those that an agent of torchrun started."""
    try:
        return [(process.communicate()[1], process.returncode)[::-1] for process in processes]
    finally:
        for process in processes:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        for process in processes:
            process.wait()


def alone(folder, *options):
    (result,) = ended(warm.Process(TRAIN, *options, cwd=folder, variables=ENVIRONMENT))
    return result


def free_port():
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return str(server.getsockname()[1])


def torchrun(folder, *options, nodes=1):
    """Return the results of all agents, which start two processes together."""
    where = [f"--nnodes={nodes}", f"--nproc-per-node={2 // nodes}", "--master-addr=127.0.0.1"]
    where += [f"--master-port={free_port()}"]
    command = ("-m", "torch.distributed.run", *where)
    return ended(
        *(
            warm.Process(*command, f"--node-rank={node}", TRAIN, *options, cwd=folder, variables=ENVIRONMENT)
            for node in reversed(range(nodes))
        )
    )


def srun(folder, *options):
    """Start two processes with the variables that srun would give them."""
    step = {"JOB_ID": "4711", "STEP_ID": "0", "JOB_NAME": "test", "NTASKS": "2", "NTASKS_PER_NODE": "2", "NODEID": "0"}
    step = {f"SLURM_{name}": value for name, value in {**step, "NNODES": "1", "NODELIST": "127.0.0.1"}.items()}
    step["MASTER_PORT"] = free_port()
    tasks = [step | {"SLURM_PROCID": rank, "SLURM_LOCALID": rank} for rank in ("1", "0")]
    return ended(*(warm.Process(TRAIN, *options, cwd=folder, variables=ENVIRONMENT | task) for task in tasks))


def only_run(folder):
    """Return the only run folder, which has one log and nothing beside it."""
    (run,) = folder.glob("outputs/*/*/*")
    assert [path.relative_to(run).parts for path in folder.rglob("*.log")] == [("train.log",)]
    assert [path.name for path in folder.iterdir()] == ["outputs"]
    assert not list(run.glob(".first_failure*"))
    return run


def numbers(folder):
    """Return the columns of metrics.csv and its rows as numbers, -1 where a field is empty."""
    with (folder / "metrics.csv").open(newline="") as file:
        columns, *rows = csv.reader(file)
    return columns, torch.tensor([[float(value or -1) for value in row] for row in rows], dtype=torch.float64)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """An uninterrupted run of two ranks that Lightning starts."""
    folder = tmp_path_factory.mktemp("whole")
    code, stderr = alone(folder, *CNN)
    assert code == 0, stderr
    return only_run(folder)


# In single precision, rounding decides which of two nearly equal elements is the maximum. Patches are drawn without
# replacement: two equal ones differ by rounding, and the gradient of their standard deviation would be noise.
EXACT = ("trainer.precision=64-true", "hparams.patch_num_max=16")
DISTINCT = {"lenet": (), "patch_set": ("model.network.selection.replace=false",)}


@pytest.mark.parametrize("network", DISTINCT)
def test_two_ranks_learn_what_one_process_does_with_twice_the_batch(network, train, tmp_path):
    """Networks without BatchNorm, which normalises over the images of one rank."""
    exact = (*EXACT, f"model={network}", *DISTINCT[network])
    one = train(*SHORT, *SGD, *exact, "trainer=cpu", "hparams.batch_size=16")
    (tmp_path / "two").mkdir()
    code, stderr = alone(tmp_path / "two", *LENET, *exact)
    assert code == 0, stderr
    two = only_run(tmp_path / "two")
    (columns, expected), (same_columns, found) = numbers(one), numbers(two)
    assert columns == same_columns
    assert {"train_loss", "train_accuracy_step", "grad_norm", "valid_loss", "test_accuracy"} <= set(columns)
    steps = [columns.index(name) for name in ("train_loss_step", "train_accuracy_step", "grad_norm", "lr")]
    torch.testing.assert_close(found[:, steps], expected[:, steps], rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(found, expected, rtol=1e-7, atol=1e-7)  # the sums of an epoch's losses are of fp32
    assert record(two)["metrics"] == pytest.approx(record(one)["metrics"], abs=1e-7)


@pytest.mark.parametrize("nodes", [1, 2])
def test_torchrun(nodes, whole, tmp_path):
    options = () if nodes == 1 else ("trainer.devices=1", "+trainer.num_nodes=2")
    for code, stderr in torchrun(tmp_path, *CNN, *options, nodes=nodes):
        assert code == 0, stderr
    assert_same(whole, only_run(tmp_path))


def test_srun(whole, tmp_path):
    for code, stderr in srun(tmp_path, *CNN):
        assert code == 0, stderr
    assert_same(whole, only_run(tmp_path))


@pytest.mark.parametrize(("during", "batch"), [("train", 27), ("validation", 27)])
def test_goes_on_exactly_after_a_signal_to_one_rank(whole, tmp_path, during, batch):
    """The signal comes in the second epoch; the checkpoint holds the sums and random states of all ranks."""
    fault = f"{{_target_: rank_faults.OnRank, rank: 1, name: SIGTERM, batch: {batch}, during: {during}}}"
    code, stderr = alone(tmp_path, *CNN, f"+callbacks.fault={fault}")
    broken = only_run(tmp_path)
    resume = f"python src/train.py resume={broken.relative_to(tmp_path)}"
    assert (code, stderr) == (128 + signal.SIGTERM, f"interrupted by SIGTERM; to continue: {resume}\n")
    assert record(broken)["status"] == "interrupted"
    progress = torch.load(broken / LAST, weights_only=True)["loops"]["fit_loop"]["epoch_progress"]["current"]
    assert (progress["started"], progress["processed"]) == (2, 1)
    code, stderr = alone(tmp_path, "resume=last", "~callbacks.fault")
    assert code == 0, stderr
    assert_same(whole, only_run(tmp_path))


def test_goes_on_exactly_after_a_signal_to_torchrun(whole, tmp_path):
    fault = "+callbacks.fault={_target_: rank_faults.OnRank, rank: 0, name: SIGTERM, parent: true, batch: 27}"
    ((code, _),) = torchrun(tmp_path, *CNN, fault)
    assert code != 0
    assert record(only_run(tmp_path))["status"] == "interrupted"
    ((code, stderr),) = torchrun(tmp_path, "resume=last", "~callbacks.fault")
    assert code == 0, stderr
    assert_same(whole, only_run(tmp_path))


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("OnRank, rank: 1, batch: 3", "rank 1: RuntimeError: crashed on purpose"),
        ("OnRank, rank: 1, batch: 3, during: test", "rank 1: RuntimeError: crashed on purpose"),
        ("OnRank, rank: 1, batch: 3, name: SIGKILL", "rank 1 was ended by SIGKILL: out of memory?"),
        ("AtConstruction", "rank 1: callbacks.fault: nothing of that here"),
    ],
)
def test_what_fails_on_another_rank_is_said_in_one_line(fault, words, tmp_path):
    code, stderr = alone(tmp_path, *LENET, f"+callbacks.fault={{_target_: rank_faults.{fault}}}")
    assert (code, stderr) == (1, f"error: {words}\n")
    run = only_run(tmp_path)
    assert record(run)["status"] == "failed"
    assert words in record(run)["error"]
    assert words.removeprefix("rank 1: ") in (run / "train.log").read_text()


def test_torchrun_ends_the_first_rank_but_it_says_why(tmp_path):
    ((code, stderr),) = torchrun(tmp_path, *LENET, "+callbacks.fault={_target_: rank_faults.OnRank, rank: 1, batch: 3}")
    assert code == 1
    assert stderr.count("error: rank 1: RuntimeError: crashed on purpose\n") == 1
    run = only_run(tmp_path)
    assert (record(run)["status"], record(run)["error"]) == (
        "failed",
        "UserError: rank 1: RuntimeError: crashed on purpose",
    )


def test_a_mistake_is_said_by_one_rank(tmp_path):
    results = srun(tmp_path, *LENET, "hparams.batch_size=0")
    assert [code for code, _ in results] == [1, 1]
    assert "".join(stderr for _, stderr in results) == "error: hparams.batch_size=0: must be a whole number >= 1\n"
    assert not list(tmp_path.iterdir())


def test_a_search_for_a_learning_rate_finds_one_for_all_and_stops_early_together(tmp_path):
    code, stderr = alone(tmp_path, *LENET, "hparams.lr=0", "hparams.max_epochs=9", "hparams.patience=1")
    assert code == 0, stderr
    assert record(only_run(tmp_path))["lr"] > 0


def test_debug(tmp_path):
    code, stderr = alone(tmp_path, "data=digits", "model=lenet", "trainer=ddp_cpu", "debug=True")
    assert code == 0, stderr
    only_run(tmp_path)


def test_jobs_of_a_sweep_each_start_their_ranks(whole, tmp_path):
    code, stderr = alone(tmp_path, *CNN, "hparams.seed=1,0", "comment='a, b'", "-m")
    assert code == 0, stderr
    (sweep,) = tmp_path.glob("multirun/*/*/*")
    assert {path.name for path in sweep.iterdir() if path.is_dir()} == {"0", "1", "source"}
    assert (sweep / "1" / "metrics.csv").read_bytes() == (whole / "metrics.csv").read_bytes()
    assert len(list(tmp_path.rglob("*.log"))) == 2
    assert not (tmp_path / "outputs").exists()


@pytest.mark.parametrize("sweep", [("hparams.seed=1,0", "-m"), ("hparams_search=tpe",)], ids=["grid", "search"])
def test_ranks_start_no_sweep(tmp_path, sweep):
    ((code, stderr),) = torchrun(tmp_path, *LENET, *sweep)
    assert code == 1
    assert stderr.count("error: -m under torchrun or srun") == 1
    assert not list(tmp_path.iterdir())
