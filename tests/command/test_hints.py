from pathlib import Path

import pytest
from omegaconf import OmegaConf
from omegaconf.errors import InterpolationKeyError

from command import hints

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


def test_a_reference_to_nothing_is_said_with_where_it_stands():
    with pytest.raises(InterpolationKeyError) as caught:
        OmegaConf.to_container(OmegaConf.create({"data": {"root": "/tmp/${x}"}}), resolve=True)
    line = hints.for_composition(caught.value, Path(), lambda: KNOWN)
    assert line == "data.root: there is no setting x; a ${ of the text itself is written \\${"


def test_a_group_without_a_name_is_found_among_the_arguments(tmp_path):
    for option in ("cosine", "none"):
        (tmp_path / "scheduler").mkdir(exist_ok=True)
        (tmp_path / "scheduler" / f"{option}.yaml").touch()
    error = ValueError("Config group override must be a string or a list. Got NoneType")
    arguments = ["comment=null", "scheduler=null", "hparams.lr=0.1"]
    line = hints.for_no_name(error, tmp_path, arguments)
    assert line == "scheduler=null: no such option (there are cosine, none)"
    assert hints.for_no_name(ValueError("another"), tmp_path, arguments) is None
