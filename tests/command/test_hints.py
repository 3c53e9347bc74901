"""The lines for mistakes, without Hydra: each names the remedy, and prints the corrected command where it is known."""

import pytest
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import OmegaConf
from omegaconf.errors import InterpolationKeyError

from command import hints


def known():
    return ["hparams", "hparams.batch_size", "hparams.lr", "data", "data.fold", "optimizer", "optimizer._target_"]


@pytest.fixture(autouse=True)
def typed(monkeypatch):
    """`typed("data=digits", ...)`: what the user typed after `python src/train.py`."""

    def remember(*words):
        monkeypatch.setattr(hints, "script", "src/train.py")
        monkeypatch.setattr(hints, "typed", list(words))

    remember()
    return remember


def test_a_misspelt_setting_gets_the_nearest_name():
    assert "did you mean hparams.batch_size?" in hints.for_setting("hparams.batch_sise", known)


def test_a_setting_without_its_group_is_found_by_its_last_part():
    assert "did you mean hparams.batch_size?" in hints.for_setting("batch_size", known)


def test_an_argument_that_is_not_there_yet_is_added_with_plus():
    assert "+optimizer.momentum=" in hints.for_setting("optimizer.momentum", known)


def test_nonsense_gets_no_suggestion():
    assert "did you mean" not in hints.for_setting("qqqqqqqqq", known)


def test_a_part_that_the_chosen_network_lacks_is_called_one():
    error = Exception("Could not override 'model/pool'. No match in the defaults list.")
    line = hints.for_composition(error, known)
    assert line == "model/pool: the chosen model has no pool; model=... chooses another"


@pytest.mark.parametrize(
    ("group", "typed", "meant"),
    [
        ("data", "mnist", "data=MNIST"),
        ("trainer", "cuda", "trainer=gpu"),
        ("hydra/launcher", "slurm", "hydra/launcher=submitit_slurm"),
        ("callbacks", "none", "callbacks=[]"),
    ],
)
def test_an_unknown_option_gets_the_one_that_was_meant_and_the_list(group, typed, meant):
    line = hints.for_option(group, typed)
    assert (
        f"{group}={typed}: no such option; did you mean {meant}? (there are {', '.join(hints.options_of(group))})"
        == line
    )


def test_a_reference_to_nothing_is_located():
    with pytest.raises(InterpolationKeyError) as caught:
        OmegaConf.to_container(OmegaConf.create({"data": {"root": "/tmp/${x}"}}), resolve=True)
    line = hints.for_composition(caught.value, known)
    assert line == "data.root: there is no setting x; a literal ${ is written \\${"


@pytest.mark.parametrize(
    ("word", "line"),
    [
        ("scheduler=null", "scheduler=null: no such option"),
        ("data=1e-3", "data=1e-3: no such option (there are "),
        ("experiment=[[[]]]", "experiment=[[[]]]: no such option"),
        ("loggers@x=1", "loggers=1: no such option"),
        ("hydra=1", "hydra=1: no such option (there are the groups hydra/help, "),
        ("~model/position=[none]", "~model/position=[none]: a group is chosen by one name, model/position=NAME"),
        ("hydra.verbose=1e400", "hydra.verbose=1e400: must be true, false, or loggers"),
        (f"hparams.seed={'9' * 5000}", f"hparams.seed={'9' * 5000}: cannot be read (Exceeds the limit"),
        ("hparams.lr=1", "the settings cannot be composed (unknown): leave out one after the other"),
    ],
)
def test_the_word_that_hydra_does_not_expect_is_found(word, line):
    words = ["-m", "comment=null", word, "hparams.lr=0.1"]
    assert hints.for_unexpected(ValueError("unknown"), words).startswith(line)


@pytest.mark.parametrize(
    ("override", "line"),
    [
        ("", "cannot read '': an empty word; leave it out"),
        ("0o17{=null", "cannot read '0o17{=null': write name=value; no name has such letters"),
    ],
)
def test_a_word_that_needs_more_than_quotes(override, line):
    assert hints.for_unreadable(override).startswith(line)


def test_another_command_is_not_told_to_sweep(monkeypatch):
    monkeypatch.setattr(hints, "script", "src/predict.py")
    assert "only train.py sweeps" in hints.for_several_values("hparams.lr=1,2")


def test_a_word_that_was_typed_twice_is_corrected_once(typed):
    typed("+data=digits", "a=1", "+data=digits")
    assert hints.corrected("+data=digits", "data=digits") == "python src/train.py data=digits a=1"


@pytest.mark.parametrize(
    ("word", "right"),
    [
        ("pool=attention", ["model/pool=attention"]),
        ("pool=attention,pma", ["model/pool=attention,pma"]),
        ("hparams.pool=attention", ["model/pool=attention"]),
        ("model.network.pool=max", ["hparams.pool=[max]"]),
        ("hparams.pool=mean,max", ["hparams.pool=[mean,max]"]),
        ("encoder=sab", ["model/encoder=sab"]),
        ("optimizer=sgd", ["hparams.optimizer=SGD"]),
        ("optimizer=torch.optim.AdamW", ["hparams.optimizer=AdamW"]),
        ("optimizer=sgd,adam", ["hparams.optimizer=SGD,Adam"]),
        ("optimizer=fast", None),
        ("dataset=mnist", ["data=MNIST"]),
        ("network=cnn", ["model=cnn"]),
        ("network=qqqq", None),
        ("device=cuda", ["trainer=gpu"]),
        ("gpus=1", ["trainer.devices=1"]),
        ("epochs=3", ["hparams.max_epochs=3"]),
        ("model/pool=x", None),
        ("data=MNIST", None),
    ],
)
def test_names_of_other_projects(word, right):
    assert hints.right_words(*word.split("=")) == right


def test_the_pools_of_a_sweep_are_lists_each(typed):
    typed("hparams.pool=mean,max", "-m")
    assert hints.right_words("hparams.pool", "mean,max") == ["hparams.pool=[mean],[max]"]


def test_the_names_of_optimizers_are_those_of_torch():
    import torch

    assert all(isinstance(getattr(torch.optim, name), type) for name in hints.OPTIMIZERS)


@pytest.mark.parametrize(
    "word", ["a=1", "comment=a b", "data.root='/data/図形'", "comment='it\\'s'", "x=$HOME'", "a=[1,2]"]
)
def test_a_command_that_is_printed_can_be_pasted(word, typed):
    import shlex

    typed("wrong", "data=digits")
    assert shlex.split(hints.corrected("wrong", word)) == ["python", "src/train.py", word, "data=digits"]


def test_a_word_that_a_file_brought_is_not_looked_for_in_the_command(typed):
    typed("experiment=mine")
    assert hints.corrected("optimizer=sgd", "hparams.optimizer=SGD") == "hparams.optimizer=SGD"


def test_the_reason_why_a_module_cannot_be_imported_is_named(tmp_path, monkeypatch):
    (tmp_path / "broken_parts").mkdir()
    (tmp_path / "broken_parts" / "__init__.py").write_text("")
    (tmp_path / "broken_parts" / "needs_another.py").write_text("import no_such_library\n")
    (tmp_path / "broken_parts" / "unfinished.py").write_text("x = (\n")
    monkeypatch.syspath_prepend(tmp_path)

    def line(target):
        with pytest.raises(InstantiationException) as refused:
            instantiate({"_target_": target})
        return hints.for_instantiation(refused.value)

    assert line("broken_parts.needs_another.X").endswith(
        "cannot import broken_parts.needs_another: No module named 'no_such_library'"
    )
    assert "cannot import broken_parts.unfinished: '(' was never closed" in line("broken_parts.unfinished.X")
    assert line("broken_parts.unfinishd.X").endswith(
        "No module named 'broken_parts.unfinishd'; did you mean broken_parts.unfinished?"
    )


def test_no_logger_is_an_empty_list_but_a_task_is_needed():
    assert "did you mean loggers=[]?" in hints.for_option("loggers", "null")
    assert hints.for_option("task", "none").startswith("task=none: no such option (there are classification, ")


@pytest.mark.parametrize(
    ("word", "now"),
    [
        ("hparams.patch_mode=grid", "model/selection=grid"),
        ("hparams.patch_mode=grid,all", "model/selection=grid,all"),
        ("hparams.patch_replace=false", "model.network.selection.replace=false"),
    ],
)
def test_settings_that_are_options_of_a_selection_now(typed, word, now):
    typed("data=digits", word)
    name = word.partition("=")[0]
    line = hints.for_setting(name, known)
    assert line == f"{name}: no such setting; type: python src/train.py data=digits {now}"


def test_data_that_are_sets_need_no_word_about_it(typed):
    typed("hparams.patch_mode=null")
    assert hints.for_setting("hparams.patch_mode", known).startswith("hparams.patch_mode=null: leave it out")
