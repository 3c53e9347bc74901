"""Errors that the user can correct, such as memory that ran out, and their one line on the terminal."""

import numpy
import pytest
import torch

from process.errors import UserError, find_user_error

ASK = {"torch": lambda: torch.empty(2**47), "python": lambda: bytearray(2**62), "numpy": lambda: numpy.empty(2**55)}


@pytest.mark.parametrize("who", ASK)
def test_no_more_memory_is_one_line_with_a_remedy(who):
    with pytest.raises((RuntimeError, MemoryError)) as raised:
        ASK[who]()
    found = find_user_error(raised.value)
    assert isinstance(found, UserError)
    assert str(found).startswith("out of memory: choose a smaller hparams.batch_size (")
    assert "\n" not in str(found)


def test_the_memory_of_a_gpu_too():
    error = torch.OutOfMemoryError(
        "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 8 GiB"
    )
    assert str(find_user_error(error)) == "out of memory: choose a smaller hparams.batch_size (CUDA out of memory)"


def test_other_errors_stay_what_they_are():
    assert find_user_error(RuntimeError("a bug")) is None
    mistake = UserError("typed")
    error = RuntimeError("a bug")
    error.__cause__ = mistake
    assert find_user_error(error) is mistake


ENDS = {  # torch's messages
    "DataLoader worker (pid 41) is killed by signal: Killed. ": "was killed by signal: Killed: probably because",
    "DataLoader worker (pid 41) is killed by signal: Bus error. It is possible that dataloader's workers are out of "
    "shared memory. Please try to raise your shared memory limit.": "was killed by signal: Bus error: because shared",
    "DataLoader worker (pid 41) exited unexpectedly with exit code 1. Details are lost due to multiprocessing.": (
        "exited unexpectedly: data.num_workers=0"
    ),
    "DataLoader worker (pid(s) 41, 42) exited unexpectedly": "exited unexpectedly: data.num_workers=0",
}


@pytest.mark.parametrize("message", ENDS)
def test_a_worker_that_died_is_one_line_with_a_remedy(message):
    found = find_user_error(RuntimeError(message))
    assert str(found).startswith(f"a worker that reads the data {ENDS[message]}")
    assert found.resumable


def test_the_cause_says_how_a_worker_died():
    error = RuntimeError("DataLoader worker (pid(s) 41) exited unexpectedly")
    error.__cause__ = RuntimeError("DataLoader worker (pid 41) is killed by signal: Killed. ")
    assert "was killed by signal: Killed: probably because memory ran out" in str(find_user_error(error))
