"""verbosity=0, 1, 2: how much the commands print on the terminal; train.log has all of it."""

import pytest
import warm
from runs import REPOSITORY

SHORT = ("data=digits", "model=cnn", "data.limit_train=100", "hparams.max_epochs=2", "loggers=none", "trainer=cpu")
NOISE = "is smaller than the logging interval"


@pytest.fixture
def said(command, tmp_path, capfd):
    """`said("train", ...)` -> what went to stdout and stderr."""

    def run(name, *arguments):
        assert command(name, *arguments) == 0
        captured = capfd.readouterr()
        return captured.out + captured.err

    return run


@pytest.mark.processes
def test_0_says_nothing_of_a_training_without_trouble(said, tmp_path):
    assert said("train", *SHORT, "verbosity=0") == ""
    (folder,) = tmp_path.glob("outputs/*/*/*")
    log = (folder / "train.log").read_text()
    for words in ("epoch 2/2  loss", "GPU available", "parameters on cpu"):
        assert words in log
    assert "test_accuracy" in said("evaluate", f"run={folder}")  # whatever was recorded of the training
    assert said("evaluate", f"run={folder}", "verbosity=0") == ""
    assert said("train", *SHORT, "verbosity=0", "hparams.max_epochs=1,2", "-m") == ""
    assert said("train", *SHORT, "verbosity=0", "hparams.lr=0") == ""


def test_1_says_what_was_chosen_each_epoch_and_the_result(said, tmp_path):
    text = said("train", *SHORT)
    (folder,) = tmp_path.glob("outputs/*/*/*")
    lines = text.splitlines()
    assert lines[:2] == [str(folder.relative_to(tmp_path)), " ".join(SHORT)]
    assert lines[3].startswith("epoch 1/2  loss ")
    assert lines[4].startswith("epoch 2/2  loss ")
    assert lines[5].rstrip() == "Result"
    assert "GPU available" not in text


def test_2_says_the_whole_config_and_what_libraries_say(said):
    text = said("train", *SHORT, "verbosity=2")
    for words in ("├── hparams", "epoch 2/2  loss", "GPU available", "Result"):
        assert words in text


@pytest.mark.processes
@pytest.mark.parametrize(("verbosity", "noisy"), [(1, False), (2, True)])
def test_a_pipe_gets_plain_lines(tmp_path, verbosity, noisy):
    options = (*SHORT, f"verbosity={verbosity}")
    process = warm.Process(str(REPOSITORY / "src" / "train.py"), *options, cwd=tmp_path)
    stdout, stderr = process.communicate()
    assert (process.returncode, stderr) == (0, "")
    assert "epoch 2/2  loss" in stdout
    assert not {"\x1b", "\r"} & set(stdout)
    (log,) = tmp_path.glob("outputs/*/*/*/train.log")
    assert NOISE in log.read_text()
    assert (NOISE in stdout) == noisy
