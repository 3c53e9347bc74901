"""The neptune client still has the names that adapter/neptune.py uses."""

import inspect
import random

import pytest

from adapter.neptune import keep_random_state, unattended_run
from logger.neptune import import_neptune


@pytest.fixture(autouse=True)
def imported():
    import_neptune()


@pytest.mark.parametrize("name", ["_before_fork", "_handle_fork_in_parent", "_handle_fork_in_child", "_shutdown_hook"])
def test_a_run_has_the_hooks_that_are_replaced(name):
    from neptune import Run

    assert inspect.isfunction(getattr(Run, name, None)), f"adapter/neptune.py needs neptune.Run.{name}"
    assert list(inspect.signature(getattr(Run, name)).parameters) == ["self"], f"neptune.Run.{name} takes arguments now"
    assert vars(unattended_run())[name] is not getattr(Run, name)


def test_folders_are_named_by_a_generator_of_their_own():
    from neptune.internal.operation_processors import utils

    keep_random_state()
    before = random.getstate()
    assert hasattr(utils, "random_key"), "adapter/neptune.py needs operation_processors.utils.random_key to use random"
    assert len(utils.random_key(8)) == 8
    assert random.getstate() == before, "adapter/neptune.py needs operation_processors.utils.random"
