import pytest
from pytorch_lightning import Callback
from small_fit import fit

from callback.skip_idle_hooks import EVERY_STEP, SkipIdleHooks


class Counting(Callback):
    """The hook stands in the class itself or in the one that it comes from."""

    def __init__(self):
        self.batches = 0

    def on_train_batch_end(self, *_):
        self.batches += 1


class Inheriting(Counting):
    pass


@pytest.mark.parametrize("kind", [Counting, Inheriting])
def test_only_hooks_that_do_something_are_left(tmp_path, kind):
    counting = kind()
    fit([counting, SkipIdleHooks()], [2, 2, 2], tmp_path)
    assert counting.batches == 3
    assert {hook for hook in EVERY_STEP if getattr(counting, hook) is None} == {*EVERY_STEP} - {"on_train_batch_end"}


def test_a_hook_that_an_object_brings_itself_stays(tmp_path):
    seen, callback = [], Callback()
    callback.on_before_backward = lambda *_: seen.append(1)
    fit([callback, SkipIdleHooks()], [2, 2], tmp_path)
    assert seen == [1, 1]
