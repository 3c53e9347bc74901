import pytest

from command.arguments import expand_short_options, refuse_short_options, short_options
from process.errors import UserError


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
    assert expand_short_options(typed) == settings


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
        expand_short_options(typed)


@pytest.mark.parametrize(("option", "words"), [("--lr=1", "of train.py alone"), ("--wrong", "--hydra-help")])
def test_other_commands_refuse_them(option, words):
    refuse_short_options(["-c", "job", "--multirun", "run=x"])
    with pytest.raises(UserError, match=words):
        refuse_short_options(["run=x", option])


def test_help_lists_them(command, capfd):
    command("train", "--help")
    said = capfd.readouterr().out
    for option in short_options().values():
        assert f"{option.name} {option.word} " in said


def test_the_command_line_takes_them(command, capfd):
    assert command("train", "--lr", "0.25", "--bs=7", "-c", "job") == 0
    said = capfd.readouterr().out
    assert "  lr: 0.25" in said
    assert "  batch_size: 7" in said
