from run import hints

KNOWN = [
    "hparams",
    "hparams.batch_size",
    "hparams.lr",
    "data",
    "data.fold",
    "optimizer",
    "optimizer._target_",
]


def test_a_misspelt_setting_gets_the_nearest_name():
    assert "did you mean hparams.batch_size?" in hints.for_setting("hparams.batch_sise", KNOWN)


def test_a_setting_without_its_group_is_found_by_its_last_part():
    assert "did you mean hparams.batch_size?" in hints.for_setting("batch_size", KNOWN)


def test_an_argument_that_is_not_there_yet_is_added_with_plus():
    assert "+optimizer.momentum=" in hints.for_setting("optimizer.momentum", KNOWN)


def test_nonsense_gets_no_suggestion():
    assert "did you mean" not in hints.for_setting("qqqqqqqqq", KNOWN)


def test_a_part_that_the_chosen_network_lacks_is_said_to_be_one(tmp_path):
    (tmp_path / "model" / "pool").mkdir(parents=True)
    error = Exception("Could not override 'model/pool'. No match in the defaults list.")
    line = hints.for_composition(error, tmp_path, lambda: KNOWN)
    assert line == "model/pool: the chosen model has no pool; model=... chooses another"


def test_an_unknown_option_gets_the_nearest_and_the_list():
    line = hints.for_option("data", "mnist", ["CIFAR10", "MNIST"])
    assert "did you mean data=MNIST?" in line
    assert "CIFAR10" in line
