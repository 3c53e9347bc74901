import pytest

from run.errors import UserError
from run.short_options import declared, expanded, refuse


@pytest.mark.parametrize(
    ("typed", "settings"),
    [
        (["--lr", "0.1"], ["hparams.lr=0.1"]),
        (
            ["--lr=0.1", "--bs", "64", "--epochs", "3"],
            ["hparams.lr=0.1", "hparams.batch_size=64", "hparams.max_epochs=3"],
        ),
        (["--device", "2,3"], ["trainer=gpu", "trainer.devices=[2,3]"]),
        (["data=digits", "--resume", "outputs/a, b=c", "-m"], ["data=digits", "resume=outputs/a, b=c", "-m"]),
        (["-c", "mine.yaml"], ["settings_file=mine.yaml"]),
        (["-c", "job", "--cfg", "all"], ["-c", "job", "--cfg", "all"]),  # Hydra's
        (["--lr", "-1"], ["hparams.lr=-1"]),  # which the rules then refuse
        (["comment=--lr", "--multi"], ["comment=--lr", "--multi"]),
    ],
)
def test_stand_for_settings(typed, settings):
    assert expanded(typed) == settings


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        (["--lr"], "what follows --lr is missing"),
        (["--lr", "--bs", "64"], "what follows --lr is missing"),
        (["--lr="], "what follows --lr is missing"),
        (["--epoch5"], "did you mean --epochs"),
        (["--epoch", "3"], "--epoch: no such option; did you mean --epochs?"),
        (["--res=last"], "did you mean --resume?"),  # argparse would take it for --resolve
        (["--e", "3"], "did you mean --epochs?"),
        (["--wrong"], "--hydra-help"),
    ],
)
def test_refuses_in_a_line(typed, words):
    with pytest.raises(UserError, match=words):
        expanded(typed)


@pytest.mark.parametrize(("option", "words"), [("--lr=1", "of train.py alone"), ("--wrong", "--hydra-help")])
def test_other_commands_refuse_them(option, words):
    refuse(["-c", "job", "--multirun", "run=x"])
    with pytest.raises(UserError, match=words):
        refuse(["run=x", option])


def test_help_lists_them(command, capfd):
    command("train", "--help")
    said = capfd.readouterr().out
    for option in declared().values():
        assert f"{option.name} {option.word} " in said


def test_the_command_line_takes_them(command, capfd):
    assert command("train", "--lr", "0.25", "--bs=7", "-c", "job") == 0
    said = capfd.readouterr().out
    assert "  lr: 0.25" in said
    assert "  batch_size: 7" in said
