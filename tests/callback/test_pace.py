from types import SimpleNamespace

import pytest

from callback.pace import Pace


@pytest.fixture
def clock_hand(monkeypatch):
    hand = SimpleNamespace(now=100.0)
    monkeypatch.setattr("callback.pace.time.monotonic", lambda: hand.now)
    return hand


def test_speed_is_that_of_the_lap_without_pauses(clock_hand):
    pace = Pace(SimpleNamespace(estimated_stepping_batches=100, global_step=0))
    pace.images = 500
    clock_hand.now += 5
    pace.pause()
    clock_hand.now += 20
    assert pace.images_per_second == 100
    pace.resume()
    clock_hand.now += 5
    assert pace.images_per_second == 50
    pace.lap()
    pace.images = 30
    clock_hand.now += 1
    assert pace.images_per_second == 30


def test_the_rest_goes_on_at_the_pace_of_this_part_pauses_and_all(clock_hand):
    pace = Pace(SimpleNamespace(estimated_stepping_batches=100, global_step=40))  # resumed
    assert pace.left(40) is None
    clock_hand.now += 10
    pace.pause()
    clock_hand.now += 10
    pace.resume()
    assert pace.left(50) == 100
    assert pace.left(100) == 0


def test_a_training_without_an_end_has_no_rest(clock_hand):
    pace = Pace(SimpleNamespace(estimated_stepping_batches=float("inf"), global_step=0))
    assert pace.left(50) is None
