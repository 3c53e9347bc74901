"""Errors that the user can correct: memory that ran out is one of them."""

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
