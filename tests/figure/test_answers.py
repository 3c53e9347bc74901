from figure.answers import one_target


def test_targets_of_several_tasks_are_taken_apart():
    assert one_target({"a": [1, 2], "b": [3, 4]}, 1) == {"a": 2, "b": 4}
