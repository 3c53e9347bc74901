"""Commands on a machine whose driver is too old for the installed torch, as far as stubs of its libraries show it."""

import os
import subprocess
import sys

import pytest
import torch
from nvidia import old_driver
from runs import REPOSITORY, record

pytestmark = [
    pytest.mark.processes,
    pytest.mark.skipif((torch.version.cuda or "12") < "13", reason="driver 550 is not too old for this torch"),
]
LINE = (
    f"torch {torch.__version__} cannot use Card: its CUDA {torch.version.cuda} needs driver 580 or later, "
    "and 550.54 has CUDA 12.4; `CUDA=12 make install` (for the container: `CUDA=12 docker/build.sh`) "
    "installs one that can, or install driver 580 or later"
)


@pytest.fixture
def run(tmp_path):
    """`run("train", "data=digits", ...)` in a process -> exit code, stdout and stderr."""

    def start(command, *words, nvml=True):
        without = {name: value for name, value in os.environ.items() if name != "CUDA_VISIBLE_DEVICES"}
        environment = without | old_driver(tmp_path, nvml)
        line = [sys.executable, str(REPOSITORY / "src" / f"{command}.py"), *words]
        done = subprocess.run(line, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout, done.stderr

    return start


FAST = ("data=digits", "model=cnn", "loggers=none", "debug=True")


def test_auto_trains_on_the_processor_and_one_line_says_why(run, tmp_path):
    code, out, err = run("train", *FAST)
    assert (code, err) == (0, "")
    assert [line for line in out.splitlines() if "driver" in line or "GPU" in line] == [
        f"{LINE}; the processor is used (trainer=cpu hides this line)"
    ]
    (folder,) = tmp_path.glob("outputs/*/*/*")
    facts = record(folder)
    assert (facts["status"], facts["device"], facts["gpus"]) == ("finished", "cpu", [])
    found = [facts["versions"][name] for name in ("torch", "CUDA", "driver")]
    assert found == [torch.__version__, torch.version.cuda, "550.54"]


def test_the_processor_that_was_asked_for_is_used_in_silence(run):
    code, out, err = run("train", *FAST, "trainer=cpu")
    assert (code, err) == (0, "")
    assert not any(word in out for word in ("driver", "GPU", "CUDA"))


def test_a_gpu_that_was_asked_for_is_refused_with_the_remedy(run):
    code, _, err = run("train", *FAST, "trainer=gpu")
    assert (code, err) == (1, f"error: trainer: {LINE}; without a GPU: trainer=cpu\n")


def test_the_same_line_where_nvml_is_missing(run):
    code, out, err = run("train", *FAST, nvml=False)
    assert (code, err) == (0, "")
    line = LINE.replace("Card", "the GPU").replace("550.54", "the driver here")
    assert [each for each in out.splitlines() if "driver" in each or "CUDA" in each] == [
        f"{line}; the processor is used (trainer=cpu hides this line)"
    ]


def test_workers_of_a_sweep_get_no_such_gpu_and_one_line_says_why(run, tmp_path):
    seeds = ("hparams.seed=0,1", "-m", "hydra/launcher=joblib", "hydra.launcher.n_jobs=2")
    code, out, err = run("train", *FAST[:3], "+trainer.limit_train_batches=1", "hparams.max_epochs=1", *seeds)
    assert code == 0, err
    assert f"{out}{err}".count(LINE) == 1
    folders = list(tmp_path.glob("multirun/*/*/*/[01]"))
    assert [record(folder)["device"] for folder in folders] == ["cpu", "cpu"]


def test_a_job_on_the_gpu_after_one_on_the_processor_fails_with_the_remedy(run):
    code, out, err = run("train", *FAST, "trainer=cpu,gpu", "-m")
    assert code == 1
    assert f"{out}{err}".count(f"#1 failed: trainer: {LINE}") == 2  # at once, and below the table
    assert "the processor is used" not in out + err


def test_export_needs_no_gpu(train, run):
    folder = train(*FAST[:3], "hparams.max_epochs=1", "+trainer.limit_train_batches=1")
    code, out, err = run("export", f"run={folder}")
    assert (code, "driver" in out + err) == (0, False)
    assert (folder / "export" / "model.pt2").is_file()
